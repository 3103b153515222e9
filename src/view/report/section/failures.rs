//! Requests that failed, alike ones together, with what the first of them was told.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::Sheet;

/// As much of a body as is shown.
const SHOWN: usize = 300;

/// The failures; nothing where there are none.
pub(in super::super) fn failures(it: &Reported) -> Markup {
    let mut sheet = Sheet::new(&[
        ("load", false),
        ("failure", false),
        ("requests", true),
        ("from", false),
        ("the first of them", false),
    ]);
    for point in &it.result.points {
        for group in &point.summary.errors {
            let body = group.first_body.as_deref().unwrap_or_default();
            let mut shown: String = body.chars().take(SHOWN).collect();
            if shown.len() < body.len() {
                shown.push('…');
            }
            sheet.row(vec![
                point.load.label(),
                group.label.clone(),
                group.count.to_string(),
                group.instances.join(", "),
                shown,
            ]);
        }
    }
    let mut out = Markup::default();
    sheet.write(&mut out);
    out
}
