//! `replica dashboard`: what Grafana draws of the proxy and its instances.

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::view::dashboard::dashboard;

/// Print a Grafana dashboard for the metrics of the proxy and of vLLM
///
/// It is a document whatever is asked for: `replica dashboard > dashboard.json`, and import that.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(global: &Global, _args: &Args) -> Result<Exit, Error> {
    global.screen().document(&dashboard())?;
    Ok(Exit::Done)
}
