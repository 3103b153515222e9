//! What may be concluded: rules that look at a result and say why it cannot be believed.
//!
//! A rule is a pure function of the `Case`, in a file of its own, and one line in `RULES`. It
//! keeps silent unless it can show evidence, name the likely cause, and say what to do next.

mod a01_latency_definition;
mod a02_self_consistency;
mod a03_no_parallel_gain;
mod a04_bimodal_by_replica;
mod a05_serialised;
mod a06_cold_replica;
mod a07_unbalanced;
mod a08_above_roofline;
mod a09_too_few;
mod a10_errors;
mod a11_not_delivered;
mod a12_cache;
mod a13_foreign_traffic;
mod a14_not_handed_over;
mod a15_not_comparable;
mod a16_sweep_order;
mod a17_preemption;
mod a18_capacity;
mod a19_another_measurement;
mod a20_interrupted;
mod a21_short_of_cpu;
mod a22_different_answers;
mod a23_merged_events;
mod a24_misattributed;
mod a25_started_anew;
mod a26_slow_node;
mod observation;
mod rule;

use serde_json::Value;

use crate::plan::Target;
pub use crate::results::{Anomaly, Severity, Subject};
use crate::results::{
    Baseline, Canaries, Claim, ClientFacts, Conditions, Cut, JobFacts, Measuring, Point, Record,
    Single, Warmup, by_instance,
};
use rule::{Finding, Rule};

/// The rules, in the order in which they speak: what names a cause before what shows an effect.
const RULES: &[Rule] = &[
    a20_interrupted::RULE,
    a19_another_measurement::RULE,
    a25_started_anew::RULE,
    a26_slow_node::RULE,
    a13_foreign_traffic::RULE,
    a24_misattributed::RULE,
    a14_not_handed_over::RULE,
    a21_short_of_cpu::RULE,
    a12_cache::RULE,
    a10_errors::RULE,
    a18_capacity::RULE,
    a11_not_delivered::RULE,
    a16_sweep_order::RULE,
    a08_above_roofline::RULE,
    a02_self_consistency::RULE,
    a01_latency_definition::RULE,
    a06_cold_replica::RULE,
    a05_serialised::RULE,
    a04_bimodal_by_replica::RULE,
    a03_no_parallel_gain::RULE,
    a07_unbalanced::RULE,
    a17_preemption::RULE,
    a09_too_few::RULE,
    a22_different_answers::RULE,
    a23_merged_events::RULE,
    a15_not_comparable::RULE,
];

/// The rules whose findings a lack of CPU brings about by itself.
const ASK_FOR_CPU: [&str; 5] = ["A3", "A4", "A5", "A6", "A23"];

/// Differences of latency below this are not worth a verdict, whatever their ratio, in ms: a busy
/// machine makes them, and no conclusion about serving hangs on them.
const MATTERS_MS: f64 = 100.0;

/// Whether a load that was driven once should be driven again before anything is concluded: one of
/// its replicas was far behind, and one observation does not tell a fault from an accident.
pub(crate) fn is_doubtful<'a>(round: impl IntoIterator<Item = &'a Record>) -> bool {
    let ok: Vec<&Record> = round.into_iter().filter(|r| r.is_ok()).collect();
    a04_bimodal_by_replica::is_doubtful(&ok)
}

/// Everything that a rule may look at.
pub(crate) struct Case<'a> {
    pub(crate) job: &'a JobFacts,
    /// The load that is judged, and what came of it.
    pub(crate) point: &'a Point,
    /// Its requests.
    pub(crate) records: &'a [Record],
    pub(crate) warmup: &'a Warmup,
    pub(crate) provenance: &'a Value,
    /// What the machines were like before and after.
    pub(crate) conditions: &'a Conditions,
    /// A short answer of every instance, before and after.
    pub(crate) canaries: &'a Canaries,
    /// What one request alone achieves on these targets, where it was measured.
    pub(crate) single: Option<&'a Single>,
    pub(crate) baseline: Option<&'a Baseline>,
    /// Who else measured the topology meanwhile.
    pub(crate) others: &'a [Measuring],
    /// Where it was stopped before its end.
    pub(crate) cut: Option<&'a Cut>,
    /// The loads that were driven before it, in order.
    pub(crate) before: &'a [Point],
    /// From where it was sent.
    pub(crate) client: &'a ClientFacts,
}

/// Lets every rule speak. What makes the result invalid comes first, what is said of the baseline
/// last.
pub(crate) fn judge(case: &Case<'_>) -> Vec<Anomaly> {
    if case.cut.is_some() {
        // The other rules know whole loads.
        return (a20_interrupted::RULE.check)(case);
    }
    let found = RULES.iter().flat_map(|rule| (rule.check)(case));
    let mut anomalies: Vec<Anomaly> = found.collect();
    let short: Vec<String> = a21_short_of_cpu::short(case)
        .into_iter()
        .map(|(who, _)| who)
        .collect();
    for anomaly in &mut anomalies {
        if !short.is_empty() && ASK_FOR_CPU.contains(&anomaly.id.as_str()) {
            let was = if short.len() == 1 { "was" } else { "were" };
            let cause = &anomaly.cause;
            anomaly.cause = format!("{} {was} short of CPU; else: {cause}", short.join(" and "));
        }
    }
    anomalies.sort_by_key(|anomaly| (anomaly.subject, anomaly.severity));
    anomalies
}

impl<'a> Case<'a> {
    /// Whether nothing is known of who is behind the endpoint: then no command of ours tells more.
    fn is_of_unknown(&self) -> bool {
        self.job.instances.is_empty()
    }

    /// The requests that are ok, by the instance that served them, in the order of sending. Where nobody
    /// says who did and no instance is known, the endpoint is one.
    fn by_replica(&self) -> Vec<(&'a str, Vec<&'a Record>)> {
        let served = by_replica(self.records);
        if !served.is_empty() || !self.is_of_unknown() {
            return served;
        }
        let mut ok: Vec<&Record> = self.records.iter().filter(|it| it.is_ok()).collect();
        ok.sort_by_key(|r| (r.stamps.sent, r.index));
        let all = Some((self.job.endpoint.authority.as_str(), ok));
        all.filter(|(_, ok)| !ok.is_empty()).into_iter().collect()
    }

    fn target(&self, name: &str) -> Option<&'a Target> {
        self.job.instances.iter().find(|target| target.name == name)
    }

    /// The specification of an instance, as the provenance has it.
    fn spec_of(&self, name: &str) -> Option<&'a Value> {
        let instances = self.provenance["instances"].as_array()?;
        let own = instances.iter().find(|it| it["name"] == name)?;
        Some(&own["spec"])
    }

    /// What the baseline claims of this load.
    fn claim(&self) -> Option<&'a Claim> {
        self.baseline?.claim(&self.point.load)
    }

    /// What one request alone achieves with answers as long as these.
    fn single_alike(&self) -> Option<&'a Single> {
        let is_alike = |it: &&Single| self.job.equal_lengths && it.tokens == self.job.max_tokens;
        self.single.filter(is_alike)
    }
}

/// Requests that are ok, by the instance that served them, in the order of sending.
fn by_replica<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> Vec<(&'a str, Vec<&'a Record>)> {
    let ok = records.into_iter().filter(|r| r.is_ok());
    let mut served: Vec<_> = by_instance(ok).into_iter().collect();
    for (_, records) in &mut served {
        records.sort_by_key(|r| (r.stamps.sent, r.index));
    }
    served
}

/// The latencies (`t_last − t_sent`) of requests, sorted, in ms.
fn latencies(records: &[&Record]) -> Vec<f64> {
    let mut ms: Vec<f64> = records.iter().filter_map(|r| r.e2el_ms()).collect();
    ms.sort_by(f64::total_cmp);
    ms
}

/// Rounds a number for a text or an evidence: three significant digits or the integer.
fn round(value: f64) -> f64 {
    let scale = match value.abs() {
        v if v >= 100.0 => 1.0,
        v if v >= 10.0 => 10.0,
        _ => 100.0,
    };
    (value * scale).round() / scale
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod false_alarms;
#[cfg(test)]
pub(crate) mod scene;
