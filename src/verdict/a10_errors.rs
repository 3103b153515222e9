//! A10: failures. Beyond one in a hundred no throughput is claimed: the load was not carried.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::results::{Anomaly, ErrorGroup, Severity, Status};

const TOLERATED: f64 = 0.01;

/// A reason is cut to so many characters for the one line of the message.
const SHOWN: usize = 160;

pub(super) const RULE: Rule = Rule {
    id: "A10",
    name: "errors",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let summary = &case.point.summary;
    // What was not sent is no failure of who did not get it; A11 speaks of it.
    let dropped = summary.counts.by_status.get(&Status::Dropped);
    let dropped = dropped.copied().unwrap_or(0);
    let total = summary.counts.total - dropped;
    let failed = summary.counts.failed - dropped;
    let is_sent = |group: &&ErrorGroup| group.label != Status::Dropped.word();
    let Some(worst) = summary.errors.iter().find(is_sent) else {
        return Vec::new();
    };
    let share = failed as f64 / total as f64;
    let from = match worst.instances.as_slice() {
        [] => String::new(),
        [one] => format!(" from `{one}`"),
        several => format!(" from `{}`", several.join("`, `")),
    };
    let by_label = summary.errors.iter();
    let by_label = by_label.map(|e| json!({"label": e.label, "count": e.count}));
    let finding = Finding {
        message: format!(
            "{failed} of {total} requests failed, {} of them with {}{from}: {}",
            worst.count,
            worst.label,
            shown(worst.first_body.as_deref())
        ),
        evidence: json!({
            "failed": failed,
            "total": total,
            "share": round(share),
            "by_label": by_label.collect::<Vec<_>>(),
        }),
        cause: "the servers or the proxy refused or dropped requests of this load".to_owned(),
        hint: if case.is_of_unknown() {
            "read the first body of each kind in `errors`, and the server's log"
        } else {
            "read the first body of each kind in `errors`, and `replica logs`"
        }
        .to_owned(),
    };
    let severity = if share > TOLERATED {
        Severity::Error
    } else {
        Severity::Warning
    };
    let anomaly = RULE.speak(severity, finding);
    vec![match worst.instances.as_slice() {
        [one] => anomaly.of_replica(one),
        _ => anomaly,
    }]
}

fn shown(body: Option<&str>) -> String {
    let line = body.unwrap_or("no reason was given");
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
