//! `replica bench`: measures again, whatever results there are.

use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use super::carry::Carry;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::plan::{Action, Address, Change, Effect, Reason};
use crate::resource::{Observation, Question, Resource};
use crate::view::Screen;
use crate::view::words::list;

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
    workspace
        .locked(measured(&workspace, &screen, wanted))
        .await
}

/// Measures what was asked for, of what is as it was declared.
async fn measured(
    workspace: &Workspace,
    screen: &Screen,
    wanted: Option<&str>,
) -> Result<Exit, Error> {
    let catalogue = workspace.catalogue();
    let all = catalogue.resources();
    let seen = workspace.look(&all).await;
    let plan = workspace.decide(&all, &seen);
    if plan
        .changes
        .iter()
        .any(|c| !c.is_measurement() && c.action != Action::Keep)
    {
        return Err(Error::refused(
            "the nodes are not as the manifest declares: what would be measured is something else",
            format!("run `replica apply {}` first", workspace.file()),
        ));
    }
    let asked: Vec<Arc<dyn Resource>> = catalogue
        .benchmarks
        .iter()
        .filter(|b| wanted.is_none_or(|name| b.address().name.as_deref() == Some(name)))
        .map(|b| Arc::new(Asked(Arc::clone(b) as Arc<dyn Resource>)) as Arc<dyn Resource>)
        .collect();
    if asked.is_empty() {
        let names: Vec<_> = workspace
            .topology()
            .benchmarks
            .keys()
            .map(ToString::to_string)
            .collect();
        let hint = if names.is_empty() {
            "the manifest declares no benchmarks".to_owned()
        } else {
            format!("there is {}", list(&names))
        };
        return Err(Error::refused("there is no such benchmark", hint));
    }
    let carry = Carry::begin(workspace, screen);
    let undone = carry
        .out(&crate::converge::decide(&asked, &seen), |_| true)
        .await;
    let carried = carry.end().await;
    if screen.is_json() {
        screen.document(&carried.documents())?;
    } else {
        for table in carried.tables() {
            screen.result(&(table + "\n"))?;
        }
    }
    Ok(
        match (carried.interrupted, !undone.is_empty(), carried.is_valid()) {
            (true, ..) => Exit::Interrupted,
            (_, true, _) => Exit::Failed,
            (_, _, false) => Exit::Invalid,
            _ => Exit::Done,
        },
    )
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

/// A thing that is done because it was asked for, whatever there is.
struct Asked(Arc<dyn Resource>);

impl Resource for Asked {
    fn address(&self) -> &Address {
        self.0.address()
    }

    fn questions(&self) -> Vec<Question> {
        self.0.questions()
    }

    fn compare(&self, _: &Observation) -> Change {
        Change::new(
            self.address(),
            Action::Create,
            vec![Reason::new("asked", "it was asked for")],
        )
    }

    fn effects(&self, change: &Change, seen: &Observation) -> Vec<Effect> {
        self.0.effects(change, seen)
    }
}
