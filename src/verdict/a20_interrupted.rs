//! A20: a measurement that was stopped before its end. What it has is kept, and stands for nothing: a
//! load that was cut short is another load.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A20",
    name: "interrupted",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let Some(cut) = case.cut else {
        return Vec::new();
    };
    let finding = Finding {
        message: cut.to_string(),
        evidence: json!(cut),
        cause: "somebody stopped it".to_owned(),
        hint: if case.is_of_unknown() {
            "measure again"
        } else {
            "measure again: `replica apply` does, since nothing counts as measured"
        }
        .to_owned(),
    };
    vec![RULE.speak(Severity::Error, finding)]
}

#[cfg(test)]
mod tests {
    use crate::results::Cut;
    use crate::verdict::scene::{batch, scene};

    #[test]
    fn what_was_stopped_is_told_for_that_alone() {
        let mut scene = scene(batch([100.0; 4], [100.0; 4]));
        assert!(scene.errors().is_empty());
        scene.records.truncate(3);
        scene.cut = Some(Cut {
            asked: 8,
            ended: 3,
            in_flight: 5,
        });
        let anomalies = scene.judge();
        assert_eq!(anomalies.len(), 1);
        assert_eq!(anomalies[0].id, "A20");
        assert_eq!(
            anomalies[0].message,
            "interrupted after 3 of 8 requests, 5 in flight"
        );
        assert!(anomalies[0].invalidates());
    }
}
