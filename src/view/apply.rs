//! What came of a plan: what was done, what failed and why, what was not tried.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::name::NodeName;
use crate::plan::{
    Action, Address, Change, Event, Failure, FailureKind, FormerStart, Plan, Requests,
};

use super::error;
use super::style::{Role, Style};
use super::words::{clean, count, done, duration};

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
    /// Whether steps of it had been done before, so that it is not as it was.
    pub partly: bool,
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
            Event::Failed {
                address,
                failure,
                partly,
            } => self.failed.push(Failed {
                address: address.clone(),
                failure: failure.clone(),
                partly: *partly,
            }),
            Event::Skipped { address, because } => self.skipped.push(Skipped {
                address: address.clone(),
                because: because.clone(),
            }),
            Event::Step { .. } | Event::Progress { .. } | Event::Note(_) => {}
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

    /// Whether anything is not as it was before.
    pub fn has_touched(&self) -> bool {
        !self.applied.is_empty() || self.failed.iter().any(|it| it.partly)
    }

    fn tells_of(&self, address: &Address) -> bool {
        self.failed.iter().any(|it| it.address == *address)
            || self.skipped.iter().any(|it| it.address == *address)
    }
}

/// Renders what came of a plan: every failure with its cause, and what is `left` to do, with what is
/// in its way. `requests` are those that were served meanwhile, where anything counts that, and what became
/// of those of what was replaced.
pub fn render(
    tally: &Tally,
    left: &Plan,
    (requests, former): (Option<Requests>, &[FormerStart]),
    took: Duration,
    style: Style,
) -> String {
    let left = Left::of(left, tally);
    let mut lines = Vec::new();
    for failed in &tally.failed {
        // It was told in full when it happened; here it would bury the other failures.
        lines.extend(error::failure_again(
            &failed.address,
            &failed.failure,
            style,
        ));
    }
    for skipped in &tally.skipped {
        lines.extend(not_tried(&skipped.address, &skipped.because, style));
    }
    lines.extend(left.lines(style));
    if !lines.is_empty() {
        lines.insert(0, style.paint(Role::Title, "Not done:"));
        lines.push(String::new());
    }
    lines.extend(style.hang(&verdict(tally, &left, took, style), 4));
    lines.extend(requests.map(|requests| served(requests, style)));
    lines.extend(former.iter().flat_map(|it| style.hang(&of_former(it), 4)));
    lines.join("\n") + "\n"
}

/// What was left in the end for another reason than that it failed or was not tried.
struct Left<'a> {
    blocked: Vec<&'a Change>,
    unmeasured: Vec<&'a Change>,
    unreachable: &'a [(NodeName, Failure)],
}

impl<'a> Left<'a> {
    fn of(plan: &'a Plan, tally: &Tally) -> Self {
        let untold = |change: &&Change| !tally.tells_of(&change.address);
        let changes = || plan.changes.iter().filter(untold);
        let is_unmeasured =
            |change: &&Change| change.is_measurement() && change.action != Action::Keep;
        let was_measured = |change: &&Change| {
            let mut applied = tally.applied.iter();
            applied.any(|done| done.address == change.address)
        };
        Self {
            blocked: changes().filter(|it| it.is_obstructed()).collect(),
            unmeasured: changes()
                .filter(is_unmeasured)
                .filter(|change| !was_measured(change))
                .collect(),
            unreachable: &plan.unreachable,
        }
    }

    fn is_empty(&self) -> bool {
        self.blocked.is_empty() && self.unmeasured.is_empty() && self.unreachable.is_empty()
    }

    fn lines(&self, style: Style) -> Vec<String> {
        let line = |name: &str, state: &str, why: &str| {
            let why = clean(why);
            let separator = if why.is_empty() { "" } else { ": " };
            let state = style.paint(Role::Warning, state);
            style.hang(&format!("{name}: {state}{separator}{why}"), 4)
        };
        let blocked = self.blocked.iter().map(|change| {
            let why: Vec<String> = change.why().collect();
            line(&change.address.to_string(), "blocked", &why.join("; "))
        });
        let unmeasured = self.unmeasured.iter().map(|change| {
            let why = "not everything is as declared";
            line(&change.address.to_string(), "not measured", why)
        });
        let unreachable = self
            .unreachable
            .iter()
            .map(|(node, failure)| line(node.as_str(), "unreachable", &failure.message));
        blocked
            .chain(unmeasured)
            .chain(unreachable)
            .flatten()
            .collect()
    }

    fn counts(&self) -> impl Iterator<Item = (usize, String)> {
        let nodes = count(self.unreachable.len(), "node");
        [
            (
                self.blocked.len(),
                format!("{} blocked", self.blocked.len()),
            ),
            (
                self.unmeasured.len(),
                format!("{} not measured", self.unmeasured.len()),
            ),
            (self.unreachable.len(), format!("{nodes} unreachable")),
        ]
        .into_iter()
    }
}

/// Says that a thing was not tried, and why.
pub(super) fn not_tried(address: &Address, because: &str, style: Style) -> Vec<String> {
    let text = style.paint(Role::Warning, "not tried");
    style.hang(&format!("{address}: {text}: {}", clean(because)), 4)
}

/// The last line: all that was done, and all that was not.
fn verdict(tally: &Tally, left: &Left<'_>, took: Duration, style: Style) -> String {
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
    let is_complete = tally.is_complete() && left.is_empty();
    let only_destroyed = counts.keys().all(|action| *action == Action::Destroy);
    let (lead, role) = match (is_complete, tally.has_touched()) {
        (true, true) if only_destroyed && measured.is_empty() => ("Done", Role::Good),
        (true, true) => ("Applied", Role::Good),
        (true, false) => return style.paint(Role::Good, "There was nothing to do."),
        (false, true) => ("Applied in part", Role::Error),
        (false, false) => ("Nothing applied", Role::Error),
    };
    let (failed, skipped) = (tally.failed.len(), tally.skipped.len());
    let undone = [
        (failed, format!("{failed} failed")),
        (skipped, format!("{skipped} not tried")),
    ];
    let undone = undone.into_iter().chain(left.counts());
    parts.extend(undone.filter(|(number, _)| *number > 0).map(|(_, it)| it));
    let lead = style.paint(role, lead);
    format!("{lead} in {}: {}.", duration(took), parts.join(", "))
}

/// Says what became of the requests that were served while things changed.
fn served(requests: Requests, style: Style) -> String {
    let Requests {
        ok,
        refused,
        failed,
        cut,
    } = requests;
    let lead = style.paint(Role::Title, "Requests meanwhile:");
    let failed = format!("{failed} failed");
    let failed = match requests.failed {
        0 => failed,
        _ => style.paint(Role::Error, &failed),
    };
    let refused = match refused {
        0 => String::new(),
        _ => format!("{refused} refused (4xx), "),
    };
    format!("{lead} {ok} ok, {refused}{failed}, {cut} cut.")
}

/// Says what became of the requests of one that was replaced: what is nothing is not told.
fn of_former(former: &FormerStart) -> String {
    let counts = [
        (former.refused, "refused (4xx)"),
        (former.failed, "failed"),
        (former.own_errors, "answered by an error of the proxy"),
        (former.cut, "cut"),
        (former.retried, "gone on with elsewhere"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, what)| format!(", {count} {what}"))
        .collect();
    let told = told.concat();
    let (name, ok, in_flight) = (clean(&former.name), former.ok, former.in_flight);
    format!("  {name} before: {ok} ok{told}, {in_flight} in flight as it stopped.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Reason, ReasonCode};

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
            refused: 0,
            failed: 0,
            cut: 0,
        };
        let former = FormerStart {
            name: "b".to_owned(),
            start: None,
            ok: 1204,
            refused: 3,
            failed: 0,
            own_errors: 0,
            cut: 1,
            retried: 0,
            in_flight: 0,
        };
        let text = render(
            &tally(&events.concat()),
            &Plan::default(),
            (Some(requests), &[former]),
            Duration::from_secs(65),
            Style::plain(),
        );
        insta::assert_snapshot!(text, @r"
        Applied in 1m05s: 2 created, 1 replaced.
        Requests meanwhile: 1842 ok, 0 failed, 0 cut.
          b before: 1204 ok, 3 refused (4xx), 1 cut, 0 in flight as it stopped.
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
            partly: false,
        });
        events.push(Event::Skipped {
            address: at("here/proxy"),
            because: "here/instance.b was not done".to_owned(),
        });
        let text = render(
            &tally(&events),
            &Plan::default(),
            (None, &[]),
            Duration::from_secs(4),
            Style::plain(),
        );
        insta::assert_snapshot!(text, @"
        Not done:
        here/instance.b: failed: port 8200 was taken by pid 51234
            hint: stop pid 51234, or change instances.b.port
        here/proxy: not tried: here/instance.b was not done

        Applied in part in 4.0s: 1 created, 1 failed, 1 not tried.
        ");
    }

    #[test]
    fn what_is_in_the_way_of_the_rest_is_told_last() {
        let blocked = |address, code, why| Change::blocked(&at(address), Reason::new(code, why));
        let left = Plan {
            changes: vec![
                blocked(
                    "here/instance.b",
                    ReasonCode::PortTaken,
                    "port 8200 is held by pid 7",
                ),
                blocked("spark-02/instance.c", ReasonCode::Unreachable, "unknown"),
                Change::new(&at("benchmark.batch"), Action::Create, Vec::new()),
            ],
            unreachable: vec![(
                "spark-02".parse().unwrap(),
                Failure::new("no answer in 10 s"),
            )],
            ..Plan::default()
        };
        let told = |tally: &Tally| {
            render(
                tally,
                &left,
                (None, &[]),
                Duration::from_secs(4),
                Style::plain(),
            )
        };
        let made = done_with("here/instance.a", Action::Create);
        insta::assert_snapshot!(told(&tally(&made)), @"
        Not done:
        here/instance.b: blocked: port 8200 is held by pid 7
        benchmark.batch: not measured: not everything is as declared
        spark-02: unreachable: no answer in 10 s

        Applied in part in 4.0s: 1 created, 1 blocked, 1 not measured, 1 node unreachable.
        ");
        insta::assert_snapshot!(told(&Tally::default()), @"
        Not done:
        here/instance.b: blocked: port 8200 is held by pid 7
        benchmark.batch: not measured: not everything is as declared
        spark-02: unreachable: no answer in 10 s

        Nothing applied in 4.0s: 1 blocked, 1 not measured, 1 node unreachable.
        ");
    }

    #[test]
    fn what_was_stopped_and_did_not_start_again_is_not_nothing() {
        let failed = |partly| {
            let event = Event::Failed {
                address: at("here/instance.b"),
                failure: Failure::new("it died before it was ready"),
                partly,
            };
            let text = render(
                &tally(&[event]),
                &Plan::default(),
                (None, &[]),
                Duration::from_secs(4),
                Style::plain(),
            );
            text.lines().last().unwrap().to_owned()
        };
        assert_eq!(failed(true), "Applied in part in 4.0s: 1 failed.");
        assert_eq!(failed(false), "Nothing applied in 4.0s: 1 failed.");
    }
}
