//! A vLLM look-alike with continuous batching, for machines without a GPU.
//!
//! `replica simulate [serve] MODEL …` takes vLLM 0.13.0's command line, speaks its HTTP surface,
//! writes its log and behaves like it as a process, faults included; its timing is a model of
//! continuous batching with a [`profile`]. What is imitated was captured from 0.13.0, or read in
//! its source.
//!
//! # Layout
//!
//! - [`args`] and [`flags`]: the command line. [`serve`]: the life of the API server. [`process`]
//!   and [`loading`]: the `EngineCore` child. [`log`]: what both say.
//! - [`engine`]: the clock. [`scheduler`]: continuous batching, without a clock. [`physics`]: how long
//!   a step takes, [`pace`] how that is written. [`prefix_cache`], [`profile`], [`text`], [`stats`]: what they
//!   rest on. [`mod@fit`]: how true the GB10 profile is, and how another is found; [`ledger`]: by what.
//! - [`http`]: the surface. [`kv`]: KV caches that are handed from one engine to another.
//! - [`clockless`]: an engine alone, for [`crate::rehearsal`].

mod args;
mod clockless;
mod engine;
mod fit;
mod flags;
mod http;
mod kv;
mod ledger;
mod loading;
mod log;
mod pace;
mod physics;
mod prefix_cache;
mod process;
mod profile;
mod scheduler;
mod serve;
mod stats;
mod text;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::process::ExitCode;

pub use args::Args;
pub(crate) use clockless::{
    Asked, Blocks, ClocklessEngine, Fetch, Kept, NoEngine, Produced, Tuning, tokens_of,
    tokens_of_chat,
};
pub(crate) use fit::{Figure, Fitted, Term, fit};
pub(crate) use ledger::Ledger;
pub use pace::WrittenPace;
pub(crate) use physics::Pace;
pub use process::{ENGINE_CORE_COMMAND, engine_core};
pub(crate) use profile::{GB10_PROMPT_TOKENS_PER_SECOND, gb10_pace};

use args::InvalidArgs;

/// Why the simulator would not start with some words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It knows no such flag.
    Unknown,
    /// It knows the flag and does not take the value, for this reason.
    Value(String),
}

/// Why the simulator would not start with these words, if it would not.
pub fn refusal(words: &[String]) -> Option<Refusal> {
    match Args::of(words).read() {
        Ok(_) => None,
        Err(InvalidArgs::Unknown(_)) => Some(Refusal::Unknown),
        Err(InvalidArgs::Clap(error)) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Some(Refusal::Value(
                line.trim_start_matches("error: ").to_owned(),
            ))
        }
    }
}

/// Every flag that the simulator knows, without its dashes.
pub fn known_flags() -> impl Iterator<Item = &'static str> {
    flags::all()
}

/// Runs the API server until it is told to stop, or its engine dies. Where it is asked how close it comes to
/// what was measured, `more` is said beside what it can say for itself.
pub async fn run(args: Args, more: impl FnOnce() -> String) -> ExitCode {
    match args.read() {
        Ok(options) if options.sim_fit => say(&mut std::io::stdout(), &(fit::table() + &more()), 0),
        Ok(options) => serve::run(options).await,
        Err(InvalidArgs::Unknown(words)) => say(&mut std::io::stderr(), &unrecognised(&words), 2),
        Err(InvalidArgs::Clap(error)) => {
            let _ = error.print();
            ExitCode::from(error.exit_code() as u8)
        }
    }
}

/// What argparse says in vLLM 0.13.0 about flags that it does not know.
fn unrecognised(words: &[String]) -> String {
    let usage = "usage: vllm [-h] [-v] {chat,complete,serve,bench,collect-env,run-batch} ...";
    format!(
        "{usage}\nvllm: error: unrecognized arguments: {}\n",
        words.join(" ")
    )
}

fn say(out: &mut impl Write, text: &str, code: u8) -> ExitCode {
    // A reader that has gone is no reason to fail.
    let _ = out.write_all(text.as_bytes());
    ExitCode::from(code)
}
