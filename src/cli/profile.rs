//! `replica profile`: how fast an engine computes, by results of measuring it.

use std::path::PathBuf;

use super::Global;
use super::bench::{Chosen, chosen};
use super::error::Error;
use super::exit::Exit;
use crate::rehearsal::fit_profile;
use crate::results::{pretty, replace};
use crate::view::profile;

/// Fit a profile for predictions to results; asks no node
///
/// What it is fitted to is the mean times of each load, of results that can be believed and are all of one
/// engine. The file that it writes is what an engine's `profile` names in a manifest, for `plan --predict`
/// and `compare --predict`, and what `replica simulate --sim-pace` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then benchmarks or files of results [default: all]
    #[arg(value_names = ["FILE", "BENCHMARK | RESULT"], num_args = 0..)]
    what: Vec<String>,
    /// Write the profile here
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let Chosen { results, .. } = chosen(global, &args.what)?;
    let fitted =
        fit_profile(&results).map_err(|why| Error::refused(why.to_string(), why.hint()))?;
    if let Some(file) = &args.out {
        let written = pretty(&fitted).and_then(|text| replace(file, &text));
        written.map_err(|source| Error::Here {
            what: format!("the profile {} cannot be written", file.display()),
            source,
        })?;
    }
    if screen.is_json() {
        screen.document(&fitted)?;
    } else {
        screen.result(&profile::render(&fitted, args.out.as_deref(), screen.out()))?;
    }
    Ok(Exit::Done)
}
