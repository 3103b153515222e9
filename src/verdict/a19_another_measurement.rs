//! A19: another measurement of the same topology ran while this one did. Each was load of the other,
//! and the numbers of both are of something that nobody asked for.
//!
//! Who else measured is known from the notes of what is under way, beside the results.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A19",
    name: "another measurement",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    if case.others.is_empty() {
        return Vec::new();
    }
    let others = case.others.iter();
    let named: Vec<String> = others
        .map(|other| format!("`{}` (pid {})", other.benchmark, other.pid))
        .collect();
    let were = if named.len() == 1 { "was" } else { "were" };
    let finding = Finding {
        message: format!(
            "{} {were} measured against the same servers at the same time",
            named.join(", ")
        ),
        evidence: json!({"others": case.others}),
        cause: "two runs of `replica` measured one topology, and each was load of the other"
            .to_owned(),
        hint: "measure again, one after another".to_owned(),
    };
    vec![RULE.speak(Severity::Error, finding)]
}
