//! The load generator: what is sent, what is seen, and what may be concluded from it.
//!
//! [`measure()`] tells the story. A [`Job`] is verified (every instance shows the name that only it
//! has), warmed, and driven: a shape's pacing and stop meet the transport in one loop, on a thread
//! of its own that keeps bytes and stamps and understands nothing. Everything after it is pure:
//! bytes become records, records a summary, and the rules of the verdict say whether it may be
//! believed. What comes of it is one [`BenchResult`], written whole.
//!
//! Left to others: what the job is measured on (`topology` in the result is handed in), when it is
//! measured, and all printing.

mod baseline;
mod chunk;
mod client;
mod comparison;
mod drive;
#[cfg(test)]
mod fake;
mod identity;
mod job;
mod key;
mod limits;
mod measure;
mod notebook;
pub mod quantile;
mod request;
mod result;
mod sample;
#[cfg(test)]
mod scenarios;
pub mod shape;
mod sse;
mod store;
mod stream;
mod summary;
mod verdict;
mod warmup;
mod watch;
mod wire;

pub use comparison::{Comparison, Row};
pub use job::{Endpoint, Job, Target};
pub use measure::{Outcome, measure};
pub use result::{
    BenchResult, ClientFacts, Files, JobFacts, Point, PromptFacts, Run, SCHEMA, Tool,
};
pub use sample::{Record, Stamps, Status};
pub use store::{Headline, Latest, Single, latest, single_throughput};
pub use summary::{
    Counts, DEFINITIONS, ErrorGroup, FORMULAS, InFlight, Metrics, Share, Summary, Window,
};
pub use verdict::{Anomaly, Severity, Subject};
pub use warmup::{WarmedInstance, Warmup, WarmupRequest};
pub use watch::{Phase, Progress};
