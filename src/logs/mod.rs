//! What programs say in their logs: how far they are, what they came to, and why they died.
//!
//! Each file knows the words of one program, and is pure. It is a room of its own, below the nodes,
//! because two need it who may not know each other: an effect names the reader as data
//! ([`LogReader`]), so that a plan can be compared and printed; and a node reads the lines as they
//! come, without knowing for which kind of thing.

mod arguments;
mod causes;
mod clock;
mod hub;
mod installer;
mod vllm;

pub use clock::Clock;

use crate::plan::effect::LogReader;
use crate::plan::{Count, Failure, Part};

/// What a line of a log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSign {
    /// It got so far: `weights`, 3 of 4.
    Part(Part),
    /// This is what it came to, once it is done: `12 MB fetched`.
    Outcome(String),
    /// This line is the cause, should the process die: with what to do about it.
    Cause(Failure),
}

/// What reads one line: a sign, or nothing where the line tells none.
pub type Grammar = fn(&str) -> Option<LogSign>;

/// Reads `312 MB`, as the scripts say what they have written.
fn written(text: &str) -> Option<Count> {
    let megabytes: u64 = text.strip_suffix(" MB")?.parse().ok()?;
    Some(Count::Written(megabytes * 1_000_000))
}

/// What a line of a server's log names that bears on its speed: a back end, a kernel, what was
/// loaded.
pub fn named(line: &str) -> Option<&str> {
    vllm::named(line)
}

/// How much memory a model took when it was loaded, in GiB, where what a line names is that.
pub fn loaded_gib(message: &str) -> Option<f64> {
    vllm::loaded_gib(message)
}

/// The grammar by which a reader reads.
pub fn grammar(reader: LogReader) -> Grammar {
    match reader {
        LogReader::None => |_| None,
        LogReader::Vllm => vllm::read,
        LogReader::Installer => installer::read,
        LogReader::Hub => hub::read,
        LogReader::Arguments => arguments::read,
    }
}
