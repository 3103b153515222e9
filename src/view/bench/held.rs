//! How loads stood to what they were held against.

use super::super::style::{Role, Style};
use super::super::words::{clean, number};
use crate::results::{Attained, FailedIf, Point};

/// A line for each objective and each condition; of several loads, each says which it is of.
pub(super) fn lines(points: &[Point], style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for point in points {
        let of = match points.len() {
            1 => String::new(),
            _ => format!("{}: ", point.label()),
        };
        let slo = point.slo.iter().map(|slo| (slo.met, said(slo)));
        let conditions = point.fail_if.iter().map(|it| (!it.failed, told(it)));
        for (is_good, text) in slo.chain(conditions) {
            let (sign, role) = if is_good {
                ("✓", Role::Good)
            } else {
                ("✗", Role::Error)
            };
            let wrapped = style.wrap(&clean(&(of.clone() + &text)), style.width.saturating_sub(4));
            for (place, line) in wrapped.iter().enumerate() {
                lines.push(match place {
                    0 => format!("{} {line}", style.paint(role, sign)),
                    _ => format!("  {line}"),
                });
            }
        }
    }
    lines
}

fn said(slo: &Attained) -> String {
    let limits = slo.objective.limits();
    let limits: Vec<String> = limits
        .map(|(metric, limit)| format!("{} {} s", metric.replace('_', " "), limit.get()))
        .collect();
    let word = if slo.met { "met" } else { "missed" };
    let [low, high] = slo.ci.map(|bound| number(100.0 * bound));
    let misses: Vec<String> = slo
        .misses
        .iter()
        .map(|(what, count)| format!("{} {count}", what.replace('_', " ")))
        .collect();
    let misses = match misses.as_slice() {
        [] => String::new(),
        misses => format!("; missed by {}", misses.join(", ")),
    };
    format!(
        "SLO {word}: {} % of {} requests within {} (95 %: {low} to {high}; {} asked), {} good ones a \
         second{misses}",
        number(100.0 * slo.attainment),
        slo.offered,
        limits.join(", "),
        slo.objective.attainment,
        number(slo.goodput_rps),
    )
}

fn told(looked: &FailedIf) -> String {
    let FailedIf {
        condition, seen, ..
    } = looked;
    format!("fail_if {condition}: {seen}")
}
