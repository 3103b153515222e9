//! `replica bench`: measures again, whatever results there are.

use std::path::PathBuf;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::run::WatchedRun;
use super::workspace::Workspace;
use crate::converge::{Desired, assess, decide};
use crate::plan::{Action, Approval, Change, Reason, ReasonCode};
use crate::view::words::list;
use crate::view::{Screen, command};

/// Run the benchmarks now, all of them or the one named
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then the benchmark [default: all]
    #[arg(num_args = 0..=2, value_names = ["FILE", "BENCHMARK"])]
    what: Vec<String>,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, wanted) = file_and_name(&args.what);
    let workspace = Workspace::open(global, file.as_deref(), &screen).await?;
    workspace.locked(bench(&workspace, &screen, wanted)).await
}

/// Measures what was asked for, of what is as it was declared.
async fn bench(
    workspace: &Workspace,
    screen: &Screen,
    wanted: Option<&str>,
) -> Result<Exit, Error> {
    let wish = workspace.as_declared();
    let (observed, plan) = workspace.plan(&wish).await;
    let is_made = |change: &Change| change.is_measurement() || change.action == Action::Keep;
    if !plan.changes.iter().all(is_made) {
        return Err(Error::refused(
            "the nodes are not as the manifest declares: what would be measured is something else",
            format!("run `{}` first", command("apply", &workspace.file())),
        ));
    }
    let asked: Vec<_> = assess(&wish.resources(), &observed)
        .into_iter()
        .filter(|stand| stand.change.is_measurement())
        .filter(|stand| wanted.is_none_or(|name| stand.address().name.as_deref() == Some(name)))
        .map(|stand| {
            stand.forced(
                Action::Create,
                Reason::new(ReasonCode::Asked, "it was asked for"),
            )
        })
        .collect();
    if asked.is_empty() {
        return Err(no_such_benchmark(workspace, wanted));
    }
    let run = WatchedRun::begin(workspace, screen, Approval::Everything);
    let report = run.execute(&decide(asked, &observed)).await;
    let run = run.end().await;
    if screen.is_json() {
        screen.document(&run.documents())?;
    } else {
        for table in run.tables() {
            screen.result(&(table + "\n"))?;
        }
    }
    if run.tally.has_bug() {
        return Ok(Exit::Bug);
    }
    let is_done = report.undone().next().is_none();
    Ok(match (run.interrupted, is_done, run.is_valid()) {
        (true, ..) => Exit::Interrupted,
        (_, false, _) => Exit::Failed,
        (_, _, false) => Exit::Invalid,
        _ => Exit::Done,
    })
}

fn no_such_benchmark(workspace: &Workspace, wanted: Option<&str>) -> Error {
    let names = workspace.topology().benchmarks.keys();
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    let hint = if names.is_empty() {
        "the manifest declares no benchmarks".to_owned()
    } else {
        format!("there is {}", list(&names))
    };
    let title = match wanted {
        Some(name) => format!("there is no benchmark `{name}`"),
        None => "there is no benchmark".to_owned(),
    };
    Error::refused(title, hint)
}

/// Takes `[FILE] [BENCHMARK]` apart: a single word is a file where it looks like one.
fn file_and_name(what: &[String]) -> (Option<PathBuf>, Option<&str>) {
    let is_file = |word: &String| {
        let path = std::path::Path::new(word);
        path.extension().is_some() || path.exists()
    };
    match what {
        [] => (None, None),
        [word] if is_file(word) => (Some(PathBuf::from(word)), None),
        [word] => (None, Some(word)),
        [file, name, ..] => (Some(PathBuf::from(file)), Some(name)),
    }
}
