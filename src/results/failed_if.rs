//! The conditions under which a measurement has failed, looked at.

use serde::{Deserialize, Serialize};

use super::anomaly::{Anomaly, Severity, Subject};
use super::baseline::Claim;
use super::metric::Metric;
use super::quantile::tidy;
use super::result::Point;
use crate::plan::{FailIf, Grave};

/// One condition, looked at. What cannot be judged has failed: nothing shows that it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedIf {
    /// The condition, as a sentence: `ttft.p95 above 2 s`.
    pub condition: String,
    /// Whether it came about, or could not be judged.
    pub failed: bool,
    /// What was seen.
    pub seen: String,
    /// The value, in the metric's unit: ms of a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What it is held against, in that unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

/// The limit of a value, and where it comes from.
struct Limit {
    value: f64,
    beside: String,
}

impl FailedIf {
    /// Looks at a condition. `claim` is what the baseline claims of the load.
    pub(crate) fn look(condition: &FailIf, point: &Point, claim: Option<&Claim>) -> Self {
        match condition.anomaly {
            Some(grave) => of_anomaly(grave, &point.anomalies),
            None => of_metric(condition, point, claim),
        }
    }
}

fn of_anomaly(grave: Grave, anomalies: &[Anomaly]) -> FailedIf {
    let (word, worst) = match grave {
        Grave::Error => ("error", Severity::Error),
        Grave::Warning => ("warning", Severity::Warning),
    };
    let of_ours = anomalies.iter().filter(|it| it.subject == Subject::Result);
    let found: Vec<&str> = of_ours
        .filter(|it| it.severity <= worst)
        .map(|it| it.id.as_str())
        .collect();
    FailedIf {
        condition: format!("an anomaly of severity {word}"),
        failed: !found.is_empty(),
        seen: match found.as_slice() {
            [] => "none".to_owned(),
            found => found.join(", "),
        },
        value: None,
        limit: None,
    }
}

fn of_metric(condition: &FailIf, point: &Point, claim: Option<&Claim>) -> FailedIf {
    let text = condition.metric.as_deref().unwrap_or_default();
    let name = written(condition, text);
    let judged = text
        .parse::<Metric>()
        .map_err(|error| error.to_string())
        .and_then(|metric| judged(condition, metric, point, claim));
    match judged {
        Ok((metric, value, limit)) => FailedIf {
            condition: name,
            failed: is_beyond(metric, value, limit.value),
            seen: format!("{}{}", shown(metric, value), limit.beside),
            value: Some(tidy(value)),
            limit: Some(tidy(limit.value)),
        },
        Err(why) => FailedIf {
            condition: name,
            failed: true,
            seen: format!("it cannot be judged: {why}"),
            value: None,
            limit: None,
        },
    }
}

fn judged(
    condition: &FailIf,
    metric: Metric,
    point: &Point,
    claim: Option<&Claim>,
) -> Result<(Metric, f64, Limit), String> {
    let value = metric.value(&point.summary.metrics, point.slo.as_ref())?;
    let plain = |value: f64| Limit {
        value,
        beside: String::new(),
    };
    let limit = match (condition.worse_than, condition.above, condition.below) {
        (Some(share), ..) => {
            let theirs = of_baseline(metric, point, claim)?;
            let share = share.share();
            let factor = if metric.is_time() {
                1.0 + share
            } else {
                1.0 - share
            };
            Limit {
                value: theirs * factor,
                beside: format!(" against {}", shown(metric, theirs)),
            }
        }
        (_, Some(above), _) => plain(above.get() * 1000.0),
        (_, _, Some(below)) => plain(below),
        _ => return Err("it has no limit".to_owned()),
    };
    Ok((metric, value, limit))
}

fn of_baseline(metric: Metric, point: &Point, claim: Option<&Claim>) -> Result<f64, String> {
    let unlike = point.anomalies.iter().find(|it| it.id == "A15");
    if let Some(unlike) = unlike {
        return Err(unlike.message.clone());
    }
    let claim = claim.ok_or("the baseline has no such load")?;
    let metrics = claim.metrics.as_ref();
    let metrics = metrics.ok_or("the baseline has no such metrics")?;
    metric
        .value(metrics, claim.slo.as_ref())
        .map_err(|why| format!("in the baseline {why}"))
}

/// Of a time more is worse, of a rate less.
fn is_beyond(metric: Metric, value: f64, limit: f64) -> bool {
    let (value, limit) = (tidy(value), tidy(limit));
    if metric.is_time() {
        value > limit
    } else {
        value < limit
    }
}

fn shown(metric: Metric, value: f64) -> String {
    let unit = if metric.is_time() { " ms" } else { "" };
    format!("{value:.2}{unit}")
}

fn written(condition: &FailIf, metric: &str) -> String {
    match (condition.worse_than, condition.above, condition.below) {
        (Some(share), ..) => format!("{metric} worse than the baseline by more than {share}"),
        (_, Some(above), _) => format!("{metric} above {} s", above.get()),
        (_, _, Some(below)) => format!("{metric} below {below}"),
        _ => metric.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::{batch, request, scene};

    fn conditions(text: &str) -> Vec<FailIf> {
        serde_json::from_str(text).unwrap()
    }

    /// A load of forty requests alone that take so long, and what it claims as a baseline.
    fn taking(ms: f64) -> (Point, Claim) {
        let records: Vec<_> = (0..40)
            .map(|i| {
                let from = f64::from(i) * 2000.0;
                let instance = ["a", "b"][i as usize % 2];
                request(i, instance, from, from + 50.0, from + ms)
            })
            .collect();
        let mut scene = scene(records);
        scene.job.load = crate::shape::known::sequential(40).into();
        let point = scene.point();
        let claim = Claim::of(&point);
        (point, claim)
    }

    fn failed(text: &str, point: &Point, claim: Option<&Claim>) -> Vec<bool> {
        let looked = conditions(text);
        let looked = looked.iter().map(|it| FailedIf::look(it, point, claim));
        looked.map(|it| it.failed).collect()
    }

    #[test]
    fn a_share_is_of_the_baseline_and_more_is_worse_of_a_time_and_better_of_a_rate() {
        let ((point, _), (_, claim)) = (taking(1060.0), taking(1000.0));
        let text = r#"[
            {"metric": "e2el.p50", "worse_than": "5%"}, {"metric": "e2el.p50", "worse_than": "6%"},
            {"metric": "tok_s_user", "worse_than": "5%"}, {"metric": "tok_s_user", "worse_than": "7%"}
        ]"#;
        let expected = [true, false, true, false];
        assert_eq!(failed(text, &point, Some(&claim)), expected);
        let better = taking(900.0).0;
        assert_eq!(failed(text, &better, Some(&claim)), [false; 4]);
    }

    #[test]
    fn a_limit_that_is_reached_is_kept() {
        let point = taking(1000.0).0;
        let text = r#"[
            {"metric": "e2el.max", "above": 1}, {"metric": "e2el.max", "above": 0.999},
            {"metric": "attainment", "below": 1}, {"metric": "rps", "below": 3}
        ]"#;
        assert_eq!(failed(text, &point, None), [false, true, false, true]);
    }

    #[test]
    fn what_cannot_be_judged_has_failed_and_says_why() {
        let point = taking(1000.0).0;
        let look =
            |text: &str, claim: Option<&Claim>| FailedIf::look(&conditions(text)[0], &point, claim);
        let few = look(r#"[{"metric": "e2el.p99", "above": 9}]"#, None);
        assert!(
            few.failed
                && few
                    .seen
                    .contains("40 observations are too few for e2el.p99")
        );
        let none = look(r#"[{"metric": "rps", "worse_than": "5%"}]"#, None);
        assert!(none.failed && none.seen.contains("the baseline has no such load"));
    }

    #[test]
    fn a_rule_that_speaks_can_be_reason_enough() {
        let quiet = taking(1000.0).0;
        let warned = scene(batch([1000.0; 4], [1500.0; 4])).point();
        assert_eq!(warned.anomalies.len(), 1);
        let text = r#"[{"anomaly": "error"}, {"anomaly": "warning"}]"#;
        assert_eq!(failed(text, &quiet, None), [false, false]);
        assert_eq!(failed(text, &warned, None), [false, true]);
        let told = FailedIf::look(&conditions(text)[1], &warned, None);
        assert_eq!(told.seen, "A4");
    }
}
