//! What happens while a plan is carried out, for a machine that follows it: one JSON document a line.

use jiff::Timestamp;
use serde::Serialize;

use super::json::PlanDocument;
use crate::name::NodeName;
use crate::plan::{Action, Address, Event, Failure, Phase, Reason};

/// A line of `--json-events`. The last one of a command is its result.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    format: &'static str,
    /// When it was said, in UTC.
    at: Timestamp,
    #[serde(flatten)]
    event: Told<'a>,
}

/// What is told, by the name that it has in `event`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Told<'a> {
    Planned {
        plan: &'a PlanDocument<'a>,
    },
    Started {
        address: &'a Address,
        action: Action,
        reasons: &'a [Reason],
    },
    Step {
        address: &'a Address,
        node: Option<&'a NodeName>,
        verb: &'static str,
        done: bool,
    },
    Progress {
        address: &'a Address,
        phase: &'a Phase,
        /// How much of it is done, between 0 and 1, where that is known.
        share: Option<f64>,
    },
    Finished {
        address: &'a Address,
        outcome: &'a str,
        seconds: f64,
    },
    Failed {
        address: &'a Address,
        #[serde(flatten)]
        failure: &'a Failure,
        partly: bool,
    },
    Skipped {
        address: &'a Address,
        because: &'a str,
    },
    Note {
        text: &'a str,
    },
}

impl<'a> EventLine<'a> {
    /// What is to be done, before any of it is.
    pub fn planned(plan: &'a PlanDocument<'a>) -> Self {
        Self::now(Told::Planned { plan })
    }

    fn now(event: Told<'a>) -> Self {
        Self {
            format: "replica.event/1",
            at: Timestamp::now(),
            event,
        }
    }
}

impl<'a> From<&'a Event> for EventLine<'a> {
    fn from(event: &'a Event) -> Self {
        Self::now(match event {
            Event::Started { change } => Told::Started {
                address: &change.address,
                action: change.action,
                reasons: &change.reasons,
            },
            Event::Step {
                address,
                node,
                verb,
                is_done,
            } => Told::Step {
                address,
                node: node.as_ref(),
                verb,
                done: *is_done,
            },
            Event::Progress { address, phase } => Told::Progress {
                address,
                phase,
                share: phase.share(),
            },
            Event::Finished {
                address,
                outcome,
                took,
            } => Told::Finished {
                address,
                outcome,
                seconds: took.as_secs_f64(),
            },
            Event::Failed {
                address,
                failure,
                partly,
            } => Told::Failed {
                address,
                failure,
                partly: *partly,
            },
            Event::Skipped { address, because } => Told::Skipped { address, because },
            Event::Note(text) => Told::Note { text },
        })
    }
}

/// The last line: what the command would have said as its one document.
#[derive(Debug, Serialize)]
pub(super) struct ResultLine<'a, D> {
    format: &'static str,
    at: Timestamp,
    event: &'static str,
    result: &'a D,
}

impl<'a, D: Serialize> ResultLine<'a, D> {
    pub(super) fn new(result: &'a D) -> Self {
        Self {
            format: "replica.event/1",
            at: Timestamp::now(),
            event: "result",
            result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::plan::{Change, Count, ReasonCode};

    fn told(event: &Event) -> Value {
        let mut line = json!(EventLine::from(event));
        let at = line.as_object_mut().unwrap().remove("at").unwrap();
        assert!(at.as_str().unwrap().parse::<Timestamp>().is_ok(), "{at}");
        assert_eq!(line["format"], "replica.event/1");
        line
    }

    #[test]
    fn each_event_says_what_it_is_and_of_what() {
        let address: Address = "n/instance.a".parse().unwrap();
        let reasons = vec![Reason::new(ReasonCode::Absent, "it does not run")];
        let change = Change::new(&address, Action::Create, reasons);
        let started = told(&Event::Started { change });
        assert_eq!(started["event"], "started");
        assert_eq!(started["action"], "create");
        assert_eq!(started["reasons"][0]["code"], "absent");
        let step = told(&Event::Step {
            address: address.clone(),
            node: address.node.clone(),
            verb: "launch",
            is_done: false,
        });
        assert_eq!(
            (&step["verb"], &step["done"]),
            (&json!("launch"), &json!(false))
        );
        let phase = Phase::new("loading").counted(Count::Pieces { done: 3, of: 4 });
        let progress = told(&Event::Progress {
            address: address.clone(),
            phase,
        });
        assert_eq!(progress["address"], "n/instance.a");
        assert_eq!(progress["phase"]["doing"], "loading");
        assert_eq!(progress["phase"]["part"]["count"]["pieces"]["done"], 3);
        assert_eq!(progress["share"], 0.75);
        let finished = told(&Event::Finished {
            address: address.clone(),
            outcome: "ready, pid 7".to_owned(),
            took: Duration::from_millis(1500),
        });
        assert_eq!(finished["seconds"], 1.5);
        let failed = told(&Event::Failed {
            address: address.clone(),
            failure: Failure::new("it died").hinted("look at its log"),
            partly: true,
        });
        assert_eq!(failed["message"], "it died");
        assert_eq!(failed["hint"], "look at its log");
        assert_eq!(failed["partly"], true);
        let because = "n/engine.e was not done".to_owned();
        let skipped = told(&Event::Skipped { address, because });
        assert_eq!(skipped["because"], "n/engine.e was not done");
        assert_eq!(told(&Event::Note("hello".to_owned()))["text"], "hello");
    }
}
