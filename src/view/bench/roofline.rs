//! What memory allows at most, beside what was measured.

use std::collections::BTreeMap;

use super::super::style::{Role, Style};
use super::super::words::{clean, number};
use crate::results::{BenchResult, Bound, Roofline};

/// A line for each bound, with the instances that it is of. Who asks for formulas is also told why
/// there is none.
pub(super) fn lines(result: &BenchResult, style: Style) -> Vec<String> {
    let lines = said(result).into_iter();
    let lines = lines.filter(|(is_known, _)| *is_known || style.verbose);
    let lines = lines.flat_map(|(_, text)| style.hang(&clean(&text), 4));
    lines
        .map(|line| style.paint(Role::Faint, &format!(" {line}")))
        .collect()
}

/// Each bound once, whether it is known first.
pub(in super::super) fn said(result: &BenchResult) -> Vec<(bool, String)> {
    let mut alike: Vec<(&Bound, Vec<&str>)> = Vec::new();
    for (name, bound) in &result.roofline {
        match alike.iter_mut().find(|(other, _)| *other == bound) {
            Some((_, names)) => names.push(name),
            None => alike.push((bound, vec![name])),
        }
    }
    let is_one = alike.len() == 1;
    let alike = alike.into_iter();
    alike
        .map(|(bound, names)| {
            let of = if is_one {
                String::new()
            } else {
                format!(" of {}", names.join(", "))
            };
            match bound {
                Bound::Known(roofline) => (true, known(&of, roofline, fastest(result, &names))),
                Bound::Unknown { why } => (false, format!("roofline{of}: not known, {why}")),
            }
        })
        .collect()
}

fn known(of: &str, roofline: &Roofline, fastest: Option<f64>) -> String {
    let Roofline {
        tok_s_user,
        memory_gb_s,
        memory_of,
        read_gb,
        ..
    } = roofline;
    let reached = fastest.map_or_else(String::new, |tok_s| {
        let percent = 100.0 * tok_s / tok_s_user;
        format!("; the fastest ran at {}, {percent:.0} %", number(tok_s))
    });
    format!(
        "roofline{of}: {} tok/s a stream at most ({} GB/s of {memory_of} / {} GB read for a token, no \
         KV cache counted){reached}",
        number(*tok_s_user),
        number(*memory_gb_s),
        number(*read_gb),
    )
}

/// The fastest stream of these instances, by the median of the fastest load, in tokens a second.
fn fastest(result: &BenchResult, names: &[&str]) -> Option<f64> {
    let shares = result.points.iter().flat_map(|it| &it.summary.by_instance);
    let own = shares.filter(|(name, _)| names.contains(&name.as_str()));
    let medians = own.filter_map(|(_, share)| Some(share.tpot.as_ref()?.p50.value));
    let least = medians.filter(|ms| *ms > 0.0).min_by(f64::total_cmp)?;
    Some(1000.0 / least)
}

/// The bounds that are known, each once, as what to draw at which speed of a stream.
pub(in super::super) fn drawn<'a>(
    bounds: impl Iterator<Item = &'a BTreeMap<String, Bound>>,
) -> Vec<f64> {
    let known = bounds.flat_map(BTreeMap::values).filter_map(Bound::known);
    let mut speeds: Vec<f64> = known.map(|it| it.tok_s_user).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.dedup();
    speeds
}
