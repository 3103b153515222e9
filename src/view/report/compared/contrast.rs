//! An arm beside another: the ratio of each cell, and what follows.

use super::super::markup::Markup;
use super::super::sheet::Sheet;
use super::mark::Form;
use super::{Compared, cell_name, forest};
use crate::compare::{Cell, Contrast, Outcome, Said, Verdict};
use crate::name::ArmName;
use crate::view::compare::{decides, middle, open, said};
use crate::view::words::number;

/// As many reasons as stand open; more are folded.
const OPEN: usize = 8;

/// What is said of every arm beside every one that it is held against.
pub(super) fn contrasts(it: &Compared) -> Markup {
    let mut out = Markup::default();
    if it.is_concluded() {
        for contrast in &it.outcome.contrasts {
            one(&mut out, &it.outcome, contrast);
        }
    }
    out
}

fn one(out: &mut Markup, outcome: &Outcome, contrast: &Contrast) {
    let title = format!("{} beside {}", contrast.arm, contrast.against);
    out.words("h4", &[], &title);
    if let Some(things) = contrast.confounded() {
        let text = format!("! Confounded: {things} differ.");
        out.words("p", &[("class", "finding warning confounded")], &text);
    }
    let all: Vec<(&Cell, &Said)> = said(outcome, contrast).collect();
    for why in &contrast.reasons {
        let text = format!("! {why}.");
        out.words("p", &[("class", "finding warning")], &text);
    }
    forest::write(out, outcome.margin, contrast, &all);
    table(outcome, &all).write(out);
    reasons(out, &all);
}

fn table(outcome: &Outcome, all: &[(&Cell, &Said)]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("benchmark", false),
        ("load", false),
        ("decides", false),
        ("theirs", true),
        ("ours", true),
        ("ratio", true),
        ("95 %", false),
        ("pairs", true),
        ("verdict", false),
        ("TTFT mean", true),
        ("TPOT mean", true),
        ("answers alike", true),
    ]);
    for (cell, said) in all {
        let gpus = |arm: &ArmName| outcome.arms.get(arm).map_or(1, |arm| arm.gpus.max(1));
        let middle = |arm: &ArmName| {
            let parts = if said.per_gpu { gpus(arm) } else { 1 };
            let value = middle(cell.arms.get(arm)).map(|value| value / parts as f64);
            value.map(number).unwrap_or_default()
        };
        let ratio = said.ratio.as_ref();
        let beside = |metric: &str| {
            let ratio = said.beside.get(metric);
            ratio
                .map(|it| format!("{:.2}x", it.ratio))
                .unwrap_or_default()
        };
        sheet.row(vec![
            cell.benchmark.to_string(),
            cell.load.clone(),
            decides(cell, said),
            middle(&said.against),
            middle(&said.arm),
            ratio
                .map(|it| format!("{:.3}", it.ratio))
                .unwrap_or_default(),
            ratio
                .map(|it| format!("{:.3} to {:.3}", it.low, it.high))
                .unwrap_or_default(),
            ratio.map(|it| it.pairs.to_string()).unwrap_or_default(),
            Stand::of(said).signed(),
            beside("ttft.mean"),
            beside("tpot.mean"),
            alike(said),
        ]);
    }
    sheet
}

/// How many of the answers of both arms are the same text.
fn alike(said: &Said) -> String {
    let between = said.texts.map(|texts| texts.between);
    between
        .map(|it| format!("{} of {}", it.answered, it.asked))
        .unwrap_or_default()
}

/// Why nothing follows, what it would take, or what to know.
fn reasons(out: &mut Markup, all: &[(&Cell, &Said)]) {
    let reasons = all.iter().flat_map(|(cell, said)| {
        let why = said.reasons.iter().cloned().chain(open(said));
        why.map(|why| format!("{}: {why}.", cell_name(cell)))
    });
    let reasons: Vec<String> = reasons.collect();
    let list = |out: &mut Markup| {
        out.element("ul", &[("class", "caption reasons")], |out| {
            for why in &reasons {
                out.words("li", &[], why);
            }
        });
    };
    match reasons.len() {
        0 => {}
        1..=OPEN => list(out),
        more => out.element("details", &[], |out| {
            out.words("summary", &[], &format!("Why, {more} remarks"));
            list(out);
        }),
    }
}

/// How an arm stands in a cell: a colour, a mark, and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    Better,
    Worse,
    Equivalent,
    /// Nothing can be said, and in a word why.
    Open(&'static str),
}

impl Stand {
    pub(super) fn of(said: &Said) -> Self {
        match said.verdict {
            Some(Verdict::Better) => Self::Better,
            Some(Verdict::Worse) => Self::Worse,
            Some(Verdict::Equivalent) => Self::Equivalent,
            Some(Verdict::Inconclusive { .. }) => Self::Open("inconclusive"),
            Some(Verdict::TooFew) => Self::Open("too few pairs"),
            None => Self::Open("no verdict"),
        }
    }

    /// It in a word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Open(why) => why,
        }
    }

    /// The same behind the sign that looks like its mark.
    fn signed(self) -> String {
        let sign = match self {
            Self::Better => '▲',
            Self::Worse => '▼',
            Self::Equivalent => '◆',
            Self::Open(_) => '○',
        };
        format!("{sign} {}", self.word())
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Open(_) => "open",
        }
    }

    pub(super) fn form(self) -> Form {
        match self {
            Self::Better => Form::Up,
            Self::Worse => Form::Down,
            Self::Equivalent => Form::Diamond,
            Self::Open(_) => Form::Ring,
        }
    }
}
