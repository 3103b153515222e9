//! A13: engines that worked for somebody else meanwhile. What they counted is more than what the
//! client had from them, so the numbers are those of two loads.
//!
//! Where all of it together agrees and the single engines do not, nobody else was there: who served
//! is told wrongly, and every number by replica with it (A24).

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Both, Reconcile, Severity};

/// What the counts of both sides may differ by.
const TOLERATED: f64 = 0.01;

pub(super) const RULE: Rule = Rule {
    id: "A13",
    name: "foreign traffic",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let Some(reconcile) = &case.point.reconcile else {
        return Vec::new();
    };
    let most = reconcile.failed * u64::from(case.job.max_tokens);
    let all = in_all(reconcile);
    // Only where every engine counts is it known that nothing was counted elsewhere.
    let mut measured = case.job.instances.iter();
    let all_count = measured.all(|it| reconcile.by_instance.contains_key(&it.name));
    if all_count && !is_foreign(&all, most) {
        return Vec::new();
    }
    let servers = reconcile.by_instance.iter();
    servers
        .filter(|(_, both)| is_foreign(both, most))
        .map(|(name, both)| spoken(name, both, is_measured(case, name)))
        .collect()
}

/// Whether a server is one of those that are measured, and not one that was to be idle beside them.
fn is_measured(case: &Case<'_>, name: &str) -> bool {
    case.job.instances.iter().any(|it| it.name == name)
}

/// What both counted of all servers.
pub(super) fn in_all(reconcile: &Reconcile) -> Both {
    let servers = || reconcile.by_instance.values();
    Both {
        client_requests: servers().map(|it| it.client_requests).sum(),
        server_requests: servers().map(|it| it.server_requests).sum(),
        client_tokens: servers().map(|it| it.client_tokens).sum(),
        server_tokens: servers().map(|it| it.server_tokens).sum(),
    }
}

/// Whether a server made more than can have come to the client, where those that failed may have had
/// so many tokens.
fn is_foreign(both: &Both, failed: u64) -> bool {
    let Some(made) = both.server_tokens else {
        return false;
    };
    let explained = (both.client_tokens + failed) as f64;
    made as f64 > explained * (1.0 + TOLERATED)
}

fn spoken(name: &str, both: &Both, is_measured: bool) -> Anomaly {
    let made = both.server_tokens.unwrap_or_default();
    let message = if is_measured {
        let ours = both.client_tokens;
        format!("`{name}` made {made} tokens while it was measured, and {ours} of them were ours")
    } else {
        format!("`{name}` was to be idle beside what was measured, and made {made} tokens")
    };
    let finding = Finding {
        message,
        evidence: json!(both),
        cause: "somebody else used the server at the same time".to_owned(),
        hint: "see who does: `replica status`, the proxy's log; measure again without them"
            .to_owned(),
    };
    RULE.speak(Severity::Error, finding).of_replica(name)
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, batch, scene};

    /// Two replicas that made so many tokens and requests for themselves; the client had 400 in four
    /// from each.
    pub(in super::super) fn counted(a: [u64; 2], b: [u64; 2]) -> Scene {
        let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
        for (name, [tokens, requests]) in [("a", a), ("b", b)] {
            let mut server = crate::results::ServerMetrics::default();
            server.delta.generation_tokens = Some(tokens);
            server.delta.requests = Some(requests);
            scene.server.insert(name.to_owned(), server);
        }
        scene
    }

    #[test]
    fn what_agrees_is_not_spoken_of() {
        assert!(counted([400, 4], [400, 4]).errors().is_empty());
        assert!(counted([403, 4], [400, 4]).errors().is_empty());
    }

    #[test]
    fn more_than_was_had_was_for_somebody_else() {
        assert_eq!(counted([500, 5], [400, 4]).errors(), ["A13"]);
    }

    #[test]
    fn who_served_may_be_told_wrongly() {
        assert_eq!(counted([700, 7], [100, 1]).errors(), ["A24"]);
    }

    #[test]
    fn who_was_to_be_idle_did_nothing() {
        let beside = |tokens| {
            let mut scene = counted([400, 4], [400, 4]);
            let mut idle = crate::results::ServerMetrics::default();
            idle.delta.generation_tokens = Some(tokens);
            scene.server.insert("c".to_owned(), idle);
            scene.errors()
        };
        assert!(beside(0).is_empty());
        assert_eq!(beside(500), ["A13"]);
    }
}
