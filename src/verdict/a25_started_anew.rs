//! A25: a server that was not the same before and after. What answered in between was two processes,
//! and one of them was cold.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, ServerSeen, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A25",
    name: "started anew",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    case.conditions.servers().filter_map(changed).collect()
}

fn changed(server: ServerSeen<'_>) -> Option<Anomaly> {
    let ServerSeen {
        instance,
        node,
        before,
        after,
        rebooted,
        ..
    } = server;
    let same = |now: &&_| {
        let now: &crate::plan::ServerConditions = now;
        (now.pid, now.start_time) == (before.pid, before.start_time)
    };
    let (message, cause) = match after {
        _ if rebooted => (
            format!("`{node}`, where `{instance}` runs, booted anew while it was measured"),
            "the machine lost power, or was told to",
        ),
        None => (
            format!(
                "`{instance}` (pid {}) was gone after it was measured",
                before.pid
            ),
            "it died, or somebody ended it",
        ),
        Some(now) if !same(&now) => (
            format!(
                "`{instance}` was pid {} before and pid {} after",
                before.pid, now.pid
            ),
            "it died and was started again by its supervisor, or by another run",
        ),
        Some(_) => return None,
    };
    let finding = Finding {
        message,
        evidence: json!({"before": before.pid, "after": after.map(|it| it.pid), "rebooted": rebooted}),
        cause: cause.to_owned(),
        hint: format!("look at `replica logs instance.{instance}`, and measure again"),
    };
    Some(RULE.speak(Severity::Error, finding).of_replica(instance))
}

#[cfg(test)]
mod tests {
    use super::super::scene::{batch, scene};
    use crate::plan::{NodeConditions, ServerConditions};
    use crate::results::Surveyed;

    fn seen(boot: &str, pid: Option<u32>) -> Surveyed {
        let server = pid.map(|pid| ServerConditions {
            pid,
            ..ServerConditions::default()
        });
        let node = NodeConditions {
            boot_id: Some(boot.to_owned()),
            servers: server.into_iter().map(|it| ("a".to_owned(), it)).collect(),
            ..NodeConditions::default()
        };
        Surveyed::from([("here".parse().unwrap(), node)])
    }

    fn said(before: Surveyed, after: Surveyed) -> Vec<String> {
        let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
        scene.conditions.before = before;
        scene.conditions.after = after;
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A25");
        anomalies.map(|it| it.message).collect()
    }

    #[test]
    fn who_is_the_same_is_not_spoken_of() {
        assert!(said(seen("x", Some(7)), seen("x", Some(7))).is_empty());
        // A node that could not be asked is unknown.
        assert!(said(seen("x", Some(7)), Surveyed::new()).is_empty());
        assert!(said(Surveyed::new(), seen("x", Some(7))).is_empty());
    }

    #[test]
    fn who_died_or_was_started_anew_is() {
        assert_eq!(
            said(seen("x", Some(7)), seen("x", Some(8))),
            ["`a` was pid 7 before and pid 8 after"]
        );
        assert_eq!(
            said(seen("x", Some(7)), seen("x", None)),
            ["`a` (pid 7) was gone after it was measured"]
        );
        assert_eq!(
            said(seen("x", Some(7)), seen("y", None)),
            ["`here`, where `a` runs, booted anew while it was measured"]
        );
    }
}
