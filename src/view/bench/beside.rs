//! A result beside its baseline.

use super::indented;
use crate::results::{BaselineRun, BenchResult, Comparison, Row};
use crate::view::style::{Role, Style};
use crate::view::table::{Align, Cell, Table};
use crate::view::words::{clean, duration, number};

/// Sets two results side by side. A result that cannot be believed has no ratio to anything.
pub(super) fn lines(beside: &Comparison, result: &BenchResult, style: Style) -> Vec<String> {
    let valid = result.valid;
    let right = |title| (title, Align::Right);
    let heading = [
        ("metric", Align::Left),
        right("baseline"),
        right("now"),
        right("diff"),
        right("ratio"),
        right("n"),
        ("", Align::Left),
    ];
    let mut table = Table::new(style, &heading);
    for row in &beside.rows {
        let ratio = row.ratio.filter(|_| valid);
        table.row(vec![
            Cell::from(metric(row)),
            Cell::from(number(row.theirs)),
            Cell::from(number(row.ours)),
            Cell::from(ratio.map(|_| difference(row)).unwrap_or_default()),
            Cell::from(ratio.map(|it| number(it) + "x").unwrap_or_default()),
            Cell::from(sizes(row)),
            remark(row, valid),
        ]);
    }
    let mut lines = style.hang(&format!("against {}", named(beside, result)), 2);
    lines.extend(indented(table.lines()));
    lines.extend(proxy(beside, valid).map(|said| format!(" {said}")));
    lines
}

/// What it is held against, and what to know of that.
fn named(beside: &Comparison, result: &BenchResult) -> String {
    let name = baseline(beside, result);
    if result.valid {
        name
    } else {
        name + " (no ratios: this result is invalid)"
    }
}

/// Which result a baseline is: by benchmark and time, or, where it is none of ours, by its file.
pub(in crate::view) fn baseline(beside: &Comparison, result: &BenchResult) -> String {
    let Some(run) = &beside.measured else {
        return clean(&beside.baseline);
    };
    let apart = result.run.started.duration_since(run.started);
    let apart = duration(apart.unsigned_abs());
    let side = if run.started > result.run.started {
        "after"
    } else {
        "before"
    };
    let at = moment(run, result);
    format!("{} of {at}, measured {apart} {side}", clean(&run.benchmark))
}

/// The time of day, and the day where it is another.
fn moment(run: &BaselineRun, result: &BenchResult) -> String {
    let day = |it: &jiff::Timestamp| it.strftime("%Y-%m-%d").to_string();
    let form = if day(&run.started) == day(&result.run.started) {
        "%H:%M UTC"
    } else {
        "%Y-%m-%d %H:%M UTC"
    };
    run.started.strftime(form).to_string()
}

/// What the proxy adds, where nothing else is different.
fn proxy(beside: &Comparison, valid: bool) -> Option<String> {
    let run = beside.measured.as_ref();
    let adds = run.is_some_and(|run| run.adds_proxy);
    let rows = beside.rows.iter().filter(|row| {
        row.load.is_none() && row.unit == "ms" && row.ratio.is_some() && !row.flagged
    });
    let medians = rows.filter(|row| row.what.starts_with("median"));
    let added =
        medians.map(|row| format!("{} ms to the {}", signed(row.theirs - row.ours), row.what));
    let added: Vec<String> = added.collect();
    (valid && adds && !added.is_empty()).then(|| format!("the proxy adds {}", added.join(", ")))
}

/// Ours less theirs.
pub(in crate::view) fn difference(row: &Row) -> String {
    signed(row.ours - row.theirs)
}

fn signed(amount: f64) -> String {
    let shown = number(amount.abs());
    let is_nothing = shown.chars().all(|c| matches!(c, '0' | '.'));
    match amount {
        _ if is_nothing => shown,
        amount if amount < 0.0 => format!("-{shown}"),
        _ => format!("+{shown}"),
    }
}

/// How many both are made of: theirs and ours where they differ.
pub(in crate::view) fn sizes(row: &Row) -> String {
    match row.n {
        None => String::new(),
        Some([ours, theirs]) if ours == theirs => ours.to_string(),
        Some([ours, theirs]) => format!("{theirs}, {ours}"),
    }
}

fn metric(row: &Row) -> String {
    // What counts tokens says so already.
    let unit = if row.what.starts_with(&row.unit) {
        ""
    } else {
        &row.unit
    };
    let metric = format!("{} {unit}", row.what);
    let metric = metric.trim_end().to_owned();
    match &row.load {
        Some(load) => format!("{load}: {metric}"),
        None => metric,
    }
}

fn remark(row: &Row, valid: bool) -> Cell {
    match row.ratio {
        None => Cell::dressed("not comparable", Role::Warning),
        Some(_) if row.flagged && valid => Cell::from("see the remarks"),
        Some(_) => Cell::from(""),
    }
}
