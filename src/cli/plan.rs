//! `replica plan`: shows what would change, and changes nothing.

use std::path::PathBuf;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::plan::Plan;
use crate::view::{json::PlanDocument, plan};

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
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let workspace = Workspace::open(global, args.file.as_deref(), &screen).await?;
    let wish = if args.destroy {
        workspace.destroyed()
    } else {
        workspace.as_declared()
    };
    let (_, plan) = workspace.plan(&wish).await;
    if screen.is_json() {
        let name = workspace.topology().name.as_str();
        let document = PlanDocument::new(name, &plan).remarks(&workspace.manifest.remarks);
        screen.document(&document)?;
    } else {
        workspace.remark(&screen);
        screen.result(&plan::render(&plan, &workspace.file(), screen.out()))?;
    }
    Ok(exit(&plan, args.detailed_exitcode))
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
