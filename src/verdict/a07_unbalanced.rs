//! A7: replicas that got shares which their policy does not explain: what was measured is not what
//! the topology declares.
//!
//! Of round robin, every replica has as many as every other, but for one and for what failed; of a
//! random choice, the share lies within what chance does in 999 of 1,000 measurements. A policy that
//! looks at the load shares as it sees fit, but leaves nobody out of a load that keeps all busy. One that
//! looks at what is asked may do that too.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Severity, prefilled};

/// How far a share of chance lies from its mean in one of 1,000 measurements, in standard
/// deviations.
const CHANCE: f64 = 3.3;

pub(super) const RULE: Rule = Rule {
    id: "A7",
    name: "unbalanced",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let mut roles: Vec<Option<&str>> = Vec::new();
    for replica in &case.job.instances {
        let role = replica.role.as_deref();
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    let peers = roles.into_iter().map(|role| shares(case, role));
    peers.flat_map(|shares| of_peers(case, &shares)).collect()
}

/// How many requests each instance of one role had a part in.
fn shares<'a>(case: &Case<'a>, role: Option<&str>) -> Vec<(&'a str, usize)> {
    let replicas = case.job.instances.iter();
    let peers = replicas.filter(|it| it.role.as_deref() == role);
    let prefilled = prefilled(case.records);
    peers
        .map(|it| {
            let name = it.name.as_str();
            let read = prefilled.get(name).copied().unwrap_or_default();
            (
                name,
                share(case, name) + usize::try_from(read).unwrap_or(usize::MAX),
            )
        })
        .collect()
}

fn of_peers(case: &Case<'_>, shares: &[(&str, usize)]) -> Vec<Anomaly> {
    let total: usize = shares.iter().map(|(_, n)| n).sum();
    if shares.len() < 2 || total < shares.len() {
        return Vec::new();
    }
    let fair = total as f64 / shares.len() as f64;
    let policy = case.job.endpoint.policy.as_deref().unwrap_or_default();
    let allowed = match policy {
        "round_robin" => 1.0 + case.point.summary.counts.failed as f64,
        // Of two that ask alike, one instance may have both.
        name if ["session", "prefix"].iter().any(|it| name.starts_with(it)) => return Vec::new(),
        "random" => 1.0 + CHANCE * (fair * (1.0 - 1.0 / shares.len() as f64)).sqrt(),
        _ => return left_out(case, shares, fair),
    };
    let furthest = shares
        .iter()
        .max_by(|a, b| distance(a.1, fair).total_cmp(&distance(b.1, fair)));
    let off = furthest.filter(|(_, n)| distance(*n, fair) > allowed);
    off.map(|(name, n)| spoken(case, shares, name, *n, fair))
        .into_iter()
        .collect()
}

fn share(case: &Case<'_>, instance: &str) -> usize {
    let shares = &case.point.summary.by_instance;
    shares.get(instance).map_or(0, |share| share.n)
}

fn distance(n: usize, fair: f64) -> f64 {
    (n as f64 - fair).abs()
}

/// Of a policy that looks at the load nothing is known but that it uses whom it has.
fn left_out(case: &Case<'_>, shares: &[(&str, usize)], fair: f64) -> Vec<Anomaly> {
    let in_flight = case.point.summary.metrics.in_flight.peak;
    let idle = shares.iter().find(|(_, n)| *n == 0);
    idle.filter(|_| in_flight >= 2 * shares.len())
        .map(|(name, n)| spoken(case, shares, name, *n, fair))
        .into_iter()
        .collect()
}

fn spoken(case: &Case<'_>, shares: &[(&str, usize)], name: &str, n: usize, fair: f64) -> Anomaly {
    let policy = case.job.endpoint.policy.as_deref().unwrap_or("no policy");
    let total: usize = shares.iter().map(|(_, n)| n).sum();
    let by_instance: serde_json::Map<_, _> = shares
        .iter()
        .map(|(name, n)| ((*name).to_owned(), json!(n)))
        .collect();
    let finding = Finding {
        message: format!("`{name}` got {n} of {total} requests where {fair:.0} were its share"),
        evidence: json!({"requests": by_instance, "policy": policy}),
        cause: "a replica was out of rotation for a while, or other traffic went through the proxy"
            .to_owned(),
        hint: format!(
            "look at `replica status` and `replica logs proxy`; measure `{name}` again once it is in rotation"
        ),
    };
    RULE.speak(Severity::Warning, finding).of_replica(name)
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, request, scene};

    fn shared(policy: &str, of_a: u32, of_b: u32) -> Scene {
        let one = |index: u32, name: &str| request(index, name, 0.0, 20.0, 1000.0);
        let a = (0..of_a).map(|index| one(index, "a"));
        let b = (of_a..of_a + of_b).map(|index| one(index, "b"));
        let mut scene = scene(a.chain(b).collect());
        scene.job.endpoint.policy = Some(policy.to_owned());
        scene
    }

    fn said(policy: &str, of_a: u32, of_b: u32) -> Option<String> {
        let anomalies = shared(policy, of_a, of_b).judge().into_iter();
        let mut a7 = anomalies.filter(|it| it.id == "A7");
        a7.next().map(|it| it.message)
    }

    #[test]
    fn round_robin_shares_evenly() {
        assert_eq!(said("round_robin", 4, 4), None);
        assert_eq!(said("round_robin", 5, 4), None);
        let seven_to_one = said("round_robin", 7, 1).unwrap();
        assert!(
            seven_to_one.contains("of 8 requests where 4 were its share"),
            "{seven_to_one}"
        );
    }

    #[test]
    fn chance_may_share_unevenly() {
        assert_eq!(said("random", 60, 40), None);
        assert!(said("random", 80, 20).is_some());
    }

    #[test]
    fn who_looks_at_what_is_asked_may_leave_somebody_out() {
        assert_eq!(said("session", 100, 0), None);
        assert_eq!(said("prefix by weight", 100, 0), None);
    }

    #[test]
    fn weights_are_a_reason_for_uneven_shares() {
        assert_eq!(said("round_robin by weight", 75, 25), None);
        assert!(said("round_robin by weight", 100, 0).is_some());
    }

    #[test]
    fn who_looks_at_the_load_leaves_nobody_out() {
        assert_eq!(said("least_connections", 90, 10), None);
        assert!(said("least_connections", 100, 0).is_some());
    }
}
