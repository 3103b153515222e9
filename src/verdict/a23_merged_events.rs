//! A23: streams whose events were merged on their way, so that nothing is known of the time between
//! their tokens.
//!
//! What that spoils is left out of the metrics, and the rest stands: that is a warning. Where it was
//! asked for, by an SLO, by `fail_if`, or by a baseline that has it, the question has no answer, and
//! the result is invalid.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::plan::Slo;
use crate::results::{Anomaly, Metric, Reads, Record, Severity};

/// Answers of so few reads came through something that holds them back.
const BURSTS: f64 = 0.25;

pub(super) const RULE: Rule = Rule {
    id: "A23",
    name: "merged events",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let left_out = &case.point.summary.metrics.left_out;
    if left_out.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = left_out.iter().map(|it| it.metric.as_str()).collect();
    let wanted: Vec<&str> = names
        .iter()
        .copied()
        .filter(|it| is_wanted(case, it))
        .collect();
    let is_shown = names.iter().any(|it| !["itl", "icl"].contains(it));
    let severity = match wanted.is_empty() {
        false => Severity::Error,
        true if is_shown => Severity::Warning,
        // No table has the times between single tokens: the file says that they are left out.
        true => Severity::Info,
    };
    vec![RULE.speak(severity, explained(case, &names, &wanted))]
}

/// Whether somebody asked for a metric: an objective, a condition to fail under, or a baseline that has
/// a number to be held against ours.
fn is_wanted(case: &Case<'_>, metric: &str) -> bool {
    let theirs = case.claim().map(|claim| claim.headline);
    let in_baseline = theirs.is_some_and(|theirs| match metric {
        "ttft" => theirs.ttft_p50_ms.is_some(),
        "tpot" => theirs.tpot_p50_ms.is_some(),
        _ => false,
    });
    let slo = case.job.slo.iter().flat_map(Slo::limits);
    let mut limited = slo.map(|(limit, _)| limit.split('_').next().unwrap_or(limit));
    let conditions = case.job.fail_if.iter();
    let mut conditions = conditions.filter_map(|it| it.metric.as_deref()?.parse::<Metric>().ok());
    in_baseline
        || limited.any(|limit| limit == metric)
        || conditions.any(|condition| condition.name() == metric)
}

fn explained(case: &Case<'_>, names: &[&str], wanted: &[&str]) -> Finding {
    let ok: Vec<&Record> = case.records.iter().filter(|r| r.is_ok()).collect();
    let reads = Reads::of(&ok);
    let share = reads.merged as f64 / reads.events.max(1) as f64;
    let asked = match wanted {
        [] => String::new(),
        wanted => format!("; {} was asked for", listed(wanted)),
    };
    Finding {
        message: format!(
            "{:.0} % of the token events came in one read with another: {} cannot be known, the rest \
             stands{asked}",
            share * 100.0,
            listed(names)
        ),
        evidence: json!({
            "token_events": reads.events,
            "merged": reads.merged,
            "share": round(share),
            "answers": reads.requests,
            "in_one_read": reads.in_one,
            "left_out": names,
        }),
        cause: likely(&ok, reads, share).to_owned(),
        hint: "watch one stream with `curl -N`, past the proxy and through it; switch off buffering and \
               compression there, or give the client and the servers CPUs of their own"
            .to_owned(),
    }
}

fn listed(names: &[&str]) -> String {
    names.join(", ")
}

/// What merges events. All answers in a few even bursts are the work of something on their way; now
/// and then two at once is what a machine does that is short of CPU.
fn likely(ok: &[&Record], reads: Reads, share: f64) -> &'static str {
    let in_bursts = |record: &&&Record| {
        let (events, reads) = record.events_and_reads();
        events > 1 && reads as f64 <= BURSTS * events as f64
    };
    let bursts = ok.iter().filter(in_bursts).count();
    if reads.in_one == reads.requests {
        "something on the way keeps an answer until it is whole: a proxy that buffers or compresses"
    } else if bursts == reads.requests {
        "something on the way holds tokens back: a proxy that buffers or compresses, or an engine that \
         sends in steps (`stream_interval`)"
    } else if share < 0.75 {
        "the client, the proxy or the engine was short of CPU, and handed on several tokens at once"
    } else {
        "a proxy that buffers or compresses, an engine that sends in steps (`stream_interval`), or a \
         lack of CPU"
    }
}

#[cfg(test)]
mod tests {
    use crate::results::{Record, Severity};
    use crate::verdict::scene::{Scene, batch, scene, seed};

    /// A batch whose answers came in so many reads of `100 / reads` events each.
    fn in_reads(reads: u64) -> Scene {
        let spread = |mut record: Record| {
            let (first, last) = (record.stamps.first.unwrap(), record.stamps.last.unwrap());
            let step = (last - first) / (reads - 1).max(1);
            let at = |event: u64| match reads {
                1 => last,
                _ => first + event * reads / 100 * step,
            };
            record.tokens = (0..100).map(|event| (at(event), 1)).collect();
            record.stamps.first = Some(at(0));
            record
        };
        scene(
            batch([1000.0; 4], [1000.0; 4])
                .into_iter()
                .map(spread)
                .collect(),
        )
    }

    #[test]
    fn a_stream_that_comes_token_by_token_is_whole() {
        let scene = in_reads(100);
        assert_eq!(scene.judge(), []);
        assert!(scene.point().summary.metrics.left_out.is_empty());
    }

    #[test]
    fn what_no_table_has_is_only_noted() {
        let anomalies = in_reads(50).judge();
        let [a23] = anomalies.as_slice() else {
            panic!("{anomalies:?}");
        };
        assert_eq!((&*a23.id, a23.severity), ("A23", Severity::Info));
        assert!(a23.message.contains(": itl, icl cannot be known"));
    }

    #[test]
    fn bursts_leave_the_time_between_tokens_out_and_the_rest_stands() {
        let scene = in_reads(5);
        let anomalies = scene.judge();
        let [a23] = anomalies.as_slice() else {
            panic!("{anomalies:?}");
        };
        assert_eq!((&*a23.id, a23.severity), ("A23", Severity::Warning));
        assert_eq!(
            a23.message,
            "95 % of the token events came in one read with another: tpot, tok_s_user, itl, icl cannot \
             be known, the rest stands"
        );
        assert!(a23.cause.contains("stream_interval"));
        let metrics = scene.point().summary.metrics;
        assert!(metrics.tpot.is_none() && metrics.itl.is_none() && metrics.icl.is_none());
        assert!(metrics.ttft.is_some() && metrics.e2el.is_some());
        assert_eq!(metrics.output_tps, Some(800.0));
        let shares = scene.point().summary.by_instance;
        assert!(shares["a"].tpot.is_none() && shares["a"].ttft.is_some());
    }

    #[test]
    fn an_answer_in_one_read_has_no_first_token_either() {
        let scene = in_reads(1);
        assert!(scene.judge()[0].cause.contains("until it is whole"));
        let metrics = scene.point().summary.metrics;
        assert!(metrics.ttft.is_none() && metrics.e2el.is_some());
    }

    #[test]
    fn an_objective_and_a_condition_ask_for_what_they_name() {
        let mut scene = in_reads(5);
        let slo = |text: &str| serde_json::from_str(text).unwrap();
        scene.job.slo = Some(slo(r#"{"ttft": 2, "e2el": 3}"#));
        assert!(scene.errors().is_empty(), "these stand");
        scene.job.slo = Some(slo(r#"{"itl_p99": 2}"#));
        assert_eq!(scene.errors(), ["A23"]);
        scene.job.slo = None;
        let fail_if =
            r#"[{"metric": "output_tps", "below": 3}, {"metric": "tpot.p50", "above": 1}]"#;
        scene.job.fail_if = serde_json::from_str(fail_if).unwrap();
        assert_eq!(scene.errors(), ["A23"]);
    }

    #[test]
    fn what_is_left_out_and_was_asked_for_has_no_answer() {
        let mut beside = in_reads(5);
        let mut baseline = seed("replicated_metrics.json");
        let mut theirs = in_reads(100).point();
        baseline.set_claim(&theirs);
        beside.baseline = Some(baseline.clone());
        assert_eq!(beside.errors(), ["A23"]);
        assert!(beside.judge()[0].message.ends_with("; tpot was asked for"));
        theirs = in_reads(5).point();
        baseline.set_claim(&theirs);
        beside.baseline = Some(baseline);
        assert!(beside.errors().is_empty());
    }
}
