//! What is to be compared, how far it is, and what came of it.

mod beside;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

pub(super) use beside::{at_most, drifted};
use beside::{drifts, handed_over, moved, nodes, switches};

use super::json::{ErrorBody, ErrorDocument};
use super::style::{Role, Style};
use super::table::{Align, Cell, Table};
use super::words::{clean, count, done, duration, list, number};
use crate::compare::{
    self, Chosen, Contrast, Experiment, Foretold, Outcome, Prospect, Ratio, Said, Switch,
    TriedFacts, Tune, Verdict,
};
use crate::name::ArmName;
use crate::plan::Change;
use crate::rehearsal::PrefillSpeed;
use crate::results::BenchResult;

/// Renders what is to be measured: the arms, what differs, in which order, and how long it takes as far as
/// that is known.
pub fn preview(outcome: &Outcome, takes_s: Option<f64>, style: Style) -> String {
    let rounds = outcome.order.len();
    let title = format!(
        "{}: {}, each measured {}",
        clean(&outcome.topology),
        count(outcome.arms.len(), "arm"),
        times(rounds)
    );
    let mut lines = vec![style.paint(Role::Title, &title), String::new()];
    lines.extend(indented(arms(outcome, style)));
    lines.push(String::new());
    lines.extend(style.hang(&order(outcome), 2));
    if !outcome.blocks.is_empty() || tried(outcome) > 0 {
        lines.push(format!(
            "It goes on where it was, after {}.",
            progress(outcome)
        ));
    }
    match (left(outcome), takes_s) {
        (Some(left), _) => lines.push(format!("About {} are left.", duration(left))),
        (None, Some(all)) => {
            let all = duration(Duration::try_from_secs_f64(all).unwrap_or_default());
            let took = format!(
                "It takes about {all}, by a model of its loads and warm-ups; starting engines comes on top."
            );
            lines.extend(style.hang(&took, 2));
        }
        (None, None) => {}
    }
    lines.extend(confounded(outcome, style));
    lines.join("\n") + "\n"
}

/// How far a comparison is: `3 of 10 blocks`, and while it looks for a value `2 values tried`.
pub fn progress(outcome: &Outcome) -> String {
    let (done, all) = (outcome.blocks.len(), outcome.size());
    let blocks = format!("{done} of {all} blocks");
    match tried(outcome) {
        0 => blocks,
        tried if done == 0 => format!("{} tried, {blocks}", count(tried, "value")),
        _ => blocks,
    }
}

/// How many values of what is tuned were tried.
fn tried(outcome: &Outcome) -> usize {
    let arms = outcome.arms.values();
    let found = arms.map(|arm| arm.tuned.as_ref().map_or(&arm.trying, |tuned| &tuned.tried));
    found.map(Vec::len).sum()
}

/// A comparison as a machine reads it: how far it is, and all that is known of it.
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// What became of it.
    pub state: State,
    /// The blocks that are measured.
    pub measured: usize,
    /// The blocks that there are to be.
    pub of: usize,
    /// What it stopped at, where it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
    /// What is stored of it.
    #[serde(flatten)]
    pub outcome: &'a Outcome,
}

/// What became of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it was measured.
    Measured,
    /// Somebody stopped it, and the same again goes on.
    Interrupted,
    /// It could not go on.
    Refused,
}

impl<'a> Document<'a> {
    /// The document of a comparison that was measured, or interrupted on its way.
    pub fn of(outcome: &'a Outcome) -> Self {
        Self {
            state: if outcome.is_over() {
                State::Measured
            } else {
                State::Interrupted
            },
            measured: outcome.blocks.len(),
            of: outcome.size(),
            error: None,
            outcome,
        }
    }

    /// The same, of one that stopped at an error.
    #[must_use]
    pub fn because(self, error: ErrorDocument) -> Self {
        Self {
            state: State::Refused,
            error: Some(error.body()),
            ..self
        }
    }
}

/// The heading of a block that begins.
pub fn heading(outcome: &Outcome, arm: &ArmName, style: Style) -> String {
    let number = outcome.blocks.len() + 1;
    let title = format!(
        "block {number} of {}: {}",
        outcome.size(),
        clean(arm.as_str())
    );
    let left = left(outcome).map(|left| format!(", about {} left", duration(left)));
    let left = style.paint(Role::Faint, &left.unwrap_or_default());
    format!("\n{}{left}\n", style.paint(Role::Title, &title))
}

/// What going over to an arm did, once it is as declared.
pub fn switched(switch: &Switch, took: Duration, style: Style) -> String {
    let things = switch.changes.iter().map(|(address, action)| {
        let done = done(*action);
        format!("{done} {address}")
    });
    let things: Vec<String> = things.collect();
    let what = if things.is_empty() {
        "nothing was to be done for it".to_owned()
    } else {
        list(&things)
    };
    let text = format!("as declared after {}: {what}", duration(took));
    style.paint(Role::Faint, &clean(&text)) + "\n"
}

/// That the engines of all arms are up at once, and how many those are.
pub fn together(engines: usize) -> String {
    format!(
        "the engines of all arms stand beside each other, {} in all: going from arm to arm starts none",
        count(engines, "engine")
    )
}

/// Why they are not.
pub fn not_together(blocked: &Change) -> String {
    let why = blocked.reasons.first().map(|it| it.text.as_str());
    clean(&format!(
        "the engines of all arms are not up at once, and are started anew from arm to arm: {}: {}",
        blocked.address,
        why.unwrap_or("it is blocked")
    ))
}

/// The heading of a value that is tried.
pub fn trying(arm: &ArmName, tune: &Tune, value: &Value, style: Style) -> String {
    let title = format!("tuning {arm}: {} {value}, by {}", tune.argument, tune.by);
    format!("\n{}\n", style.paint(Role::Title, &clean(&title)))
}

/// That a value was tried before a comparison was interrupted.
pub fn tried_before(arm: &ArmName, tune: &Tune, value: &Value) -> String {
    clean(&format!(
        "tuning {arm}: {} {value} was tried before",
        tune.argument
    ))
}

/// What a search for the best value has found.
pub fn tuned(tune: &Tune, tried: &[TriedFacts], chosen: &Chosen, style: Style) -> String {
    let mut table = Table::new(
        style,
        &[
            ("value", Align::Right),
            ("shows", Align::Right),
            ("met", Align::Right),
            ("", Align::Left),
        ],
    );
    for (at, it) in tried.iter().enumerate() {
        let met = it
            .trial
            .objective
            .map(|it| format!("{:.1} %", it.attainment * 100.0));
        let said = match (at == chosen.trial, it.trial.valid) {
            (true, _) => chosen.why.words(),
            (false, true) => String::new(),
            (false, false) => "cannot be believed".to_owned(),
        };
        table.row(vec![
            Cell::from(it.value.to_string()),
            Cell::or_dash(it.trial.metric.map(number)),
            Cell::from(met.unwrap_or_default()),
            Cell::from(said),
        ]);
    }
    let title = style.paint(Role::Title, &clean(&tune.argument));
    format!("\n{title}\n{}\n", indented(table.lines()).join("\n"))
}

/// What the blocks that are left take, by what those took that were measured.
fn left(outcome: &Outcome) -> Option<Duration> {
    let took = outcome
        .blocks
        .iter()
        .map(|block| block.switched_s + block.measured_s);
    let measured = outcome.blocks.len();
    let each = took.sum::<f64>() / measured.max(1) as f64;
    let left = outcome.size() - measured;
    (measured > 0 && left > 0).then(|| Duration::from_secs_f64(each * left as f64))
}

/// Why a result counts for nothing, each reason by itself.
pub fn invalid(result: &BenchResult) -> Vec<String> {
    let against = result.anomalies().filter(|anomaly| anomaly.invalidates());
    let said = against.map(|it| {
        format!(
            "{} cannot be believed: {}: {}",
            result.job.name, it.id, it.message
        )
    });
    said.collect()
}

/// Renders what came of a comparison, and says in which file the whole of it is.
pub fn render(outcome: &Outcome, file: &Path, style: Style) -> String {
    let of_what = outcome.not_of_gpus().map(|what| format!(" · {what}"));
    let title = format!(
        "{}: {} compared{}",
        clean(&outcome.topology),
        count(outcome.arms.len(), "arm"),
        of_what.unwrap_or_default()
    );
    let mut blocks = vec![vec![style.paint(Role::Title, &title)]];
    if !outcome.is_over() {
        let text = format!("Not finished: {}.", progress(outcome));
        blocks.push(vec![style.paint(Role::Warning, &text)]);
    }
    blocks.push(indented(arms(outcome, style)));
    blocks.extend(
        outcome
            .contrasts
            .iter()
            .map(|contrast| contrasted(outcome, contrast, style)),
    );
    blocks.push(moved(outcome, style));
    blocks.push(indented(handed_over(outcome, style)));
    blocks.push(switches(outcome, style));
    blocks.push(nodes(outcome, style));
    blocks.push(drifts(outcome, style));
    let sentences = outcome
        .contrasts
        .iter()
        .map(|contrast| sentence(outcome, contrast));
    blocks.push(sentences.flat_map(|it| style.hang(&it, 2)).collect());
    blocks.push(vec![
        style.paint(Role::Faint, &format!("all of it: {}", file.display())),
    ]);
    blocks.retain(|lines| !lines.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// Renders what is foretold of a comparison.
pub fn foretold(name: &str, experiment: &Experiment, foretold: &Foretold, style: Style) -> String {
    let title = format!(
        "{}: {} rehearsed · simulated",
        clean(name),
        count(experiment.arms.len(), "arm")
    );
    let mut blocks = vec![vec![style.paint(Role::Title, &title)]];
    let tuned = foretold.tuned.iter();
    let tuned = tuned.map(|(arm, (value, why))| format!("{arm} is tuned to {value}: {why}"));
    blocks.push(tuned.flat_map(|it| style.hang(&clean(&it), 2)).collect());
    for (arm, against) in experiment.contrasts() {
        blocks.push(expected(foretold, (arm, against), style));
    }
    if foretold.is_uncertain {
        let speeds = PrefillSpeed::ALL.map(|speed| format!("{:.0}", speed.tokens_per_second()));
        let text = format!(
            "How fast a real server reads prompts is not known: every arm was rehearsed at {} tokens a \
             second, and what holds at one speed alone is said to depend on it.",
            list(&speeds)
        );
        blocks.push(style.wrap(&text, style.width));
    }
    let each: Vec<f64> = foretold.block_s.values().copied().collect();
    let all = each.iter().sum::<f64>() * f64::from(experiment.rounds);
    let took = format!(
        "To measure it takes about {} ({} of all arms), without what going from arm to arm and warming take.",
        duration(Duration::from_secs_f64(all)),
        count(experiment.rounds as usize, "round"),
    );
    blocks.push(style.wrap(&took, style.width));
    blocks.retain(|lines| !lines.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// What is foretold of one arm beside another, cell by cell.
fn expected(
    foretold: &Foretold,
    (arm, against): (&ArmName, &ArmName),
    style: Style,
) -> Vec<String> {
    let title = clean(&format!("{arm} beside {against}"));
    let mut table = Table::new(
        style,
        &[
            ("measured", Align::Left),
            ("load", Align::Left),
            ("decides", Align::Left),
            ("theirs", Align::Right),
            ("ours", Align::Right),
            ("ratio", Align::Left),
            ("ttft", Align::Left),
            ("tpot", Align::Left),
            ("to be expected", Align::Left),
        ],
    );
    for cell in &foretold.cells {
        let Some(said) = cell
            .said
            .iter()
            .find(|it| it.arm == *arm && it.against == *against)
        else {
            continue;
        };
        let per = if said.per_gpu { " a GPU" } else { "" };
        let ratio = said.ratios.map(|[low, high]| span(low, high, 2));
        let beside = |name| {
            let ratios = said
                .beside
                .get(name)
                .map(|[low, high]| span(*low, *high, 2));
            Cell::from(ratios.unwrap_or_default())
        };
        table.row(vec![
            Cell::from(cell.benchmark.as_str()),
            Cell::from(cell.load.as_str()),
            Cell::from(format!("{}{per}", cell.metric)),
            Cell::or_dash(values(&cell.arms[against])),
            Cell::or_dash(values(&cell.arms[arm])),
            Cell::or_dash(ratio),
            beside("ttft.mean"),
            beside("tpot.mean"),
            prospect(said.prospect),
        ]);
    }
    let mut lines = vec![style.paint(Role::Title, &title)];
    lines.extend(indented(table.lines()));
    lines
}

fn prospect(prospect: Prospect) -> Cell {
    match prospect {
        Prospect::Better => Cell::dressed("better", Role::Good),
        Prospect::Worse => Cell::dressed("worse", Role::Error),
        Prospect::Equivalent => Cell::from("equivalent"),
        Prospect::Depends => Cell::dressed("depends", Role::Warning),
        Prospect::Unknown => Cell::dressed("nothing", Role::Warning),
    }
}

/// The values of an arm at all speeds.
fn values(all: &[Option<f64>]) -> Option<String> {
    let known: Vec<f64> = all.iter().copied().flatten().collect();
    let low = known.iter().copied().reduce(f64::min)?;
    let high = known.iter().copied().reduce(f64::max)?;
    let digits = if high < 100.0 { 2 } else { 0 };
    Some(span(low, high, digits))
}

/// A number, or two where they differ as they are written.
fn span(low: f64, high: f64, digits: usize) -> String {
    let (low, high) = (format!("{low:.digits$}"), format!("{high:.digits$}"));
    if low == high {
        low
    } else {
        format!("{low} to {high}")
    }
}

/// The arms, with what they change.
fn arms(outcome: &Outcome, style: Style) -> Vec<String> {
    let mut table = Table::new(
        style,
        &[
            ("arm", Align::Left),
            ("GPUs", Align::Right),
            ("declared otherwise", Align::Left),
        ],
    );
    for (name, arm) in &outcome.arms {
        let base = outcome.contrasts.first().map(|first| &first.against);
        let beside = outcome.contrasts.iter().find(|it| {
            let both = [&it.arm, &it.against];
            base.is_some_and(|base| base != name && both.contains(&base) && both.contains(&name))
        });
        let told: Vec<String> = beside.map(|it| differs(it, base)).into_iter().collect();
        let tuned = arm
            .tuned
            .as_ref()
            .map(|tuned| format!("{} is {}: {}", tuned.argument, tuned.chosen, tuned.why));
        let told = [told, tuned.into_iter().collect()].concat().join("; ");
        table.row(vec![
            Cell::from(name.as_str()),
            Cell::from(arm.gpus.to_string()),
            Cell::from(told),
        ]);
    }
    table.lines()
}

fn differs(contrast: &Contrast, base: Option<&ArmName>) -> String {
    let things: Vec<String> = contrast
        .differences
        .iter()
        .map(|it| it.what.clone())
        .collect();
    let base = base.map_or("", ArmName::as_str);
    format!("{}, beside {base}", list(&things))
}

fn order(outcome: &Outcome) -> String {
    let rounds = outcome.order.iter().map(|round| {
        let arms: Vec<&str> = round.iter().map(ArmName::as_str).collect();
        arms.join(" ")
    });
    let rounds: Vec<String> = rounds.collect();
    format!("In this order: {}", clean(&rounds.join(" · ")))
}

/// Which arms differ in more than one thing.
fn confounded(outcome: &Outcome, style: Style) -> Vec<String> {
    let told = outcome.contrasts.iter().filter_map(said_confounded);
    told.flat_map(|text| style.hang(&style.paint(Role::Warning, &clean(&text)), 2))
        .collect()
}

/// That a pair of arms differs in more than one thing.
pub(super) fn said_confounded(contrast: &Contrast) -> Option<String> {
    let things = contrast.confounded()?;
    Some(format!(
        "{} beside {} is confounded: {things} differ, and no difference is due to one of them",
        contrast.arm, contrast.against
    ))
}

/// What is said of one arm beside another, cell by cell.
fn contrasted(outcome: &Outcome, contrast: &Contrast, style: Style) -> Vec<String> {
    let title = format!("{} beside {}", contrast.arm, contrast.against);
    let confounded = contrast
        .confounded()
        .map(|things| format!(" (confounded: {things})"));
    let mut lines = vec![
        style.paint(Role::Title, &clean(&title))
            + &style.paint(Role::Warning, &confounded.unwrap_or_default()),
    ];
    let mut table = Table::new(
        style,
        &[
            ("measured", Align::Left),
            ("load", Align::Left),
            ("decides", Align::Left),
            ("theirs", Align::Right),
            ("ours", Align::Right),
            ("ratio", Align::Right),
            ("95 %", Align::Left),
            ("ttft", Align::Right),
            ("tpot", Align::Right),
            ("verdict", Align::Left),
        ],
    );
    let mut reasons = contrast.reasons.clone();
    for (cell, said) in said(outcome, contrast) {
        let gpus = |arm: &ArmName| outcome.arms.get(arm).map_or(1, |arm| arm.gpus.max(1)) as f64;
        let middle = |arm: &ArmName| {
            let scale = if said.per_gpu { gpus(arm) } else { 1.0 };
            Cell::or_dash(middle(cell.arms.get(arm)).map(|value| number(value / scale)))
        };
        let ratio = said.ratio.as_ref();
        table.row(vec![
            Cell::from(cell.benchmark.as_str()),
            Cell::from(cell.load.as_str()),
            Cell::from(decides(cell, said)),
            middle(&said.against),
            middle(&said.arm),
            Cell::or_dash(ratio.map(|it| format!("{:.3}", it.ratio))),
            Cell::from(
                ratio
                    .map(|it| format!("{:.3} to {:.3}", it.low, it.high))
                    .unwrap_or_default(),
            ),
            beside(said, "ttft.mean"),
            beside(said, "tpot.mean"),
            verdict(said),
        ]);
        let at = format!("{} {}", cell.benchmark, cell.load);
        reasons.extend(said.reasons.iter().map(|why| format!("{at}: {why}")));
        reasons.extend(open(said).map(|why| format!("{at}: {why}")));
    }
    lines.extend(indented(table.lines()));
    lines.extend(
        reasons
            .iter()
            .flat_map(|why| indented(style.hang(&clean(why), 2))),
    );
    lines
}

/// What decides a cell.
pub(super) fn decides(cell: &compare::Cell, said: &Said) -> String {
    let per = if said.per_gpu { " a GPU" } else { "" };
    format!("{}{per}", cell.metric)
}

/// The ratio of another metric; bold where its interval leaves no doubt that the two differ.
fn beside(said: &Said, metric: &str) -> Cell {
    let Some(ratio) = said.beside.get(metric) else {
        return Cell::or_dash(None::<String>);
    };
    let text = format!("{:.2}", ratio.ratio);
    if differs_for_sure(ratio) {
        Cell::from(text)
    } else {
        Cell::dressed(text, Role::Faint)
    }
}

fn differs_for_sure(ratio: &Ratio) -> bool {
    ratio.low > 1.0 || ratio.high < 1.0
}

fn verdict(said: &Said) -> Cell {
    match said.verdict {
        Some(Verdict::Better) => Cell::dressed("better", Role::Good),
        Some(Verdict::Worse) => Cell::dressed("worse", Role::Error),
        Some(Verdict::Equivalent) => Cell::from("equivalent"),
        Some(Verdict::Inconclusive { .. }) => Cell::dressed("inconclusive", Role::Warning),
        Some(Verdict::TooFew) => Cell::dressed("too few", Role::Warning),
        None => Cell::dressed("none", Role::Warning),
    }
}

/// What it would take to say more.
pub(super) fn open(said: &Said) -> Option<String> {
    match said.verdict {
        Some(open @ (Verdict::Inconclusive { .. } | Verdict::TooFew)) => Some(open.words()),
        _ => None,
    }
}

/// What is said of a pair of arms, cell by cell.
pub(super) fn said<'a>(
    outcome: &'a Outcome,
    contrast: &'a Contrast,
) -> impl Iterator<Item = (&'a compare::Cell, &'a Said)> {
    outcome.cells.iter().flat_map(|cell| {
        let said = cell.said.iter();
        let said = said.filter(|it| it.arm == contrast.arm && it.against == contrast.against);
        said.map(move |said| (cell, said))
    })
}

/// The median of what an arm showed, as far as it can be believed.
pub(super) fn middle(values: Option<&Vec<Option<f64>>>) -> Option<f64> {
    let mut values: Vec<f64> = values?.iter().copied().flatten().collect();
    values.sort_by(f64::total_cmp);
    let at = values.len().checked_sub(1)? / 2;
    let other = values.len() / 2;
    Some(f64::midpoint(values[at], values[other]))
}

/// What a pair of arms comes to, for people.
pub(super) fn sentence(outcome: &Outcome, contrast: &Contrast) -> String {
    let all: Vec<_> = said(outcome, contrast).collect();
    let of = |verdict: fn(&Verdict) -> bool| {
        all.iter()
            .filter(|(_, said)| said.verdict.as_ref().is_some_and(verdict))
            .count()
    };
    let (better, worse, alike) = (
        of(|it| *it == Verdict::Better),
        of(|it| *it == Verdict::Worse),
        of(|it| *it == Verdict::Equivalent),
    );
    let open = all.len() - better - worse - alike;
    let parts = [
        (better, "better"),
        (worse, "worse"),
        (alike, "equivalent"),
        (open, "left open"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(cells, _)| *cells > 0)
        .map(|(cells, what)| format!("{what} in {cells}"))
        .collect();
    let of_what = match outcome.not_of_gpus() {
        None => "",
        Some(_) if outcome.simulated => "Simulated: ",
        Some(_) => "On CPUs: ",
    };
    format!(
        "{of_what}{} beside {}, of {}: {}.",
        clean(contrast.arm.as_str()),
        clean(contrast.against.as_str()),
        count(all.len(), "cell"),
        if parts.is_empty() {
            "nothing was measured".to_owned()
        } else {
            list(&parts)
        }
    )
}

fn times(rounds: usize) -> String {
    match rounds {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn indented(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::{concluded, experiment};

    #[test]
    fn what_was_compared() {
        let text = render(
            &concluded(),
            Path::new("results/t/_compare/x.json"),
            Style::plain(),
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_is_to_be_compared() {
        let started = "2026-11-28T07:00:00Z".parse().unwrap();
        let mut outcome = Outcome::begin(&experiment(), "t", None, started);
        let fresh = preview(&outcome, Some(5400.0), Style::plain());
        outcome.blocks = concluded().blocks[..3].to_vec();
        let begun = preview(&outcome, Some(5400.0), Style::plain());
        let arm = "split".parse().unwrap();
        let heading = heading(&outcome, &arm, Style::plain());
        insta::assert_snapshot!(format!("{fresh}---\n{begun}---{heading}"));
    }
}
