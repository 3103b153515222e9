//! A21: a machine whose CPUs were short while it was measured. What it served or sent waited for its
//! turn among other programs; that is the likely cause of whatever else stands out, and no fault of
//! the replicas. It is a warning: the numbers are those of a machine that busy.

use serde_json::{Map, json};

use super::{Case, Finding, Rule, round};
use crate::results::{Anomaly, Severity};

/// A machine is short of CPU where some task waits for one for more than this share of the time. An
/// idle one that serves on its CPUs has 7 to 20 %, a busy one 94 to 98 %.
const SHORT: f64 = 0.5;

pub(super) const RULE: Rule = Rule {
    id: "A21",
    name: "short of CPU",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let short = short(case);
    if short.is_empty() {
        return Vec::new();
    }
    let named: Vec<String> = short
        .iter()
        .map(|(who, share)| format!("{who} ({:.0} % of the time)", share * 100.0))
        .collect();
    let evidence: Map<_, _> = short
        .iter()
        .map(|(who, share)| (who.clone(), json!(round(*share))))
        .collect();
    let finding = Finding {
        message: format!("tasks waited for a CPU on {}", named.join(", ")),
        evidence: json!({"waiting_share": evidence}),
        cause: "other programs, or more servers than there are CPUs for".to_owned(),
        hint:
            "stop what else runs there, or give each server and the client CPUs of their own, and \
               measure again"
                .to_owned(),
    };
    vec![RULE.speak(Severity::Warning, finding)]
}

/// Who was short of CPU, and for which share of the time.
pub(super) fn short(case: &Case<'_>) -> Vec<(String, f64)> {
    let pressure = case.point.cpu_pressure.as_ref();
    pressure.map_or_else(Vec::new, |pressure| pressure.short(SHORT))
}

#[cfg(test)]
mod tests {
    use crate::results::{CpuPressure, Pressure, Severity};
    use crate::verdict::scene::{batch, scene};

    #[test]
    fn short_cpus_are_named_and_never_forbid_a_result() {
        let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
        let pressure = |client: f64, node: f64| {
            Some(CpuPressure {
                client: Some(Pressure { some_share: client }),
                nodes: [("n1".parse().unwrap(), Pressure { some_share: node })].into(),
            })
        };
        scene.cpu_pressure = pressure(0.2, 0.5);
        assert_eq!(scene.judge(), []);
        scene.cpu_pressure = pressure(0.2, 0.96);
        let anomalies = scene.judge();
        assert_eq!(anomalies.len(), 1);
        assert_eq!(
            (&*anomalies[0].id, anomalies[0].severity),
            ("A21", Severity::Warning)
        );
        assert_eq!(
            anomalies[0].message,
            "tasks waited for a CPU on node `n1` (96 % of the time)"
        );
    }

    #[test]
    fn they_are_the_likely_cause_of_what_else_is_seen() {
        let mut scene = scene(batch([1000.0; 4], [3000.0; 4]));
        scene.cpu_pressure = Some(CpuPressure {
            client: Some(Pressure { some_share: 0.9 }),
            ..CpuPressure::default()
        });
        let anomalies = scene.judge();
        let a4 = anomalies.iter().find(|it| it.id == "A4").unwrap();
        assert!(
            a4.cause.starts_with("the client was short of CPU"),
            "{}",
            a4.cause
        );
    }
}
