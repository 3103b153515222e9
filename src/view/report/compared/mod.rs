//! A comparison on a page: what is said of its arms, and what that rests on.

mod blocks;
mod contrast;
mod facts;
mod forest;
mod mark;

use std::path::{Path, PathBuf};

use super::markup::Markup;
use super::section_of;
use crate::compare::{Cell, Outcome, held_down, slow_nodes};
use crate::view::compare::{drifted, said_confounded, sentence};
use crate::view::words::count;

/// Colours and measures of what stands on a page with comparisons alone.
pub(super) const STYLE: &str = include_str!("style.css");

/// What may stand in a report on one comparison, in this order.
const SECTIONS: &[(&str, Section)] = &[
    ("What is said", answer),
    ("What was compared", facts::arms),
    ("Cell by cell", contrast::contrasts),
    ("Block by block", blocks::blocks),
    ("What was handed over", facts::moved),
    ("What was tuned", facts::tuned),
    ("How it was measured", facts::measured),
];

/// A section on one comparison; empty, where it has nothing to show.
type Section = fn(&Compared) -> Markup;

/// A comparison in a report.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Its file.
    pub path: PathBuf,
    /// What is in it.
    pub outcome: Outcome,
}

impl Compared {
    /// Whether there is an answer: all was measured, and what follows is known.
    fn is_concluded(&self) -> bool {
        self.outcome.is_over() && !self.outcome.cells.is_empty()
    }

    /// What it is called, in a heading.
    fn name(&self) -> String {
        let outcome = &self.outcome;
        let when = outcome.started.strftime("%Y-%m-%d %H:%M:%S UTC");
        let of_what = outcome.not_of_gpus().map(|what| format!(" ({what})"));
        let arms = count(outcome.arms.len(), "arm");
        format!("{arms} compared, {when}{}", of_what.unwrap_or_default())
    }

    /// The file of a result that it names.
    fn result(&self, named: &Path) -> PathBuf {
        let results = self.path.parent().and_then(Path::parent);
        results.unwrap_or(Path::new("")).join(named)
    }
}

/// Writes a comparison; the number tells it from others on the page.
pub(super) fn article(page: &mut Markup, it: &Compared, number: usize) {
    let id = format!("comparison-{number}");
    page.element("article", &[("class", "compared"), ("id", &id)], |page| {
        page.words("h2", &[], &it.name());
        for (title, section) in SECTIONS {
            section_of(page, ["h3", title], &section(it));
        }
    });
}

/// What the comparison comes to, in sentences, and what speaks against it.
fn answer(it: &Compared) -> Markup {
    let outcome = &it.outcome;
    let mut out = Markup::default();
    if !it.is_concluded() {
        let (done, all) = (outcome.blocks.len(), outcome.size());
        let text = format!(
            "! Not finished: {done} of {all} blocks are measured, and nothing is said before the last. \
             `replica compare` goes on from there.",
        );
        out.words("p", &[("class", "verdict warn")], &text);
        return out;
    }
    for contrast in &outcome.contrasts {
        let class = [("class", "sentence")];
        out.words("p", &class, &sentence(outcome, contrast));
    }
    if outcome.simulated {
        let text = "These servers are simulated: their numbers say nothing of a GPU.";
        out.words("p", &[], text);
    } else if outcome.on_cpus {
        let text = "This vLLM computes on CPUs: its numbers say nothing of a GPU.";
        out.words("p", &[], text);
    }
    let confounded = outcome.contrasts.iter().filter_map(said_confounded);
    let slow = slow_nodes(&outcome.blocks);
    let held = held_down(&outcome.blocks);
    let all = confounded.chain(drifted(outcome)).chain(slow).chain(held);
    for text in all {
        out.words("p", &[("class", "verdict warn")], &format!("! {text}."));
    }
    out
}

/// What a cell is of.
fn cell_name(cell: &Cell) -> String {
    format!("{} {}", cell.benchmark, cell.load)
}

#[cfg(test)]
mod tests;
