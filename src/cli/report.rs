//! `replica report`: what was measured, as one page for a browser.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Global;
use super::bench::{Chosen, reported};
use super::error::Error;
use super::exit::Exit;
use crate::results::is_result;
use crate::view::report::{Compared, Report, Reported, html};

/// What stands for the standard output.
const STDOUT: &str = "-";

/// Write what was measured as one HTML file; asks no node
///
/// What was compared, and the newest result of each benchmark; or the results that are named, alone. The
/// file needs nothing beside it: no network, no script. It is written beside the results as `report.html`
/// unless `-o` says otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then benchmarks or files of results [default: all]
    #[arg(value_names = ["FILE", "BENCHMARK | RESULT"], num_args = 0..)]
    what: Vec<String>,
    /// Write it here; `-` is the standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The document of `report --json`.
#[derive(Serialize)]
struct ReportDocument {
    format: &'static str,
    topology: String,
    report: String,
    results: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comparisons: Vec<String>,
    valid: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let is_stdout = args.output.as_deref() == Some(Path::new(STDOUT));
    if is_stdout && global.is_json() {
        let why = "--json prints a document where -o - prints the page: leave one of them out";
        return Err(Error::Usage(why.to_owned()));
    }
    let chosen = reported(global, &args.what)?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => chosen.folder.join("report.html"),
    };
    keep_others_files(&path)?;
    let report = made_of(chosen);
    let page = html(&report);
    if is_stdout {
        screen.result(&page)?;
        return Ok(Exit::Done);
    }
    fs::write(&path, page).map_err(|source| Error::Here {
        what: format!("the report cannot be written to {}", path.display()),
        source,
    })?;
    let results = report.results.iter();
    let comparisons = report.comparisons.iter();
    if screen.is_json() {
        screen.document(&ReportDocument {
            format: "replica.report/1",
            valid: report.results.iter().all(|it| it.result.valid),
            results: results.map(|it| it.path.display().to_string()).collect(),
            comparisons: comparisons
                .map(|it| it.path.display().to_string())
                .collect(),
            report: path.display().to_string(),
            topology: report.topology,
        })?;
    } else {
        screen.result(&format!("report: {}\n", path.display()))?;
    }
    Ok(Exit::Done)
}

fn made_of(chosen: Chosen) -> Report {
    let comparisons = comparisons(&chosen);
    let topology = match comparisons.first() {
        Some(first) => first.outcome.topology.clone(),
        None => chosen.topology(),
    };
    let hint = chosen.hints();
    let results = chosen.results.into_iter().map(|stored| {
        let mut it = Reported::of(stored);
        it.result = it.result.hinting(&hint);
        it
    });
    Report {
        results: results.collect(),
        comparisons,
        topology,
    }
}

fn comparisons(chosen: &Chosen) -> Vec<Compared> {
    let Some(store) = &chosen.compared else {
        return Vec::new();
    };
    let standing = store.standing().into_iter();
    let compared = standing.map(|outcome| Compared {
        path: store.path(&outcome),
        outcome,
    });
    compared.collect()
}

/// A report takes the place of a report, and of no manifest or result.
fn keep_others_files(path: &Path) -> Result<(), Error> {
    let ends = path.extension().and_then(|it| it.to_str());
    let is_manifest = ends.is_some_and(|it| matches!(it, "yaml" | "yml"));
    if is_manifest || is_result(path) {
        return Err(Error::refused(
            format!("{} is no report, and would be overwritten", path.display()),
            "name a file that ends in `.html`",
        ));
    }
    Ok(())
}
