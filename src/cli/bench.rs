//! `replica bench`: measures again, whatever results there are; and shows those that there are.

mod asked;
mod chosen;
mod label;
mod list;
mod show;
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::run::WatchedRun;
use super::workspace::Workspace;
use crate::converge::{Desired, assess, decide};
use crate::plan::{Action, Address, Approval, Change, Effect, Plan, Reason, ReasonCode, Stand};
use crate::resource::Observation;
use crate::view::words::list;
use crate::view::{Screen, command};

pub(super) use chosen::{Chosen, chosen, reported};

/// Run the benchmarks now, all of them or the one named; or show what was measured
///
/// `list` and `show` are commands where they come first: a manifest of such a name is `./list`.
///
/// `--url http://HOST:PORT` measures any OpenAI-compatible server, without a manifest. Nothing is proved of
/// it then: neither who answers, nor what it runs, nor that it is the same at the end. The result says so.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Look>,
    /// The manifest [default: topology.yaml], then the benchmark [default: all]
    #[arg(num_args = 0..=2, value_names = ["FILE", "BENCHMARK"])]
    what: Vec<String>,
    /// Call the results so, to find them again: `--tag driver=580`; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = label::tag)]
    tags: Vec<(String, String)>,
    /// Say this of the results; may be repeated
    #[arg(long = "note", value_name = "TEXT")]
    notes: Vec<String>,
    #[command(flatten)]
    url: url::UnknownArgs,
}

/// What shows results and measures nothing.
#[derive(Debug, clap::Subcommand)]
enum Look {
    List(list::Args),
    Show(show::Args),
}

impl Args {
    fn labels(&self) -> Labels {
        Labels {
            tags: self.tags.iter().cloned().collect(),
            notes: self.notes.clone(),
        }
    }
}

/// What whoever measures says of the results.
pub(super) struct Labels {
    tags: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Labels {
    /// Labels without a note.
    pub(super) fn tagged(tags: BTreeMap<String, String>) -> Self {
        Self {
            tags,
            notes: Vec::new(),
        }
    }

    /// The same measurement, whose result says so.
    fn put_on(&self, mut stand: Stand) -> Stand {
        for operation in &mut stand.operations.start {
            if let Effect::Measure(job) = &mut operation.effect {
                job.tags.clone_from(&self.tags);
                job.notes.clone_from(&self.notes);
            }
        }
        stand
    }
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let has_labels = !args.tags.is_empty() || !args.notes.is_empty();
    match &args.command {
        Some(_) if has_labels => Err(Error::Usage(
            "results are tagged when they are measured: `replica bench --tag KEY=VALUE`".to_owned(),
        )),
        Some(Look::List(args)) => list::run(global, args),
        Some(Look::Show(args)) => show::run(global, args),
        None if args.url.is_given() => {
            args.url.check(&args.what)?;
            url::run(global, &args.url, &args.labels()).await
        }
        None => measure(global, args).await,
    }
}

async fn measure(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let labels = args.labels();
    let (file, wanted) = file_and_name(&args.what);
    let workspace = Workspace::open(global, file.as_deref(), &screen).await?;
    let work = bench(&workspace, &screen, wanted, &labels);
    workspace.locked(work).await
}

/// Measures what was asked for, of what is as it was declared.
async fn bench(
    workspace: &Workspace,
    screen: &Screen,
    wanted: Option<&str>,
    labels: &Labels,
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
    let is_wanted = |address: &Address| wanted.is_none_or(|name| is_of(workspace, address, name));
    let asked = asked(workspace, &observed, labels, is_wanted);
    if asked.is_empty() {
        return Err(no_such_benchmark(workspace, wanted));
    }
    let run = WatchedRun::begin(workspace, screen, Approval::Everything);
    measured(screen, run, &decide(asked, &observed)).await
}

/// The measurements of a workspace that are wanted, to be made whatever results there are.
pub(super) fn asked(
    workspace: &Workspace,
    observed: &Observation,
    labels: &Labels,
    is_wanted: impl Fn(&Address) -> bool,
) -> Vec<Stand> {
    assess(&workspace.as_declared().resources(), observed)
        .into_iter()
        .filter(|stand| stand.change.is_measurement() && is_wanted(stand.address()))
        .map(|stand| {
            let reason = Reason::new(ReasonCode::Asked, "it was asked for");
            labels.put_on(stand.forced(Action::Create, reason))
        })
        .collect()
}

/// Carries out what measures, shows what came of it, and says what it comes to.
async fn measured(screen: &Screen, run: WatchedRun, plan: &Plan) -> Result<Exit, Error> {
    let report = run.execute(plan).await;
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
        _ if run.has_missed() => Exit::Missed,
        _ => Exit::Done,
    })
}

/// Whether this is measured for the benchmark of that name: itself, or an instance of it alone.
fn is_of(workspace: &Workspace, address: &Address, wanted: &str) -> bool {
    let benchmarks = &workspace.topology().benchmarks;
    let name = address.name.as_deref().unwrap_or_default();
    let is_declared = |name: &str| benchmarks.keys().any(|it| it.as_str() == name);
    let rest = name.strip_prefix(wanted);
    let is_part = rest.is_some_and(|rest| rest.starts_with('.'));
    name == wanted || (is_part && is_declared(wanted) && !is_declared(name))
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
