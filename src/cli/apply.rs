//! `replica apply`: makes it so, then measures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Global;
use super::asking::Asking;
use super::error::Error;
use super::exit::Exit;
use super::output;
use super::run::{RunOutcome, WatchedRun};
use super::saved::SavedPlan;
use super::selection::{Anew, Chosen, narrowed};
use super::workspace::{Wish, Workspace};
use crate::converge::{Desired as _, assess};
use crate::plan::{
    Address, Approval, Approved, Change, FormerStart, Plan, Requests, Service, Stand,
};
use crate::resource::Observation;
use crate::view::events::EventLine;
use crate::view::json::{ApplyDocument, PlanDocument};
use crate::view::output::Output;
use crate::view::{Question, Screen, apply, plan};

/// Make the nodes as the manifest declares, then run its benchmarks
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest, or a plan that `plan --out` wrote [default: topology.yaml]
    file: Option<PathBuf>,
    /// Leave the benchmarks for another time
    #[arg(long)]
    no_bench: bool,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    anew: Anew,
}

impl Args {
    /// Whether they say what is to be done, beyond which manifest is.
    fn chooses(&self) -> bool {
        self.no_bench || !self.chosen.is_everything() || !self.anew.is_nothing()
    }
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let saved = args.file.as_deref().map(SavedPlan::read);
    let saved = saved.transpose()?.flatten();
    let file = match &saved {
        Some(_) if args.chooses() || !global.variables.is_empty() => {
            let message = "a saved plan says itself what is done: give --target, --limit, --replace, \
                           --no-bench and --var when it is planned";
            return Err(Error::Usage(message.to_owned()));
        }
        Some(saved) => Some(saved.manifest()),
        None => args.file.as_deref(),
    };
    let planned_with = saved.as_ref().map(|saved| saved.global(global));
    let global = planned_with.as_ref().unwrap_or(global);
    let workspace = Workspace::open(global, file, &screen).await?;
    let work = async {
        let wish = match &saved {
            Some(saved) => saved.wish(&workspace),
            None if args.no_bench => workspace.without_benchmarks(),
            None => workspace.as_declared(),
        };
        let wish = narrowed(&workspace, wish, &args.chosen, &args.anew).await?;
        let kept = saved.as_ref().zip(args.file.as_deref());
        apply(global, &wish, kept, &workspace, &screen).await
    };
    workspace.locked(work).await
}

/// Shows what is to be done for a wish, asks, does it, and shows what came of it. Of a plan that was
/// kept in a file nobody is asked: whoever kept it has seen it.
pub(super) async fn apply(
    global: &Global,
    wish: &Wish<'_>,
    kept: Option<(&SavedPlan, &Path)>,
    workspace: &Workspace,
    screen: &Screen,
) -> Result<Exit, Error> {
    let seen = workspace.plan(wish).await;
    if let Some((saved, file)) = kept {
        saved.holds(file, workspace, &seen.1)?;
    }
    if screen.is_json() {
        let name = workspace.topology().name.as_str();
        screen.event(&EventLine::planned(&PlanDocument::new(name, &seen.1)));
    } else {
        workspace.remark(screen);
        screen.result(&plan::render(&seen.1, &workspace.file(), screen.out()))?;
    }
    let asking = Asking {
        global,
        screen,
        workspace,
        question: Question::Apply,
    };
    let (before, plan) = match kept {
        Some(_) => seen,
        None => asking.approved(wish, seen).await?,
    };
    let approval = if global.auto_approve {
        Approval::Everything
    } else {
        Approval::Of(Approved::of(&plan))
    };
    let run = WatchedRun::begin(workspace, screen, approval);
    let converged = run.converge(wish, plan.clone()).await;
    let applied = Applied {
        run: run.end().await,
        requests: requests(workspace, &before, &converged.observed),
        former: former(workspace, &before, &converged.observed),
        output: output::declared(workspace, &converged),
        left: converged.left,
    };
    show(screen, workspace, &plan, &applied)?;
    Ok(exit(&applied))
}

/// What an apply came to.
struct Applied {
    run: RunOutcome,
    /// What was left to do by the end.
    left: Plan,
    /// What was served meanwhile, where anything counts that.
    requests: Option<Requests>,
    /// What became of the requests of what was replaced meanwhile.
    former: Vec<FormerStart>,
    /// What can be asked now, and where.
    output: Output,
}

/// What was served between two observations, where anything counts that.
fn requests(workspace: &Workspace, before: &Observation, after: &Observation) -> Option<Requests> {
    let [before, after] = [before, after].map(|observed| services(workspace, observed));
    let served = after
        .iter()
        .filter_map(|(address, now)| now.requests_since(before.get(address)));
    served.reduce(Requests::plus)
}

/// What became of the requests of what was replaced between two observations.
fn former(workspace: &Workspace, before: &Observation, after: &Observation) -> Vec<FormerStart> {
    let [before, after] = [before, after].map(|observed| {
        let services = services(workspace, observed).into_values();
        services.flat_map(|it| it.former).collect::<Vec<_>>()
    });
    FormerStart::since(&after, &before)
}

/// What everything that is declared serves as.
fn services(workspace: &Workspace, observed: &Observation) -> BTreeMap<Address, Service> {
    let resources = workspace.as_declared().resources();
    let stands = assess(&resources, observed).into_iter();
    stands.filter_map(Stand::serving).collect()
}

fn show(
    screen: &Screen,
    workspace: &Workspace,
    plan: &Plan,
    applied: &Applied,
) -> Result<(), Error> {
    let tally = &applied.run.tally;
    if screen.is_json() {
        let results = applied.run.documents();
        let document = ApplyDocument::new(workspace.topology().name.as_str(), plan, tally)
            .left(&applied.left)
            .of(&workspace.manifest)
            .requests(applied.requests.unwrap_or_default())
            .former(&applied.former)
            .output(&applied.output)
            .benchmarks(&results);
        return Ok(screen.document(&document)?);
    }
    if plan.has_work() || !tally.is_complete() {
        show_outcome(screen, workspace, applied)?;
    }
    if let Some(invitation) = applied.output.invitation(screen.out()) {
        screen.result(&format!("\n{invitation}"))?;
    }
    Ok(())
}

/// Shows what was measured, what came of the plan, and what is left of it.
fn show_outcome(screen: &Screen, workspace: &Workspace, applied: &Applied) -> Result<(), Error> {
    let tally = &applied.run.tally;
    // What follows would else stand close to the plan, or to the last line of its progress.
    screen.result("\n")?;
    for table in applied.run.tables() {
        screen.result(&(table + "\n"))?;
    }
    screen.result(&apply::render(
        tally,
        &applied.left,
        (applied.requests, &applied.former),
        applied.run.took,
        screen.out(),
    ))?;
    let unexplained = applied.left.has_work() && tally.is_complete() && applied.run.is_valid();
    if unexplained {
        screen.warning(
            "all that was agreed to was done, and what is seen is not what is declared; apply \
             again for the rest:",
        );
        screen.say(&plan::render(
            &applied.left,
            &workspace.file(),
            screen.talk(),
        ));
    }
    Ok(())
}

fn exit(applied: &Applied) -> Exit {
    let tally = &applied.run.tally;
    let unreachable = !applied.left.unreachable.is_empty();
    let blocked = applied.left.changes.iter().any(Change::is_obstructed);
    let unmade = applied
        .left
        .changes
        .iter()
        .any(|change| change.action.acts() && !change.is_measurement());
    if tally.has_bug() {
        Exit::Bug
    } else if applied.run.interrupted {
        Exit::Interrupted
    } else if !tally.failed.is_empty() || blocked || unmade {
        if tally.has_touched() {
            Exit::Partly
        } else {
            Exit::Failed
        }
    } else if unreachable {
        Exit::Unreachable
    } else if !applied.run.is_valid() {
        Exit::Invalid
    } else if applied.run.has_missed() {
        Exit::Missed
    } else {
        Exit::Done
    }
}
