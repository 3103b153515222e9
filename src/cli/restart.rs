//! `replica restart`: starts anew what runs, as it is declared.

use super::Global;
use super::apply::apply;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::selection::restarted;
use super::workspace::Workspace;

/// Start servers or the proxy anew, as they are declared; what serves is drained first
///
/// The first word is the manifest where it ends in .yaml, .yml or .json, is `-`, or names a file;
/// all others are addresses: `here/instance.a`, `instance.a`, or `a` alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then what to start anew
    #[arg(num_args = 1.., required = true, value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
    /// Restart the last server that serves, too, though clients are left with nobody for a while
    #[arg(long)]
    allow_downtime: bool,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, words) = manifest_word::split(&args.what);
    if words.is_empty() {
        let message = "name what is to start anew: `replica restart instance.a`";
        return Err(Error::Usage(message.to_owned()));
    }
    let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
    let work = async {
        let wish = workspace.without_benchmarks();
        let wish = restarted(&workspace, wish, words, args.allow_downtime).await?;
        apply(global, &wish, None, &workspace, &screen).await
    };
    workspace.locked(work).await
}
