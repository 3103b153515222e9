//! A24: requests that another replica served than the one that is said to have. The client reads the
//! name in each answer, every engine counts what it ended, and the two do not agree, though all of it
//! together does. Every number by replica is then of a mixture.

use serde_json::json;

use super::a13_foreign_traffic::in_all;
use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Both, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A24",
    name: "misattributed",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let Some(reconcile) = &case.point.reconcile else {
        return Vec::new();
    };
    let all_count = reconcile.by_instance.len() == case.job.instances.len();
    if reconcile.failed > 0 || !all_count || !agree(&in_all(reconcile)) {
        return Vec::new();
    }
    let servers = reconcile.by_instance.iter();
    servers
        .filter(|(_, both)| !agree(both))
        .take(1)
        .map(|(name, both)| spoken(name, both))
        .collect()
}

fn agree(both: &Both) -> bool {
    let counted = both.server_requests;
    counted.is_none_or(|counted| counted == both.client_requests)
}

fn spoken(name: &str, both: &Both) -> Anomaly {
    let counted = both.server_requests.unwrap_or_default();
    let finding = Finding {
        message: format!(
            "{} answers are said to be of `{name}`, which ended {counted} requests",
            both.client_requests
        ),
        evidence: json!(both),
        cause: "what stands before the replicas names another than the one that serves".to_owned(),
        hint: "measure each replica directly, and look at who sets `x-replica-instance`".to_owned(),
    };
    RULE.speak(Severity::Error, finding).of_replica(name)
}
