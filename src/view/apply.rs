//! What came of a plan: what was done, what failed and why, what was not tried.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::plan::{Action, Address, Event, Failure, FailureKind, Requests};

use super::error;
use super::style::{Role, Style};
use super::words::{clean, done, duration};

/// Everything that came of a plan, gathered from its events in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// What was done.
    pub applied: Vec<Applied>,
    /// What failed.
    pub failed: Vec<Failed>,
    /// What was not tried.
    pub skipped: Vec<Skipped>,
    /// What was begun, and by which action.
    begun: BTreeMap<Address, Action>,
}

/// A change that is complete.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// The thing.
    pub address: Address,
    /// What was done to it.
    pub action: Action,
    /// What was seen at the end.
    pub outcome: String,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub took: Duration,
}

/// A change that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The thing.
    pub address: Address,
    /// Why.
    #[serde(flatten)]
    pub failure: Failure,
}

/// A change that was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The thing.
    pub address: Address,
    /// Why.
    pub because: String,
}

fn seconds<S: Serializer>(took: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(took.as_millis() as f64 / 1000.0)
}

impl Tally {
    /// Takes note of what happened.
    pub fn on(&mut self, event: &Event) {
        match event {
            Event::Started { change } => {
                self.begun.insert(change.address.clone(), change.action);
            }
            Event::Finished {
                address,
                outcome,
                took,
            } => self.applied.push(Applied {
                address: address.clone(),
                action: self.begun.get(address).copied().unwrap_or(Action::Update),
                outcome: outcome.clone(),
                took: *took,
            }),
            Event::Failed { address, failure } => self.failed.push(Failed {
                address: address.clone(),
                failure: failure.clone(),
            }),
            Event::Skipped { address, because } => self.skipped.push(Skipped {
                address: address.clone(),
                because: because.clone(),
            }),
            Event::Progress { .. } | Event::Note(_) => {}
        }
    }

    /// Whether something failed that is a fault of ours.
    pub fn has_bug(&self) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|it| it.failure.kind == FailureKind::Bug)
    }

    /// Whether everything that was planned was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }
}

/// Renders what came of a plan, every failure with its cause. `requests` are those that the proxy
/// served meanwhile, where there was one.
pub fn render(tally: &Tally, requests: Option<Requests>, took: Duration, style: Style) -> String {
    let mut lines = Vec::new();
    for failed in &tally.failed {
        // The log was shown when it happened; here it would bury the other failures.
        let failure = Failure {
            log: Vec::new(),
            ..failed.failure.clone()
        };
        lines.extend(error::failure(&failed.address, &failure, None, style));
    }
    for skipped in &tally.skipped {
        lines.push(not_tried(&skipped.address, &skipped.because, style));
    }
    if !lines.is_empty() {
        lines.insert(0, style.paint(Role::Title, "Not done:"));
        lines.push(String::new());
    }
    lines.push(verdict(tally, took, style));
    lines.extend(requests.map(|requests| served(requests, style)));
    lines.join("\n") + "\n"
}

/// Says that a thing was not tried, and because of what.
pub(super) fn not_tried(address: &Address, because: &str, style: Style) -> String {
    let text = style.paint(Role::Warning, "not tried");
    format!("{address}: {text}, because of {}", clean(because))
}

fn verdict(tally: &Tally, took: Duration, style: Style) -> String {
    let mut counts: BTreeMap<Action, usize> = BTreeMap::new();
    let (made, measured): (Vec<_>, Vec<_>) = tally
        .applied
        .iter()
        .partition(|it| it.address.node.is_some());
    for applied in made {
        *counts.entry(applied.action).or_default() += 1;
    }
    let mut parts: Vec<String> = counts
        .iter()
        .map(|(action, number)| format!("{number} {}", done(*action)))
        .collect();
    if !measured.is_empty() {
        parts.push(format!("{} measured", measured.len()));
    }
    let (lead, role) = match (tally.is_complete(), parts.is_empty()) {
        (true, false)
            if counts.keys().all(|action| *action == Action::Destroy) && measured.is_empty() =>
        {
            ("Done", Role::Good)
        }
        (true, false) => ("Applied", Role::Good),
        (true, true) => return style.paint(Role::Good, "There was nothing to do."),
        (false, false) => ("Applied in part", Role::Error),
        (false, true) => ("Nothing applied", Role::Error),
    };
    if !tally.is_complete() {
        parts.push(format!("{} failed", tally.failed.len()));
        parts.push(format!("{} not tried", tally.skipped.len()));
    }
    let lead = style.paint(role, lead);
    format!("{lead} in {}: {}.", duration(took), parts.join(", "))
}

/// Says what became of the requests that were served while things changed.
fn served(requests: Requests, style: Style) -> String {
    let Requests { ok, failed, cut } = requests;
    let lead = style.paint(Role::Title, "Requests meanwhile:");
    let failed = format!("{failed} failed");
    let failed = match requests.failed {
        0 => failed,
        _ => style.paint(Role::Error, &failed),
    };
    format!("{lead} {ok} ok, {failed}, {cut} cut.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Change;

    fn tally(events: &[Event]) -> Tally {
        let mut tally = Tally::default();
        for event in events {
            tally.on(event);
        }
        tally
    }

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    fn done_with(address: &str, action: Action) -> [Event; 2] {
        [
            Event::Started {
                change: Change::new(&at(address), action, Vec::new()),
            },
            Event::Finished {
                address: at(address),
                outcome: "ready, pid 4711".to_owned(),
                took: Duration::from_millis(3_240),
            },
        ]
    }

    #[test]
    fn what_was_done_is_counted_by_its_action() {
        let events = [
            done_with("here/instance.a", Action::Create),
            done_with("here/instance.b", Action::Create),
            done_with("here/proxy", Action::Replace),
        ];
        let requests = Requests {
            ok: 1842,
            failed: 0,
            cut: 0,
        };
        let text = render(
            &tally(&events.concat()),
            Some(requests),
            Duration::from_secs(65),
            Style::plain(),
        );
        insta::assert_snapshot!(text, @r"
        Applied in 1m05s: 2 created, 1 replaced.
        Requests meanwhile: 1842 ok, 0 failed, 0 cut.
        ");
    }

    #[test]
    fn every_failure_is_listed_at_the_end() {
        let mut events = done_with("here/instance.a", Action::Create).to_vec();
        events.push(Event::Failed {
            address: at("here/instance.b"),
            failure: Failure::new("port 8200 was taken by pid 51234")
                .logged(vec!["a line".to_owned()])
                .hinted("stop pid 51234, or change instances.b.port"),
        });
        events.push(Event::Skipped {
            address: at("here/proxy"),
            because: "here/instance.b".to_owned(),
        });
        let text = render(
            &tally(&events),
            None,
            Duration::from_secs(4),
            Style::plain(),
        );
        insta::assert_snapshot!(text, @r"
        Not done:
        here/instance.b: failed: port 8200 was taken by pid 51234
            hint: stop pid 51234, or change instances.b.port
        here/proxy: not tried, because of here/instance.b

        Applied in part in 4.0s: 1 created, 1 failed, 1 not tried.
        ");
    }
}
