//! `replica destroy`: stops and removes all that is ours, and proves it.

use std::path::PathBuf;

use super::Global;
use super::asking::Asking;
use super::error::Error;
use super::exit::Exit;
use super::output;
use super::run::WatchedRun;
use super::selection::{Anew, Chosen, narrowed};
use super::workspace::Workspace;
use crate::converge::{Converged, Desired as _, assess};
use crate::plan::{Approval, Change, NodePort, Plan};
use crate::resource::Observation;
use crate::resource::process::ProcessTable;
use crate::view::events::EventLine;
use crate::view::json::{ApplyDocument, PlanDocument};
use crate::view::output::Output;
use crate::view::words::{count, list};
use crate::view::{Question, Screen, apply, plan};

/// Stop and remove everything of the topology; results, environments and models stay
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let workspace = Workspace::open_alone(global, args.file.as_deref(), &screen).await?;
    let work = destroyed(global, &args.chosen, &workspace, &screen);
    workspace.locked(work).await
}

/// Shows what is to go, asks, removes it, and looks whether it is gone.
async fn destroyed(
    global: &Global,
    chosen: &Chosen,
    workspace: &Workspace,
    screen: &Screen,
) -> Result<Exit, Error> {
    let wish = narrowed(workspace, workspace.destroyed(), chosen, &Anew::default()).await?;
    let seen = workspace.plan(&wish).await;
    let plan = &seen.1;
    // Where there is nothing, what was seen in the end says so.
    let tells = !plan.changes.is_empty() || !plan.unreachable.is_empty();
    let name = workspace.topology().name.as_str();
    if screen.is_json() {
        screen.event(&EventLine::planned(&PlanDocument::new(name, plan)));
    } else if tells {
        screen.result(&plan::render(plan, &workspace.file(), screen.out()))?;
    }
    let asking = Asking {
        global,
        screen,
        workspace,
        question: Question::Destroy,
    };
    let (before, plan) = asking.approved(&wish, seen).await?;
    // Nothing of ours is to be left, whatever comes to light of it on the way.
    let run = WatchedRun::begin(workspace, screen, Approval::Everything);
    let Converged { observed, left, .. } = run.converge(&wish, plan.clone()).await;
    let run = run.end().await;
    let tally = &run.tally;
    if screen.is_json() {
        let nothing = Output::default();
        let mut document = ApplyDocument::new(name, &plan, tally).left(&left);
        if is_gone(&left) {
            document = document.output(&nothing);
        }
        screen.document(&document)?;
    } else {
        if plan.has_work() {
            let told = apply::render(tally, &left, (None, &[]), run.took, screen.out());
            screen.result(&format!("\n{told}"))?;
        }
        if is_gone(&left) {
            screen.result(&proof(workspace, &observed))?;
            screen.result(&farewell(workspace, &before, &observed))?;
        }
    }
    Ok(if tally.has_bug() {
        Exit::Bug
    } else if run.interrupted {
        Exit::Interrupted
    } else if !tally.failed.is_empty() || left.has_work() || is_kept_back(&left) {
        if tally.has_touched() {
            Exit::Partly
        } else {
            Exit::Failed
        }
    } else if !left.unreachable.is_empty() {
        Exit::Unreachable
    } else {
        Exit::Done
    })
}

/// Says of the addresses that requests were sent to that they are served no longer.
fn farewell(workspace: &Workspace, before: &Observation, after: &Observation) -> String {
    let left = output::addresses(workspace, after);
    let mut gone = output::addresses(workspace, before);
    gone.retain(|url| !left.contains(url));
    match gone.as_slice() {
        [] => String::new(),
        [one] => format!("{one} is no longer served.\n"),
        several => format!("{} are no longer served.\n", list(several)),
    }
}

/// Whether nothing of ours is left, chosen or not.
fn is_gone(left: &Plan) -> bool {
    left.is_converged() && left.left_out.is_empty()
}

/// Whether something stays because it cannot be removed as things stand.
fn is_kept_back(left: &Plan) -> bool {
    left.changes.iter().any(Change::is_obstructed)
}

/// Says what was seen at the end: that nothing of ours runs, and which ports are free.
fn proof(workspace: &Workspace, observed: &Observation) -> String {
    let declared = assess(&workspace.as_declared().resources(), observed);
    let wanted = declared.iter().flat_map(|it| &it.relations.wants_ports);
    let free: Vec<_> = wanted
        .filter(|NodePort { node, port }| {
            let answers = observed.of(node);
            answers.is_some_and(|a| ProcessTable::read(a).listeners_on(*port).next().is_none())
        })
        .map(|NodePort { node, port }| format!("{node}:{port}"))
        .collect();
    let nodes = count(observed.nodes().len(), "node");
    let ports = match free.len() {
        0 => String::new(),
        1 => format!("; port {} is free", free[0]),
        _ => format!("; ports {} are free", list(&free)),
    };
    let topology = &workspace.topology().name;
    format!("Nothing of `{topology}` runs on {nodes}{ports}.\n")
}
