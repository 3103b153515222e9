//! `replica validate`: reads the manifest and asks no node.

use std::path::PathBuf;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::workspace::remark;
use crate::manifest;
use crate::view::json::ValidDocument;
use crate::view::words::{count, list};

/// Check the manifest, every mistake at once; asks no node
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let manifest = manifest::load(&manifest::find(args.file.as_deref())?, global.variables())?;
    let topology = &manifest.topology;
    if screen.is_json() {
        screen.document(&ValidDocument::new(&manifest))?;
        return Ok(Exit::Done);
    }
    let things = [
        (topology.nodes.len(), "node"),
        (topology.instances.len(), "instance"),
        (usize::from(topology.proxy.is_some()), "proxy"),
        (topology.benchmarks.len(), "benchmark"),
    ];
    let things: Vec<_> = things
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| count(n, what))
        .collect();
    remark(&manifest, &screen);
    screen.result(&format!(
        "{} is valid: {}.\n",
        manifest.path.display(),
        list(&things)
    ))?;
    Ok(Exit::Done)
}
