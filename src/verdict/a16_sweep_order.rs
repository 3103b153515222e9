//! A16: a sweep that does not go up.
//!
//! Loads are driven from the least to the most. A rate that was asked for as the next one, and by which
//! no more requests were sent than by the one before it, is no point further up: the seed's sweep went
//! from 0.083 down to 0.017 requests/s, and was read as one that goes up.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::results::{Anomaly, Severity};

pub(super) const RULE: Rule = Rule {
    id: "A16",
    name: "sweep order",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let Some(now) = &case.point.achieved else {
        return Vec::new();
    };
    let lower = case.before.iter().filter(|it| {
        let before = it.achieved.as_ref();
        before.is_some_and(|it| it.requested_rps < now.requested_rps)
    });
    let fastest = lower.max_by(|one, other| sent(one).total_cmp(&sent(other)));
    let Some(before) = fastest.filter(|it| sent(it) >= now.achieved_rps) else {
        return Vec::new();
    };
    let finding = Finding {
        message: format!(
            "`{}` sent {:.3} requests/s, no more than `{}` with {:.3}/s",
            case.point.load.label(),
            now.achieved_rps,
            before.load.label(),
            sent(before),
        ),
        evidence: json!({
            "requested_rps": round(now.requested_rps),
            "achieved_rps": round(now.achieved_rps),
            "before_rps": round(sent(before)),
        }),
        cause:
            "too few requests came to tell the two rates apart, or the client could send no more"
                .to_owned(),
        hint: "ask for a longer `duration`, or for rates that lie further apart".to_owned(),
    };
    vec![RULE.speak(Severity::Error, finding)]
}

fn sent(point: &crate::results::Point) -> f64 {
    let achieved = point.achieved.as_ref();
    achieved.map_or(0.0, |achieved| achieved.achieved_rps)
}

#[cfg(test)]
mod tests {
    use crate::shape::known;
    use crate::verdict::scene::{Scene, request, scene};

    /// Requests that were asked at a rate, and came at another.
    fn asked_and_sent(asked: f64, sent: f64) -> Scene {
        let records = (0..40).map(|index| {
            let at = f64::from(index) * 1000.0 / sent;
            request(
                index,
                ["a", "b"][index as usize % 2],
                at,
                at + 5.0,
                at + 700.0,
            )
        });
        let mut scene = scene(records.collect());
        scene.job.load = known::rate(asked, 60).into();
        scene
    }

    #[test]
    fn a_point_by_which_no_more_was_sent_than_by_a_lower_one_is_none() {
        let mut scene = asked_and_sent(4.0, 1.9);
        scene.before = vec![
            asked_and_sent(1.0, 1.0).point(),
            asked_and_sent(2.0, 2.0).point(),
        ];
        assert_eq!(scene.errors(), ["A16"]);
        assert_eq!(
            scene.judge()[0].message,
            "`rate 4/s for 60 s` sent 1.900 requests/s, no more than `rate 2/s for 60 s` with 2.000/s"
        );
    }

    #[test]
    fn a_sweep_that_goes_up_passes_and_so_does_a_search_that_goes_down() {
        let mut scene = asked_and_sent(4.0, 3.8);
        scene.before = vec![
            asked_and_sent(2.0, 2.0).point(),
            asked_and_sent(8.0, 8.0).point(),
        ];
        assert_eq!(scene.judge(), []);
    }
}
