//! `replica explain`: what a key of a manifest is.

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::manifest::{explain, explain_all, reference_text};
use crate::view::explain::render;

/// Say what a key of a manifest is, what it takes, and what holds without it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The key, with dots between: `instances.env`, `benchmarks.load` [default: all of a manifest]
    #[arg(default_value = "", hide_default_value = true)]
    key: String,
    /// Print the reference of all keys, in Markdown
    #[arg(long, conflicts_with = "key")]
    all: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    if args.all {
        if screen.is_json() {
            screen.document(&explain_all())?;
        } else {
            screen.result(&reference_text())?;
        }
        return Ok(Exit::Done);
    }
    let explanation =
        explain(&args.key).map_err(|why| Error::Usage(format!("{why}; {}", why.hint())))?;
    if screen.is_json() {
        screen.document(&explanation)?;
    } else {
        screen.result(&render(&explanation, screen.out()))?;
    }
    Ok(Exit::Done)
}
