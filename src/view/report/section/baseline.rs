//! A result beside its baseline. One that cannot be believed has no ratio to anything.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::Sheet;
use crate::view::bench::{baseline as named, difference, sizes};
use crate::view::words::number;

/// The comparison, where there is one.
pub(in super::super) fn baseline(it: &Reported) -> Markup {
    let Some(beside) = &it.result.comparison else {
        return Markup::default();
    };
    let valid = it.result.valid;
    let mut sheet = Sheet::new(&[
        ("load", false),
        ("metric", false),
        ("unit", false),
        ("baseline", true),
        ("this", true),
        ("this - baseline", true),
        ("this / baseline", true),
        ("n", true),
        ("", false),
    ]);
    for row in &beside.rows {
        let ratio = row.ratio.filter(|_| valid);
        let remark = match row.ratio {
            None => "not comparable",
            Some(_) if row.flagged && valid => "see the remarks",
            Some(_) => "",
        };
        sheet.row(vec![
            row.load.clone().unwrap_or_default(),
            row.what.clone(),
            row.unit.clone(),
            number(row.theirs),
            number(row.ours),
            ratio.map(|_| difference(row)).unwrap_or_default(),
            ratio.map(|it| number(it) + "x").unwrap_or_default(),
            sizes(row),
            remark.to_owned(),
        ]);
    }
    let mut out = Markup::default();
    let named = named(beside, &it.result);
    let mut said = format!("Baseline: {named}.");
    if !valid {
        said += " This result is invalid: it has no ratio to anything.";
    } else if !beside.comparable {
        said += " It is not comparable.";
    }
    out.words("p", &[], &said);
    sheet.write(&mut out);
    for remark in &beside.remarks {
        out.words("p", &[("class", "caption")], remark);
    }
    out
}
