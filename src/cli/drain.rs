//! `replica drain` and `undrain`: an instance gets no requests until somebody says so.

use std::collections::BTreeSet;

use super::Global;
use super::apply::apply;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::selection::passed_to;
use super::workspace::Workspace;
use crate::converge::Selection;
use crate::plan::Address;
use crate::resource::Drains;

/// Send an instance no new requests, and wait until it has none in flight; it stays so until `undrain`
///
/// The first word is the manifest where it ends in .yaml, .yml or .json, is `-`, or names a file;
/// all others are addresses: `here/instance.a`, `instance.a`, or `a` alone.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The manifest [default: topology.yaml], then what to drain
    #[arg(num_args = 1.., required = true, value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
    /// Drain the last that serves, too, though clients are left with nobody
    #[arg(long)]
    allow_downtime: bool,
}

/// Send an instance requests again that was drained
///
/// The first word is the manifest where it ends in .yaml, .yml or .json, is `-`, or names a file;
/// all others are addresses: `here/instance.a`, `instance.a`, or `a` alone.
#[derive(Debug, clap::Args)]
pub(super) struct UndrainArgs {
    /// The manifest [default: topology.yaml], then what to undrain
    #[arg(num_args = 1.., required = true, value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
}

pub(super) async fn drain(global: &Global, args: &DrainArgs) -> Result<Exit, Error> {
    run(global, "drain", &args.what, |named| Drains {
        drained: named,
        allows_downtime: args.allow_downtime,
        ..Drains::default()
    })
    .await
}

pub(super) async fn undrain(global: &Global, args: &UndrainArgs) -> Result<Exit, Error> {
    run(global, "undrain", &args.what, |named| Drains {
        undrained: named,
        ..Drains::default()
    })
    .await
}

async fn run(
    global: &Global,
    command: &str,
    what: &[String],
    asked: impl FnOnce(BTreeSet<Address>) -> Drains,
) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, words) = manifest_word::split(what);
    if words.is_empty() {
        let message = format!("name what to {command}: `replica {command} instance.a`");
        return Err(Error::Usage(message));
    }
    let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
    let work = async {
        let wish = workspace.without_benchmarks();
        let (named, fronts) = passed_to(&workspace, &wish, words).await?;
        let only = Selection {
            targets: fronts,
            ..Selection::default()
        };
        let wish = wish.draining(asked(named)).only(only);
        apply(global, &wish, None, &workspace, &screen).await
    };
    workspace.locked(work).await
}
