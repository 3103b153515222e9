//! `replica schema`: the JSON Schema of manifests, for editors.

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::manifest;

/// Print the JSON Schema of manifests
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(global: &Global, _: &Args) -> Result<Exit, Error> {
    global.screen().result(&manifest::schema_text())?;
    Ok(Exit::Done)
}
