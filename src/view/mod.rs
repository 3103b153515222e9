//! The only place that prints.
//!
//! Everything is rendered into text first, by pure functions that take data and a [`Look`]; what
//! writes it stands apart. stdout is the result, stderr is the talk.

mod field;
mod look;
pub mod plan;
pub mod words;

pub use look::{Look, Role};
