//! `replica apply`: makes it so, then measures.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use super::carry::{Carried, Carry};
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::plan::{Action, Address, Change, Plan, Step};
use crate::proxy::control::Requests;
use crate::resource::{Catalogue, Observation, Resource};
use crate::view::{Answer, Question, Screen, apply, json::ApplyDocument, plan};

/// Make the nodes as the manifest declares, then run its benchmarks
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Leave the benchmarks for another time
    #[arg(long)]
    no_bench: bool,
}

/// How often the nodes are made as declared before what is left is called a failure. The first
/// round installs and fetches, the second starts what rests on that, the third routes to what the
/// proxy had not yet seen; a fourth would find nothing new.
const ROUNDS: usize = 3;

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let workspace = Workspace::open(global, args.file.as_deref(), &screen).await?;
    let work = converged(global, args, &workspace, &screen);
    workspace.locked(work).await
}

/// Shows what is to be done, asks, does it, and shows what came of it.
async fn converged(
    global: &Global,
    args: &Args,
    workspace: &Workspace,
    screen: &Screen,
) -> Result<Exit, Error> {
    let catalogue = workspace.catalogue();
    let resources = wanted(&catalogue, args);
    let before = workspace.look(&resources).await;
    let plan = workspace.decide(&resources, &before);
    if !screen.is_json() {
        screen.result(&plan::render(&plan, &workspace.file(), screen.out()))?;
    }
    if plan.has_work() {
        confirm(global, screen, Question::Apply)?;
    }
    let applied = converge(workspace, screen, args, &plan).await?;
    let requests = requests(&catalogue, &before, &applied.seen);
    show(screen, workspace, &plan, &applied, requests)?;
    Ok(exit(&plan, &applied))
}

/// What an apply came to.
struct Applied {
    carried: Carried,
    /// The plan that was left when all was done.
    left: Plan,
    seen: Observation,
}

fn wanted(catalogue: &Catalogue, args: &Args) -> Vec<Arc<dyn Resource>> {
    let mut resources = catalogue.resources();
    if args.no_bench {
        resources.retain(|resource| resource.address().node.is_some());
    }
    resources
}

/// Asks, unless the answer was given with the command. Without anybody to ask, refuses.
pub(super) fn confirm(global: &Global, screen: &Screen, question: Question) -> Result<(), Error> {
    if global.auto_approve {
        return Ok(());
    }
    match screen.ask(question)? {
        Answer::Yes => Ok(()),
        Answer::No => Err(Error::Refused {
            message: question.cancelled().to_owned(),
            hint: None,
        }),
        Answer::NoTerminal => Err(Error::refused(
            "nobody is there to be asked: the standard input is no terminal; nothing was changed",
            "give --auto-approve to go ahead without asking",
        )),
    }
}

/// Carries out the plan, looks again, and goes on until what is seen is what is declared; then
/// measures. The last word is what is seen, never the path that was taken.
async fn converge(
    workspace: &Workspace,
    screen: &Screen,
    args: &Args,
    plan: &Plan,
) -> Result<Applied, Error> {
    let carry = Carry::begin(workspace, screen);
    let is_made = |change: &Change| !change.is_measurement();
    let mut left = plan.clone();
    let mut resources = wanted(&workspace.catalogue(), args);
    let mut seen;
    let mut undone = BTreeSet::new();
    let mut round = 0;
    loop {
        let wanted = |change: &Change| is_made(change) && !undone.contains(&change.address);
        let not_done = carry.out(&left, wanted).await;
        undone.extend(not_done);
        seen = workspace.look(&resources).await;
        left = workspace.decide(&resources, &seen);
        undone = hanging_on(undone, &left);
        round += 1;
        let has_steps =
            |step: &Step| step.address.node.is_some() && !undone.contains(&step.address);
        if round == ROUNDS || !left.steps.iter().any(has_steps) {
            break;
        }
    }
    let is_made_so = left
        .changes
        .iter()
        .all(|c| c.is_measurement() || c.action == Action::Keep);
    if is_made_so && left.has_work() {
        carry.out(&left, Change::is_measurement).await;
        resources = wanted(&workspace.catalogue(), args);
        seen = workspace.look(&resources).await;
        left = workspace.decide(&resources, &seen);
    }
    Ok(Applied {
        carried: carry.end().await,
        left,
        seen,
    })
}

/// Adds to what was not done all that a plan would do only after it: neither is tried again.
fn hanging_on(mut undone: BTreeSet<Address>, plan: &Plan) -> BTreeSet<Address> {
    for step in &plan.steps {
        let mut before = step.after.iter().map(|id| &plan.steps[*id].address);
        if before.any(|address| undone.contains(address)) {
            undone.insert(step.address.clone());
        }
    }
    undone
}

/// Returns the requests that the proxy served meanwhile: what it counts now, less what it had
/// counted before if it is the same process.
fn requests(catalogue: &Catalogue, before: &Observation, after: &Observation) -> Requests {
    let Some(proxy) = &catalogue.proxy else {
        return Requests::default();
    };
    let Some(now) = proxy.status(after).map(|status| status.requests) else {
        return Requests::default();
    };
    let same = proxy.leader(before).map(|l| (l.pid, l.start))
        == proxy.leader(after).map(|l| (l.pid, l.start));
    let then = proxy
        .status(before)
        .filter(|_| same)
        .map_or_else(Requests::default, |status| status.requests);
    Requests {
        ok: now.ok.saturating_sub(then.ok),
        failed: now.failed.saturating_sub(then.failed),
        cut: now.cut.saturating_sub(then.cut),
    }
}

fn show(
    screen: &Screen,
    workspace: &Workspace,
    plan: &Plan,
    applied: &Applied,
    requests: Requests,
) -> Result<(), Error> {
    let tally = &applied.carried.tally;
    if screen.is_json() {
        let results = applied.carried.documents();
        let document = ApplyDocument::new(workspace.topology().name.as_str(), plan, tally)
            .converged(applied.left.is_converged())
            .requests(requests)
            .benchmarks(&results);
        return Ok(screen.document(&document)?);
    }
    if !plan.has_work() && tally.is_complete() {
        return Ok(());
    }
    // What follows would else stand close to the plan, or to the last line of its progress.
    screen.result("\n")?;
    for table in applied.carried.tables() {
        screen.result(&(table + "\n"))?;
    }
    let served = workspace.topology().proxy.is_some().then_some(requests);
    screen.result(&apply::render(
        tally,
        served,
        applied.carried.took,
        screen.out(),
    ))?;
    let unexplained = applied.left.has_work() && tally.is_complete() && applied.carried.is_valid();
    if unexplained {
        screen.warning("it was all done, and what is seen is not yet what is declared:");
        screen.say(&plan::render(
            &applied.left,
            &workspace.file(),
            screen.talk(),
        ));
    }
    Ok(())
}

fn exit(plan: &Plan, applied: &Applied) -> Exit {
    let tally = &applied.carried.tally;
    let made_any = tally.applied.iter().any(|done| done.action.acts());
    let unreachable = !applied.left.unreachable.is_empty();
    // What waits for a node that did not answer is told by that; a measurement, by what it measures.
    let is_blocked = |change: &Change| {
        change.action == Action::Blocked && !change.is_measurement() && !change.is_out_of_reach()
    };
    let mut changes = plan.changes.iter().chain(&applied.left.changes);
    let blocked = changes.any(is_blocked);
    let unmade = applied
        .left
        .changes
        .iter()
        .any(|change| change.action.acts() && !change.is_measurement());
    if applied.carried.interrupted {
        Exit::Interrupted
    } else if !tally.failed.is_empty() || blocked || unmade {
        if made_any { Exit::Partly } else { Exit::Failed }
    } else if unreachable {
        Exit::Unreachable
    } else if !applied.carried.is_valid() {
        Exit::Invalid
    } else {
        Exit::Done
    }
}
