//! What a machine reads: one JSON document a command, the same data as what a person reads.
//!
//! The shapes are a promise. They grow by new keys only; what a key means never changes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::manifest::{Manifest, ManifestError, Problem, Remark};
use crate::name::NodeName;
use crate::plan::{
    Action, Address, Capacity, Change, FormerStart, Moved, Plan, Requests, Summary, Warning,
};
use crate::rehearsal::Prediction;

use super::apply::{Applied, Failed, Skipped, Tally};
use super::output::Output;

/// The document of `plan --json`.
#[derive(Debug, Serialize)]
pub struct PlanDocument<'a> {
    format: &'static str,
    topology: &'a str,
    #[serde(flatten)]
    plan: PlanBody<'a>,
    /// What benchmarks are predicted to come to, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted: Option<&'a [Prediction]>,
}

/// The document of `validate --json`, where nothing is wrong.
#[derive(Debug, Serialize)]
pub struct ValidDocument<'a> {
    valid: bool,
    topology: &'a str,
    #[serde(flatten)]
    told: Told<'a>,
}

impl<'a> ValidDocument<'a> {
    /// The document of a manifest without mistakes.
    pub fn new(manifest: &'a Manifest) -> Self {
        Self {
            valid: true,
            topology: manifest.topology.name.as_str(),
            told: Told::by(manifest),
        }
    }
}

/// What is told of a manifest itself.
#[derive(Debug, Default, Serialize)]
struct Told<'a> {
    /// What is odd in it.
    remarks: &'a [Remark],
    /// What was filled in, by the names of variables.
    #[serde(skip_serializing_if = "Option::is_none")]
    variables: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Told<'a> {
    fn by(manifest: &'a Manifest) -> Self {
        let variables = &manifest.variables;
        Self {
            remarks: &manifest.remarks,
            variables: (!variables.is_empty()).then_some(variables),
        }
    }
}

/// The document of `apply --json`: the plan, and what came of it.
#[derive(Debug, Serialize)]
pub struct ApplyDocument<'a> {
    format: &'static str,
    topology: &'a str,
    /// Whether everything was as declared when it was observed again.
    converged: bool,
    #[serde(flatten)]
    plan: PlanBody<'a>,
    applied: &'a [Applied],
    failed: &'a [Failed],
    skipped: &'a [Skipped],
    left: Left<'a>,
    requests: Requests,
    /// What became of the requests of each start that was replaced meanwhile.
    former: &'a [FormerStart],
    benchmarks: &'a [Value],
    output: Option<&'a Output>,
}

#[derive(Debug, Serialize)]
struct PlanBody<'a> {
    changes: &'a [Change],
    summary: Summary,
    unreachable: Vec<Unreachable<'a>>,
    unmanaged: &'a [String],
    /// What an apply would fail by, though nothing blocks it.
    #[serde(skip_serializing_if = "<[Warning]>::is_empty")]
    warnings: &'a [Warning],
    /// What should have changed and was not chosen.
    #[serde(skip_serializing_if = "<[Address]>::is_empty")]
    left_out: &'a [Address],
    /// How many serve meanwhile, where clients reach them by one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<&'a Capacity>,
    #[serde(flatten)]
    told: Told<'a>,
    /// What `unmanaged` was called before; goes with the next version of the format.
    foreign: &'a [String],
}

/// What was not as declared when everything was observed again, and why.
#[derive(Debug, Default, Serialize)]
struct Left<'a> {
    changes: Vec<&'a Change>,
    unreachable: Vec<Unreachable<'a>>,
}

#[derive(Debug, Serialize)]
struct Unreachable<'a> {
    node: &'a NodeName,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

fn unreachable(plan: &Plan) -> Vec<Unreachable<'_>> {
    let unreachable = plan.unreachable.iter();
    unreachable
        .map(|(node, failure)| Unreachable {
            node,
            reason: &failure.message,
            hint: failure.hint.as_deref(),
        })
        .collect()
}

impl<'a> PlanBody<'a> {
    fn new(plan: &'a Plan) -> Self {
        Self {
            changes: &plan.changes,
            summary: plan.summary(),
            unreachable: unreachable(plan),
            unmanaged: &plan.unmanaged,
            warnings: &plan.warnings,
            left_out: &plan.left_out,
            capacity: plan.capacity.as_ref(),
            foreign: &plan.unmanaged,
            told: Told::default(),
        }
    }
}

impl<'a> PlanDocument<'a> {
    /// The document of a plan.
    pub fn new(topology: &'a str, plan: &'a Plan) -> Self {
        Self {
            format: "replica.plan/1",
            topology,
            plan: PlanBody::new(plan),
            predicted: None,
        }
    }

    /// Adds what benchmarks are predicted to come to, where that was asked.
    #[must_use]
    pub fn predicted(self, predicted: Option<&'a [Prediction]>) -> Self {
        Self { predicted, ..self }
    }

    /// Adds what is told of the manifest itself.
    #[must_use]
    pub fn of(mut self, manifest: &'a Manifest) -> Self {
        self.plan.told = Told::by(manifest);
        self
    }
}

impl<'a> ApplyDocument<'a> {
    /// The document of a plan that was carried out.
    pub fn new(topology: &'a str, plan: &'a Plan, tally: &'a Tally) -> Self {
        Self {
            format: "replica.apply/1",
            topology,
            converged: false,
            plan: PlanBody::new(plan),
            applied: &tally.applied,
            failed: &tally.failed,
            skipped: &tally.skipped,
            left: Left::default(),
            requests: Requests::default(),
            former: &[],
            benchmarks: &[],
            output: None,
        }
    }

    /// Adds what was seen to be left to do when everything was observed again.
    #[must_use]
    pub fn left(mut self, left: &'a Plan) -> Self {
        let changes = left.changes.iter();
        self.converged = left.is_made();
        self.left = Left {
            changes: changes.filter(|it| it.action != Action::Keep).collect(),
            unreachable: unreachable(left),
        };
        self
    }

    /// Adds what is told of the manifest itself.
    #[must_use]
    pub fn of(mut self, manifest: &'a Manifest) -> Self {
        self.plan.told = Told::by(manifest);
        self
    }

    /// Adds the requests that the proxy served meanwhile.
    #[must_use]
    pub fn requests(mut self, requests: Requests) -> Self {
        self.requests = requests;
        self
    }

    /// Adds what became of the requests of what was replaced meanwhile.
    #[must_use]
    pub fn former(mut self, former: &'a [FormerStart]) -> Self {
        self.former = former;
        self
    }

    /// Adds what can be asked now, and where.
    #[must_use]
    pub fn output(mut self, output: &'a Output) -> Self {
        self.output = Some(output);
        self
    }

    /// Adds the results of the benchmarks that were run, each as its own document.
    #[must_use]
    pub fn benchmarks(mut self, benchmarks: &'a [Value]) -> Self {
        self.benchmarks = benchmarks;
        self
    }
}

/// The document of a command that could not do its work.
#[derive(Debug, Serialize)]
pub struct ErrorDocument {
    format: &'static str,
    /// False, where it is the manifest that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
    error: ErrorBody,
    /// Each mistake of a manifest, in the order of its text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ProblemBody>,
    /// What a saved plan rests on and is not as it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    moved: Vec<Moved>,
}

/// What is told of an error in any document.
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    /// A stable word: `manifest`, `usage`, `locked`.
    code: &'static str,
    /// The exit code.
    exit: u8,
    message: String,
    hints: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ProblemBody {
    message: String,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    hints: Vec<String>,
}

impl ErrorDocument {
    /// The document of an error: its word, its exit code, what is said of it and what to do.
    pub fn new(code: &'static str, exit: u8, message: String, hints: Vec<String>) -> Self {
        Self {
            format: "replica.error/1",
            valid: None,
            error: ErrorBody {
                code,
                exit,
                message,
                hints,
            },
            problems: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Adds what is not as it was.
    #[must_use]
    pub fn of_moved(mut self, moved: &[Moved]) -> Self {
        self.moved = moved.to_vec();
        self
    }

    /// What is told of the error, for a document that tells more.
    pub fn body(self) -> ErrorBody {
        self.error
    }

    /// Adds the mistakes of a manifest.
    #[must_use]
    pub fn of_manifest(mut self, error: &ManifestError) -> Self {
        let problem = |problem: &Problem| {
            let position = error.position(problem);
            ProblemBody {
                message: problem.title().to_owned(),
                file: error.file().to_owned(),
                line: position.map(|(line, _)| line),
                column: position.map(|(_, column)| column),
                hints: problem.hints().to_vec(),
            }
        };
        self.valid = Some(false);
        self.problems = error.problems().iter().map(problem).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::plan::{Action, Address, Event, Failure, Field, Planned, Reason, ReasonCode};

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    fn plan() -> Plan {
        let fields = vec![
            Field {
                path: "args.max_num_seqs".to_owned(),
                old: Some(json!(64)),
                new: Planned::Known(json!(128)),
                forces_replacement: true,
            },
            Field {
                path: "pid".to_owned(),
                old: Some(json!(4711)),
                new: Planned::AfterApply,
                forces_replacement: false,
            },
        ];
        let reasons = vec![Reason::new(
            ReasonCode::Differs,
            "args.max_num_seqs differs",
        )];
        let replace = Change::new(&at("here/instance.a"), Action::Replace, reasons);
        Plan {
            changes: vec![
                replace.with_fields(fields).described("pid 4711"),
                Change::keep(&at("benchmark.batch"), "measured"),
            ],
            unreachable: vec![(
                "spark-02".parse().unwrap(),
                Failure::new("no answer in 10 s"),
            )],
            unmanaged: vec!["here: pid 7".to_owned()],
            ..Plan::default()
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "the document is read whole")]
    fn a_plan_is_one_document() {
        let plan = plan();
        let document = PlanDocument::new("demo", &plan);
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
        {
          "format": "replica.plan/1",
          "topology": "demo",
          "changes": [
            {
              "address": "here/instance.a",
              "node": "here",
              "action": "replace",
              "reasons": [
                {
                  "code": "differs",
                  "text": "args.max_num_seqs differs"
                }
              ],
              "fields": [
                {
                  "path": "args.max_num_seqs",
                  "old": 64,
                  "new": 128,
                  "forces_replacement": true
                },
                {
                  "path": "pid",
                  "old": 4711,
                  "new": "(known after apply)",
                  "forces_replacement": false
                }
              ],
              "summary": "pid 4711"
            },
            {
              "address": "benchmark.batch",
              "node": null,
              "action": "keep",
              "reasons": [],
              "fields": [],
              "summary": "measured"
            }
          ],
          "summary": {
            "keep": 1,
            "create": 0,
            "update": 0,
            "replace": 1,
            "destroy": 0,
            "blocked": 0
          },
          "unreachable": [
            {
              "node": "spark-02",
              "reason": "no answer in 10 s"
            }
          ],
          "unmanaged": [
            "here: pid 7"
          ],
          "remarks": [],
          "foreign": [
            "here: pid 7"
          ]
        }
        "#);
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "the document is read whole")]
    fn an_apply_adds_what_came_of_the_plan() {
        let mut tally = Tally::default();
        let change = plan().changes[0].clone();
        tally.on(&Event::Started { change });
        tally.on(&Event::Finished {
            address: at("here/instance.a"),
            outcome: "ready, pid 4712".to_owned(),
            took: Duration::from_millis(3_240),
        });
        tally.on(&Event::Failed {
            address: at("here/proxy"),
            failure: Failure::new("port 8192 is taken").hinted("stop pid 7"),
            partly: false,
        });
        tally.on(&Event::Skipped {
            address: at("benchmark.batch"),
            because: "here/proxy".to_owned(),
        });
        let plan = Plan::default();
        let requests = Requests {
            ok: 1842,
            refused: 0,
            failed: 0,
            cut: 0,
        };
        let results = [json!({"name": "batch", "valid": true})];
        let document = ApplyDocument::new("demo", &plan, &tally)
            .requests(requests)
            .benchmarks(&results);
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap(), @r#"
        {
          "format": "replica.apply/1",
          "topology": "demo",
          "converged": false,
          "changes": [],
          "summary": {
            "keep": 0,
            "create": 0,
            "update": 0,
            "replace": 0,
            "destroy": 0,
            "blocked": 0
          },
          "unreachable": [],
          "unmanaged": [],
          "remarks": [],
          "foreign": [],
          "applied": [
            {
              "address": "here/instance.a",
              "action": "replace",
              "outcome": "ready, pid 4712",
              "seconds": 3.24
            }
          ],
          "failed": [
            {
              "address": "here/proxy",
              "kind": "world",
              "message": "port 8192 is taken",
              "log": [],
              "hint": "stop pid 7",
              "partly": false
            }
          ],
          "skipped": [
            {
              "address": "benchmark.batch",
              "because": "here/proxy"
            }
          ],
          "left": {
            "changes": [],
            "unreachable": []
          },
          "requests": {
            "ok": 1842,
            "refused": 0,
            "failed": 0,
            "cut": 0
          },
          "former": [],
          "benchmarks": [
            {
              "name": "batch",
              "valid": true
            }
          ],
          "output": null
        }
        "#);
    }
}
