//! The load generator: what is sent, and what is seen of it.
//!
//! [`measure()`] tells the story. A [`Job`](crate::plan::Job) is verified (every instance shows the
//! name that only it has), warmed, and driven: a shape's pacing and stop meet the transport in one
//! loop, on a thread of its own that keeps bytes and stamps and understands nothing. Everything
//! after it is pure: bytes become records, records a summary (`results`), and the rules of the
//! verdict say whether it may be believed. What comes of it is one result, written whole.
//!
//! What sends may be another machine than the one that judges: [`serve()`] is the end there, which is
//! told one [`Order`] and says what comes of it.
//!
//! Left to others: what the job is measured on (`topology` in the result is handed in), when it is
//! measured, and all printing.

mod ahead;
mod answer;
mod bench;
mod body;
mod canary;
mod chunk;
mod client;
mod clock;
mod conclude;
mod counts;
mod drive;
mod fit;
mod identity;
mod key;
mod limits;
mod loopback;
mod measure;
mod overhead;
mod pressure;
mod relay;
mod request;
mod rounds;
mod sample;
mod scrape;
mod send;
mod sse;
mod stock;
mod stream;
mod thread;
mod timer;
mod unknown;
mod warmup;

pub use measure::{Measurement, measure, measure_by};
pub use relay::{BEAT, Order, SILENCE, Said, serve};
pub(crate) use rounds::are_enough as are_enough_rounds;
pub use send::{Begin, Errand, Hearer, Sent, Teller, Told, send, telling};
pub use unknown::models_at;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod scenarios;
