//! The only place that prints.
//!
//! Everything is rendered into text first, by pure functions that take data and a [`Style`]; the
//! [`Screen`] writes it. stdout is the result, stderr is the talk. What a machine reads
//! ([`json`]) is the same data as what a person reads.

pub mod apply;
mod bars;
pub mod bench;
mod command;
pub mod compare;
mod confirm;
pub mod dashboard;
pub mod doctor;
pub mod error;
pub mod events;
pub mod explain;
mod field;
pub mod fmt;
pub mod init;
pub mod json;
pub mod logs;
pub mod output;
pub mod plan;
pub mod predicted;
pub mod profile;
mod progress;
pub mod proxy;
pub mod report;
mod screen;
pub mod status;
mod style;
mod table;
pub mod wait;
pub mod words;

pub use apply::Tally;
pub use command::{command, pasteable};
pub use confirm::{Answer, Question};
pub use progress::Progress;
pub use screen::{Format, Screen, Talk};
pub use style::{Role, Style};
