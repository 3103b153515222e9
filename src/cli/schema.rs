//! `replica schema`: the JSON Schemas of manifests and of a proxy's file, for editors.

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::manifest;

/// Print the JSON Schema of manifests
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print that of the file of a proxy on its own (`replica proxy --config`)
    #[arg(long)]
    proxy: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let text = if args.proxy {
        manifest::proxy_schema_text()
    } else {
        manifest::schema_text()
    };
    global.screen().result(&text)?;
    Ok(Exit::Done)
}
