//! `replica plan`: shows what would change, and changes nothing.

use std::path::PathBuf;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::saved::SavedPlan;
use super::selection::{Anew, Chosen, narrowed};
use super::workspace::Workspace;
use crate::plan::Plan;
use crate::rehearsal::{Prediction, predict};
use crate::view::{command, json::PlanDocument, plan, predicted};

/// Show what `apply` would do, and why; changes nothing
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Exit with 2 when there are changes, 0 when there are none
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show what `destroy` would do instead
    #[arg(long)]
    destroy: bool,
    /// Write it to this file, for `replica apply FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "predict")]
    out: Option<PathBuf>,
    /// Leave the benchmarks out
    #[arg(long, conflicts_with = "destroy")]
    no_bench: bool,
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    anew: Anew,
    /// Show what the benchmarks would come to, too: simulated, and no node is asked for it
    #[arg(long, conflicts_with = "destroy")]
    predict: bool,
}

/// What is drawn for a prediction is drawn from this: two of them are the same.
const SEED: u64 = 0;

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let workspace = Workspace::open(global, args.file.as_deref(), &screen).await?;
    let wish = if args.destroy {
        workspace.destroyed()
    } else if args.no_bench {
        workspace.without_benchmarks()
    } else {
        workspace.as_declared()
    };
    let wish = narrowed(&workspace, wish, &args.chosen, &args.anew).await?;
    let (_, plan) = workspace.plan(&wish).await;
    if let Some(file) = &args.out {
        SavedPlan::of(&workspace, &wish, &plan)?.write(file)?;
    }
    let predictions = if args.predict {
        Some(predictions(&workspace).await)
    } else {
        None
    };
    if screen.is_json() {
        let name = workspace.topology().name.as_str();
        let document = PlanDocument::new(name, &plan)
            .of(&workspace.manifest)
            .predicted(predictions.as_deref());
        screen.document(&document)?;
    } else {
        workspace.remark(&screen);
        screen.result(&plan::render(&plan, &workspace.file(), screen.out()))?;
        if let Some(predictions) = &predictions {
            let rendered = predicted::render(predictions, screen.out());
            screen.result(&format!("\n{rendered}"))?;
        }
        if let Some(file) = &args.out {
            let command = command("apply", &file.display().to_string());
            screen.note(&format!("saved: `{command}` does exactly this"));
        }
    }
    Ok(exit(&plan, args.detailed_exitcode))
}

/// What the benchmarks would come to. It is computed beside what waits for others.
async fn predictions(workspace: &Workspace) -> Vec<Prediction> {
    let topology = workspace.topology().clone();
    let folder = workspace.manifest.folder.clone();
    let computed = tokio::task::spawn_blocking(move || predict(&topology, &folder, SEED)).await;
    computed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn exit(plan: &Plan, detailed: bool) -> Exit {
    if !plan.unreachable.is_empty() {
        Exit::Unreachable
    } else if detailed && !plan.is_converged() {
        Exit::Pending
    } else {
        Exit::Done
    }
}
