//! `replica doctor`: what is wrong with the machines, before anybody blames the software.

mod measure;

use std::collections::BTreeMap;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::workspace::Workspace;
use crate::doctor::{self, Case, Measurements, Server, Severity};
use crate::name::NodeName;
use crate::view::Screen;
use crate::view::doctor::{Report, render};

/// Look for what is wrong with the nodes: memory, fast link, clocks, versions; changes nothing
///
/// It reads only, needs no root, and asks each node once. What would block an apply is said too, and what an
/// apply would find by itself is in `plan` as well. The first word is the manifest where it ends in .yaml, .yml
/// or .json, is `-`, or names a file; all others are nodes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then nodes [default: all]
    #[arg(value_names = ["FILE", "NODE"])]
    what: Vec<String>,
    /// Measure too: bytes go over the link, and servers that run answer a burst, for some seconds each
    ///
    /// Bytes of memory go from node to node for three seconds each way, over their `fabric` addresses, else
    /// those of `lan`, as those of a copied model do; what is said there and back is timed before. Replica itself
    /// is on both nodes for as long. Then every declared server that runs answers requests, one alone and six
    /// together, while nvidia-smi says what its GPU is at. What is served meanwhile goes slower; the lock of the
    /// topology is held, so that no apply or benchmark is disturbed. Nothing stays on disk, nothing is changed.
    #[arg(long)]
    measure: bool,
    /// Exit with 2 when a problem or a warning is found
    #[arg(long)]
    exit_code: bool,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, words) = manifest_word::split(&args.what);
    let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
    let wanted = nodes(&workspace, words)?;
    let report = if args.measure {
        let measuring = async { Ok(look(&workspace, &wanted, Some(&screen)).await) };
        workspace.locked(measuring).await?
    } else {
        look(&workspace, &wanted, None).await
    };
    if screen.is_json() {
        screen.document(&report)?;
    } else {
        screen.result(&render(&report, screen.out()))?;
    }
    let matters = report
        .findings
        .iter()
        .any(|it| it.severity != Severity::Note);
    Ok(if !report.unreachable.is_empty() {
        Exit::Unreachable
    } else if args.exit_code && matters {
        Exit::Pending
    } else {
        Exit::Done
    })
}

/// Looks at these nodes; where somebody is told of it, what is between them is measured.
async fn look(workspace: &Workspace, wanted: &[NodeName], measuring: Option<&Screen>) -> Report {
    let wish = workspace
        .without_benchmarks()
        .asking(doctor::facts(workspace.topology()));
    let (observed, plan) = workspace.plan(&wish).await;
    let measured = match measuring {
        Some(screen) => {
            let catalogue = wish.catalogue();
            let servers = Server::all(catalogue.instances(), &observed, |node| {
                wanted.contains(node)
            });
            Some(measure::all(workspace, &observed, servers, wanted, screen).await)
        }
        None => None,
    };
    let nothing = Measurements::default();
    let is_asked = |node: &NodeName| wanted.contains(node);
    let findings = doctor::examine(&Case::new(
        workspace.topology(),
        &observed,
        &plan,
        measured.as_ref().unwrap_or(&nothing),
        is_asked,
    ));
    let silent = observed.unreachable().into_iter();
    let unreachable: BTreeMap<String, String> = silent
        .filter(|(node, _)| is_asked(node))
        .map(|(node, failure)| (node.to_string(), failure.message))
        .collect();
    Report {
        looked_at: wanted.iter().map(ToString::to_string).collect(),
        checks: doctor::checks(),
        findings,
        measured,
        unreachable,
    }
}

/// The nodes that were named, or all.
fn nodes(workspace: &Workspace, words: &[String]) -> Result<Vec<NodeName>, Error> {
    let declared = &workspace.topology().nodes;
    if words.is_empty() {
        return Ok(declared.keys().cloned().collect());
    }
    let known = declared
        .keys()
        .map(|node| format!("`{node}`"))
        .collect::<Vec<_>>();
    let one = |word: &String| {
        let found = declared.keys().find(|node| node.as_str() == word);
        found.cloned().ok_or_else(|| {
            Error::Usage(format!(
                "there is no node `{word}`; declared are {}",
                known.join(", ")
            ))
        })
    };
    words.iter().map(one).collect()
}
