//! A11: the load was not what was asked for.
//!
//! What the client could not send in time, or did not send, makes the servers look better than they
//! are: fewer requests came, and later. What the client had no processor for makes them look worse.
//! And where more came than was served, all latencies hang on how long that went on.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::results::quantile::{Distribution, Quantile};
use crate::results::{Achieved, Anomaly, Severity};
use crate::shape::Stopped;

/// The least share of the scheduled requests a second that has to be sent.
const SHARE: f64 = 0.95;

/// The most that a request in a hundred may be late, in ms.
const LAG_MS: f64 = 10.0;

/// The most that the sending thread may use of its core before it is doubted that it saw all in time.
const CPU: f64 = 0.7;

/// The most of a time to the first token that may be the generator's own.
const OVERHEAD: f64 = 0.05;

/// What is less than this is no one's, in ms: a machine is not told from itself by it.
const NOTHING_MS: f64 = 1.0;

pub(super) const RULE: Rule = Rule {
    id: "A11",
    name: "load not delivered",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let achieved = case.point.achieved.as_ref();
    let dropped = achieved.and_then(dropped);
    // What is dropped is what is missing.
    let behind = achieved.filter(|_| dropped.is_none()).and_then(behind);
    let errors = dropped.or(behind).map(|it| (Severity::Error, it));
    let late = achieved.and_then(late).filter(|_| errors.is_none());
    let warnings = [stopped(case), busy(case), costly(case)]
        .into_iter()
        .flatten();
    let warnings = warnings.map(|it| (Severity::Warning, it));
    let found = errors.into_iter().chain(late).chain(warnings);
    found.map(|(how, it)| RULE.speak(how, it)).collect()
}

fn dropped(achieved: &Achieved) -> Option<Finding> {
    (achieved.dropped > 0).then(|| Finding {
        message: format!(
            "{} requests were not sent: as many were in flight as `max_in_flight` lets be",
            achieved.dropped
        ),
        evidence: json!({
            "dropped": achieved.dropped,
            "scheduled_rps": round(achieved.scheduled_rps),
            "achieved_rps": round(achieved.achieved_rps),
        }),
        cause: "the servers answer more slowly than requests come".to_owned(),
        hint: "leave `max_in_flight` out to see the queue, or ask for a lower rate".to_owned(),
    })
}

fn behind(achieved: &Achieved) -> Option<Finding> {
    let share = achieved.share().filter(|share| *share < SHARE)?;
    Some(Finding {
        message: format!(
            "{:.2} requests/s were sent where {:.2}/s were meant to be",
            achieved.achieved_rps, achieved.scheduled_rps
        ),
        evidence: json!({
            "scheduled_rps": round(achieved.scheduled_rps),
            "achieved_rps": round(achieved.achieved_rps),
            "share": round(share),
            "late": achieved.late,
        }),
        cause: "the client could not keep up: short CPUs, or connections that take long".to_owned(),
        hint: "measure from a machine with a free core, or ask for a lower rate".to_owned(),
    })
}

/// Of a few requests the worst stands for one in a hundred, and a hiccup of the client for all: that is
/// told, and makes nothing invalid.
fn late(achieved: &Achieved) -> Option<(Severity, Finding)> {
    let lag = achieved.lag_ms.filter(|lag| lag.p99.value > LAG_MS)?;
    let severity = if lag.p99.at_least {
        Severity::Warning
    } else {
        Severity::Error
    };
    let finding = Finding {
        message: format!(
            "one request in a hundred was sent {:.1} ms late or more",
            lag.p99.value
        ),
        evidence: json!({
            "lag_p50_ms": round(lag.p50.value),
            "lag_p99_ms": round(lag.p99.value),
            "late": achieved.late,
        }),
        cause: "the client was not woken in time, or its connections were not ready".to_owned(),
        hint:
            "measure from a machine with a free core; `response` counts from the moment that was \
               planned, and contains it"
                .to_owned(),
    };
    Some((severity, finding))
}

/// A load that was stopped since more came than was served. What it says of the servers is true.
fn stopped(case: &Case<'_>) -> Option<Finding> {
    let stopped = case.point.stopped?;
    let evidence = match stopped {
        // A10 speaks of them.
        Stopped::Errors { .. } => return None,
        Stopped::OverSaturated {
            at_s,
            in_flight_per_s,
            wait_ms_per_s,
        } => json!({
            "at_s": round(at_s),
            "in_flight_per_s": round(in_flight_per_s),
            "wait_ms_per_s": round(wait_ms_per_s),
        }),
    };
    Some(Finding {
        message: format!("{stopped}; its latencies hang on how long it went on"),
        evidence,
        cause: "the servers are beyond what they can serve in time".to_owned(),
        hint: "take from it that this rate is too high, and no latency".to_owned(),
    })
}

fn busy(case: &Case<'_>) -> Option<Finding> {
    let cpu = case.point.sender_cpu.filter(|cpu| *cpu > CPU)?;
    Some(Finding {
        message: format!("the client was busy for {:.0}% of its time", cpu * 100.0),
        evidence: json!({"sender_cpu": round(cpu)}),
        cause: "so many events a second are more than one core of the client can stamp at once"
            .to_owned(),
        hint: "measure from a faster machine, or from several; its share of the latencies is not known"
            .to_owned(),
    })
}

/// What the generator itself costs is in every time that it measured. A tail is held against a tail
/// only where both are known.
fn costly(case: &Case<'_>) -> Option<Finding> {
    let overhead = case.client.overhead.as_ref()?;
    let measured = case.point.summary.metrics.ttft.as_ref()?;
    let share = |of: fn(&Distribution) -> Quantile| {
        let (own, whole) = (of(&overhead.ttft), of(measured));
        let is_known = !own.at_least && !whole.at_least;
        let share = own.value / whole.value;
        (is_known && own.value > NOTHING_MS && share > OVERHEAD).then_some((own, whole, share))
    };
    let of_half = share(|it| it.p50).map(|found| ("half", found));
    let of_tail = || share(|it| it.p95).map(|found| ("one in twenty", found));
    let (who, (own, whole, share)) = of_half.or_else(of_tail)?;
    Some(Finding {
        message: format!(
            "the generator itself takes {:.1} ms of {who} of the requests, {:.0}% of their {:.1} ms \
             to the first token",
            own.value,
            share * 100.0,
            whole.value
        ),
        evidence: json!({
            "at_once": overhead.at_once,
            "overhead_p50_ms": round(overhead.ttft.p50.value),
            "overhead_p95_ms": round(overhead.ttft.p95.value),
            "ttft_p50_ms": round(measured.p50.value),
            "ttft_p95_ms": round(measured.p95.value),
            "max_events_s": round(overhead.max_events_s),
        }),
        cause:
            "short CPUs of the machine that asks, or so many answers at once that one core stamps \
                them one after another"
                .to_owned(),
        hint:
            "measure from a machine with a free core; differences of that size between servers are \
               not to be believed"
                .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Overhead, Record, Status};
    use crate::shape::known;
    use crate::verdict::scene::{Scene, request, scene};

    /// 300 requests, ten a second, each sent so late.
    fn sent(late_ms: impl Fn(u32) -> f64) -> Scene {
        let one = |index: u32| {
            let planned = f64::from(index) * 100.0;
            let sent = planned + late_ms(index);
            let name = ["a", "b"][index as usize % 2];
            let mut record: Record = request(index, name, sent, sent + 5.0, sent + 700.0);
            record.stamps.planned = (planned * 1000.0) as u64;
            record
        };
        let mut scene = scene((0..300).map(one).collect());
        scene.job.load = known::rate(10.0, 30).into();
        scene
    }

    fn said(scene: &Scene) -> Vec<(Severity, String)> {
        let anomalies = scene.judge().into_iter();
        let own = anomalies.filter(|it| it.id == RULE.id);
        own.map(|it| (it.severity, it.message)).collect()
    }

    #[test]
    fn a_load_that_was_sent_in_time_passes() {
        assert_eq!(sent(|_| 1.0).judge(), []);
        // Two of three hundred are less than one in a hundred.
        assert_eq!(sent(|index| if index < 2 { 50.0 } else { 1.0 }).judge(), []);
    }

    #[test]
    fn a_client_that_falls_behind_makes_the_result_invalid() {
        let behind = sent(|index| f64::from(index) * 10.0);
        assert_eq!(
            said(&behind),
            [(
                Severity::Error,
                "9.09 requests/s were sent where 10.00/s were meant to be".to_owned()
            )]
        );
    }

    #[test]
    fn so_does_one_that_is_late() {
        let late = sent(|index| if index % 10 == 0 { 25.0 } else { 0.0 });
        assert_eq!(
            said(&late),
            [(
                Severity::Error,
                "one request in a hundred was sent 25.0 ms late or more".to_owned()
            )]
        );
    }

    #[test]
    fn a_hiccup_among_a_few_requests_is_told_and_forbids_nothing() {
        let mut few = sent(|index| if index == 7 { 25.0 } else { 0.0 });
        few.records.truncate(30);
        assert_eq!(said(&few)[0].0, Severity::Warning);
        assert!(few.errors().is_empty());
    }

    #[test]
    fn what_was_dropped_was_not_delivered_and_is_no_error_of_the_servers() {
        let mut scene = sent(|_| 0.0);
        for record in &mut scene.records[100..110] {
            record.status = Status::Dropped;
            record.stamps.sent = None;
        }
        assert_eq!(scene.errors(), ["A11"]);
        assert!(said(&scene)[0].1.starts_with("10 requests were not sent"));
    }

    #[test]
    fn a_load_beyond_the_servers_is_believed_and_said_to_be_one() {
        let mut scene = sent(|_| 0.0);
        scene.stopped = Some(Stopped::OverSaturated {
            at_s: 30.0,
            in_flight_per_s: 4.0,
            wait_ms_per_s: 500.0,
        });
        let [(severity, message)] = said(&scene).try_into().unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(
            message.starts_with("stopped after 30 s: more came than were served, 4.00 a second")
        );
        assert!(scene.errors().is_empty());
    }

    #[test]
    fn a_generator_that_costs_much_of_what_it_measures_is_named() {
        // Each of the 300 has its first token after 5 ms, or after 100.
        let costs = |ms: &[f64], ttft_ms: f64| {
            let mut scene = sent(|_| 0.0);
            for record in &mut scene.records {
                let later = record.stamps.sent.unwrap() + (ttft_ms * 1000.0) as u64;
                record.stamps.first = Some(later);
            }
            let of = |ms: &[f64]| Distribution::of_ms(ms.to_vec()).unwrap();
            scene.client.overhead = Some(Overhead {
                at_once: 64,
                ttft: of(ms),
                itl: of(&[0.0]),
                max_events_s: 50_000.0,
            });
            said(&scene)
        };
        assert_eq!(costs(&[0.3; 300], 5.0), [], "that is nothing");
        assert_eq!(costs(&[4.0; 300], 100.0), []);
        let message = "the generator itself takes 6.0 ms of half of the requests, 6% of their 100.0 \
                       ms to the first token";
        let warning = (Severity::Warning, message.to_owned());
        assert_eq!(costs(&[6.0; 300], 100.0), [warning]);
        let tail: Vec<f64> = (0..300).map(|i| if i < 280 { 0.2 } else { 9.0 }).collect();
        let [(_, message)] = costs(&tail, 100.0).try_into().unwrap();
        assert!(message.contains("9.0 ms of one in twenty"), "{message}");
        assert_eq!(costs(&tail[255..], 100.0), [], "so few bear no tail");
    }

    #[test]
    fn a_busy_client_is_named() {
        let mut scene = sent(|_| 0.0);
        scene.sender_cpu = Some(0.7);
        assert_eq!(said(&scene), []);
        scene.sender_cpu = Some(0.82);
        let warning = "the client was busy for 82% of its time".to_owned();
        assert_eq!(said(&scene), [(Severity::Warning, warning)]);
    }
}
