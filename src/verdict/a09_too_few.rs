//! A9: too few requests for what the load is meant to tell.
//!
//! A rate is carried or it is not, and a handful of requests tells neither: the seed's sweep found its
//! "peak" at a rate by which one request had come. Percentiles guard themselves, see
//! [`quantile`](crate::results::quantile).

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Severity};
use crate::shape::Class;

/// A rate needs as many requests that are ok to tell anything.
const ENOUGH: usize = 20;

pub(super) const RULE: Rule = Rule {
    id: "A9",
    name: "too few",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let ok = case.point.summary.counts.ok;
    let is_open = match case.point.load.class() {
        Class::Open { .. } => true,
        Class::Alone | Class::Together { .. } | Class::Closed { .. } => false,
    };
    // Where none is ok, that is what there is to be said.
    if !is_open || ok == 0 || ok >= ENOUGH {
        return Vec::new();
    }
    let finding = Finding {
        message: format!("{ok} requests tell no rate and no tail; {ENOUGH} are the least for that"),
        evidence: json!({"ok": ok, "least": ENOUGH}),
        cause: "the load ends before enough requests have come".to_owned(),
        hint: "ask for more `requests`, or for a longer `duration`".to_owned(),
    };
    vec![RULE.speak(Severity::Warning, finding)]
}

#[cfg(test)]
mod tests {
    use crate::shape::known;
    use crate::verdict::scene::{Scene, request, scene};

    /// So many requests by the clock, two a second.
    fn by_the_clock(requests: u32) -> Scene {
        let records = (0..requests).map(|index| {
            let sent = f64::from(index) * 500.0;
            request(
                index,
                ["a", "b"][index as usize % 2],
                sent,
                sent + 10.0,
                sent + 900.0,
            )
        });
        let mut scene = scene(records.collect());
        scene.job.load = known::rate(2.0, requests / 2).into();
        scene
    }

    #[test]
    fn a_rate_of_a_few_requests_is_doubted() {
        let anomalies = by_the_clock(19).judge();
        assert_eq!(anomalies.len(), 1);
        assert_eq!(
            anomalies[0].message,
            "19 requests tell no rate and no tail; 20 are the least for that"
        );
        assert_eq!(by_the_clock(20).judge(), []);
    }

    #[test]
    fn a_batch_is_as_large_as_it_is() {
        let mut batch = by_the_clock(8);
        batch.job.load = known::batch(8).into();
        assert!(batch.judge().iter().all(|it| it.id != "A9"));
    }
}
