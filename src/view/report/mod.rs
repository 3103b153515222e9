//! A report: what was measured, as one page for a browser that asks nobody for anything.
//!
//! A page is made of results and of the requests that lie beside them, where they still do, and of the
//! comparisons of their topology (`compared`), which stand above them. Each
//! section is a function of them in a file of its own, and leaves itself out where there is nothing
//! to show: no plot is empty. Drawings are SVG with classes; [`STYLE`] has the colours, for light
//! rooms, dark ones and paper. Whatever others wrote is escaped where it is written (`markup`).
//!
//! A new section is a file in `section/`, and its line in [`SECTIONS`].

mod chart;
mod compared;
mod markup;
mod scale;
mod section;
mod sheet;
mod strip;
mod thin;

use std::path::PathBuf;

pub use compared::Compared;
use markup::Markup;

use crate::results::{BenchResult, FORMULAS, Point, Record, StoredResult, is_simulated};
use crate::view::words::count;

/// Colours and measures.
const STYLE: &str = include_str!("style.css");

/// No script runs and nothing is loaded, whatever stood in a name.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What may stand in a report on one result, in this order.
const SECTIONS: &[(&str, Section)] = &[
    ("What was asked, and the answer", section::answer),
    ("What speaks against it", section::findings),
    ("Against the baseline", section::baseline),
    ("Latency against load", section::load),
    ("Round by round", section::rounds),
    ("Latencies", section::distributions),
    ("Requests in time", section::timeline),
    ("What each replica had to do", section::strips),
    ("What the engines counted", section::engines),
    ("Who served", section::balance),
    ("Failures", section::failures),
    ("Under which conditions", section::conditions),
];

/// A section on one result; empty, where it has nothing to show.
type Section = fn(&Reported) -> Markup;

/// What a report is made of.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was measured, by name.
    pub topology: String,
    /// What was compared, the newest first.
    pub comparisons: Vec<Compared>,
    /// The results.
    pub results: Vec<Reported>,
}

/// One result in a report, with what belongs to it.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Its file.
    pub path: PathBuf,
    /// What is in it.
    pub result: BenchResult,
    /// Its requests, load by load, where they were kept.
    pub records: Option<Vec<Vec<Record>>>,
}

impl Reported {
    /// A result as it lies in its file, and the requests beside it.
    pub fn of(stored: StoredResult) -> Self {
        Self {
            records: stored.records(),
            path: stored.path,
            result: stored.result,
        }
    }

    fn is_simulated(&self) -> bool {
        is_simulated(&self.result.topology)
    }

    /// The loads, each with its requests.
    fn loads(&self) -> impl Iterator<Item = (&Point, &[Record])> {
        let records = |place: usize| {
            let all = self.records.as_ref().and_then(|it| it.get(place));
            all.map(Vec::as_slice).unwrap_or_default()
        };
        let points = self.result.points.iter().enumerate();
        points.map(move |(place, point)| (point, records(place)))
    }

    /// The instances, in the order in which they are coloured.
    fn instances(&self) -> Vec<&str> {
        let declared = self.result.job.instances.iter().map(|it| it.name.as_str());
        let mut names: Vec<&str> = declared.collect();
        let points = self.result.points.iter();
        for name in points.flat_map(|point| point.summary.by_instance.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// How many GPUs served, where their nodes told: no more than the nodes have, and no more than the
    /// instances take.
    fn gpus(&self) -> Option<usize> {
        let nodes = self.result.conditions.before.values();
        let there: usize = nodes.map(|node| node.gpus.len()).sum();
        let instances = self.result.topology["instances"].as_array();
        let taken = instances.into_iter().flatten().map(|it| {
            let args = &it["spec"]["args"];
            let of = |key: &str| args[key].as_u64().unwrap_or(1) as usize;
            of("tensor_parallel_size") * of("pipeline_parallel_size")
        });
        Some(there.min(taken.sum())).filter(|gpus| *gpus > 0)
    }

    /// What it is called, in a heading.
    fn name(&self) -> String {
        let when = self.result.run.started.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!("{}, {when}", self.result.job.name)
    }
}

/// Renders a report: a whole page.
pub fn html(report: &Report) -> String {
    let mut page = Markup::default();
    page.raw("<!DOCTYPE html>\n");
    page.element("html", &[("lang", "en")], |page| {
        page.element("head", &[], |page| head(page, report));
        page.element("body", &[], |page| {
            page.element("header", &[], |page| heading(page, report));
            page.element("main", &[], |page| body(page, report));
            page.element("footer", &[], |page| footer(page, report));
        });
    });
    page.finish()
}

fn title(report: &Report) -> String {
    let results = report.results.iter().map(Reported::is_simulated);
    let comparisons = report.comparisons.iter().map(|it| it.outcome.simulated);
    let all: Vec<bool> = results.chain(comparisons).collect();
    let simulated = match all.iter().filter(|it| **it).count() {
        0 => "",
        some if some == all.len() => " (simulated)",
        _ => " (some of it simulated)",
    };
    format!("Report on {}{simulated}", report.topology)
}

fn head(page: &mut Markup, report: &Report) {
    page.void("meta", &[("charset", "utf-8")]);
    page.void(
        "meta",
        &[
            ("http-equiv", "Content-Security-Policy"),
            ("content", POLICY),
        ],
    );
    page.void(
        "meta",
        &[
            ("name", "viewport"),
            ("content", "width=device-width, initial-scale=1"),
        ],
    );
    page.void(
        "meta",
        &[("name", "color-scheme"), ("content", "light dark")],
    );
    page.words("title", &[], &title(report));
    page.element("style", &[], |page| {
        page.raw(STYLE);
        if !report.comparisons.is_empty() {
            page.raw(compared::STYLE);
        }
    });
}

fn heading(page: &mut Markup, report: &Report) {
    page.words("h1", &[], &title(report));
    let invalid: Vec<&Reported> = report
        .results
        .iter()
        .filter(|it| !it.result.valid)
        .collect();
    if !invalid.is_empty() {
        page.element("p", &[("class", "banner")], |page| {
            let of = count(report.results.len(), "result");
            page.text(&format!("✗ {} of {of} cannot be believed: ", invalid.len()));
            for (place, it) in invalid.iter().enumerate() {
                page.text(if place > 0 { ", " } else { "" });
                page.words(
                    "a",
                    &[("href", &format!("#{}", anchor(report, it)))],
                    &it.name(),
                );
            }
        });
    }
}

fn body(page: &mut Markup, report: &Report) {
    for (place, it) in report.comparisons.iter().enumerate() {
        compared::article(page, it, place + 1);
    }
    section_of(page, ["h2", "All results"], &section::overview(report));
    let title = "Speed of one against speed of all";
    section_of(page, ["h2", title], &section::pareto(report));
    for it in &report.results {
        let class = if it.result.valid {
            "result"
        } else {
            "result invalid"
        };
        let id = anchor(report, it);
        page.element("article", &[("class", class), ("id", &id)], |page| {
            let sign = if it.result.valid { "" } else { "✗ INVALID: " };
            let simulated = if it.is_simulated() {
                " (simulated)"
            } else {
                ""
            };
            page.words("h2", &[], &format!("{sign}{}{simulated}", it.name()));
            for (title, section) in SECTIONS {
                section_of(page, ["h3", title], &section(it));
            }
        });
    }
}

fn section_of(page: &mut Markup, [heading, title]: [&str; 2], written: &Markup) {
    if !written.is_empty() {
        page.element("section", &[], |page| {
            page.words(heading, &[], title);
            page.add(written);
        });
    }
}

fn footer(page: &mut Markup, report: &Report) {
    page.element("details", &[], |page| {
        page.words("summary", &[], "What each number means");
        let all: Vec<_> = FORMULAS
            .iter()
            .map(|(name, it)| (*name, (*it).to_owned()))
            .collect();
        sheet::facts(page, &all);
    });
    let tools = report.results.iter().map(|it| &it.result.tool);
    let tools = tools.chain(report.comparisons.iter().map(|it| &it.outcome.tool));
    let mut tools: Vec<String> = tools
        .map(|it| format!("{} {}", it.name, it.version))
        .collect();
    tools.dedup();
    page.words("p", &[], &format!("Measured by {}.", tools.join(", ")));
}

/// The name by which a page points at a result on it.
fn anchor(report: &Report, it: &Reported) -> String {
    let place = report
        .results
        .iter()
        .position(|other| std::ptr::eq(other, it));
    format!("result-{}", place.unwrap_or(0) + 1)
}

#[cfg(test)]
mod tests;
