//! A10: failures. Beyond one in a hundred no throughput is claimed: the load was not carried.

use serde_json::json;

use super::{Case, round};
use crate::results::{Anomaly, Severity, Subject};

const TOLERATED: f64 = 0.01;

/// A reason is cut to so many characters for the one line of the message.
const SHOWN: usize = 160;

pub(super) fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let (failed, total) = (case.summary.counts.failed, case.summary.counts.total);
    let Some(worst) = case.summary.errors.first() else {
        return Vec::new();
    };
    let share = failed as f64 / total as f64;
    let replicas = &worst.instances;
    let from = match replicas.as_slice() {
        [] => String::new(),
        [one] => format!(" from `{one}`"),
        several => format!(" from `{}`", several.join("`, `")),
    };
    let message = format!(
        "{failed} of {total} requests failed, {} of them with {}{from}: {}",
        worst.count,
        worst.label,
        shown(worst.first_body.as_deref())
    );
    let severity = if share > TOLERATED {
        Severity::Error
    } else {
        Severity::Warning
    };
    vec![Anomaly {
        id: "A10".to_owned(),
        name: "errors".to_owned(),
        severity,
        subject: Subject::Result,
        replica: (replicas.len() == 1).then(|| replicas[0].clone()),
        message,
        evidence: json!({
            "failed": failed,
            "total": total,
            "share": round(share),
            "by_label": case.summary.errors.iter().map(|e| json!({"label": e.label, "count": e.count})).collect::<Vec<_>>(),
        }),
        cause: "the servers or the proxy refused or dropped requests of this load".to_owned(),
        next: "read the first body of each kind in `errors`, and the logs of the replicas"
            .to_owned(),
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
