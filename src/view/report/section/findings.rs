//! What the rules found: evidence, cause and what to do, most serious first.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::facts;
use crate::results::{Anomaly, Severity, Subject};
use crate::view::bench::evidence;

/// The findings, load by load; nothing where nothing was found.
pub(in super::super) fn findings(it: &Reported) -> Markup {
    let mut out = Markup::default();
    for point in it
        .result
        .points
        .iter()
        .filter(|point| !point.anomalies.is_empty())
    {
        if it.result.points.len() > 1 {
            out.words("h4", &[], &point.load.label());
        }
        for anomaly in &point.anomalies {
            finding(&mut out, anomaly);
        }
    }
    out
}

fn finding(out: &mut Markup, anomaly: &Anomaly) {
    let (class, sign) = match (anomaly.severity, anomaly.subject) {
        (Severity::Error, Subject::Result) => ("finding error", "✗"),
        (Severity::Error | Severity::Warning, _) => ("finding warning", "!"),
        (Severity::Info, _) => ("finding", "·"),
    };
    out.element("div", &[("class", class)], |out| {
        let (id, name) = (&anomaly.id, &anomaly.name);
        out.words(
            "p",
            &[],
            &format!("{sign} {id} {name}: {}", anomaly.message),
        );
        let replica = anomaly.replica.clone().unwrap_or_default();
        let told = [
            ("replica", replica),
            ("seen", evidence(anomaly)),
            ("likely cause", anomaly.cause.clone()),
            ("what to do", anomaly.hint.clone()),
        ];
        facts(out, &told);
    });
}
