//! News as lines, for logs and pipes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::{Address, Event, Phase};
use crate::view::style::Style;
use crate::view::words::{clean, doing, elapsed};

use super::phase::detail;
use super::settled;

/// How long a thing may be silent before it is said to be still under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is under way, and what was last said of it. Knows no clock: it is told the time.
#[derive(Debug)]
pub(super) struct Plain {
    style: Style,
    under_way: BTreeMap<Address, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    doing: String,
    detail: String,
    since: Instant,
    said: Instant,
}

impl Plain {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            under_way: BTreeMap::new(),
        }
    }

    /// The lines that an event is worth.
    pub(super) fn on(&mut self, event: &Event, now: Instant) -> Vec<String> {
        match event {
            Event::Started { change } => {
                let doing = doing(change);
                self.begin(&change.address, doing, now);
                vec![format!("{}: {doing}...", change.address)]
            }
            Event::Progress { address, phase } => self.progress(address, phase, now),
            Event::Finished { address, .. }
            | Event::Failed { address, .. }
            | Event::Skipped { address, .. } => {
                let since = self.under_way.remove(address).map(|it| it.since);
                settled(event, since.map(|since| now - since), self.style)
            }
            Event::Step { .. } | Event::Note(_) => settled(event, None, self.style),
        }
    }

    fn begin(&mut self, address: &Address, doing: &str, now: Instant) {
        let under_way = UnderWay {
            doing: doing.to_owned(),
            detail: String::new(),
            since: now,
            said: now,
        };
        self.under_way.insert(address.clone(), under_way);
    }

    /// A new phase is news; a new detail is told when the thing is next said to be under way.
    fn progress(&mut self, address: &Address, phase: &Phase, now: Instant) -> Vec<String> {
        if !self.under_way.contains_key(address) {
            self.begin(address, "", now);
        }
        let Some(thing) = self.under_way.get_mut(address) else {
            return Vec::new();
        };
        thing.detail = detail(phase);
        let doing = clean(&phase.doing);
        if thing.doing == doing {
            return thing.still(address, now).into_iter().collect();
        }
        thing.said = now;
        let line = format!("{address}: {doing}{}...", thing.aside());
        thing.doing = doing;
        vec![line]
    }

    /// A line for each thing that was silent for too long.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<String> {
        let things = self.under_way.iter_mut();
        things
            .filter_map(|(address, thing)| thing.still(address, now))
            .collect()
    }
}

impl UnderWay {
    fn still(&mut self, address: &Address, now: Instant) -> Option<String> {
        if now - self.said < PATIENCE {
            return None;
        }
        self.said = now;
        let since = elapsed(now - self.since);
        let doing = &self.doing;
        Some(format!(
            "{address}: still {doing}{} [{since}]",
            self.aside()
        ))
    }

    fn aside(&self) -> String {
        match self.detail.as_str() {
            "" => String::new(),
            detail => format!(" ({detail})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Change, Count, Failure, Part};

    /// Plays events, each so many seconds after the start; `None` is a second that passes.
    fn played(events: &[(u64, Option<Event>)]) -> String {
        let start = Instant::now();
        let mut plain = Plain::new(Style::plain());
        let lines: Vec<String> = events
            .iter()
            .flat_map(|(at, event)| {
                let now = start + Duration::from_secs(*at);
                match event {
                    Some(event) => plain.on(event, now),
                    None => plain.tick(now),
                }
            })
            .collect();
        lines.join("\n")
    }

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    fn started(address: &str, action: Action) -> Event {
        let change = Change::new(&at(address), action, Vec::new());
        Event::Started { change }
    }

    fn progress(address: &str, doing: &str, part: impl Into<Part>) -> Event {
        Event::Progress {
            address: at(address),
            phase: Phase::new(doing).at(part),
        }
    }

    fn weights(done: u64) -> Part {
        Part {
            name: "weights".to_owned(),
            count: Some(Count::Pieces { done, of: 4 }),
        }
    }

    #[test]
    fn a_thing_that_takes_long_says_so_every_ten_seconds() {
        let a = "here/instance.a";
        insta::assert_snapshot!(played(&[
            (0, Some(started(a, Action::Create))),
            (0, Some(progress(a, "starting", ""))),
            (4, Some(progress(a, "starting", weights(1)))),
            (9, None),
            (10, Some(progress(a, "starting", weights(3)))),
            (12, None),
            (20, None),
            (95, None),
            (96, Some(Event::Finished {
                address: at(a),
                outcome: "ready, pid 4711".to_owned(),
                took: Duration::from_millis(96_200),
            })),
            (120, None),
        ]), @r"
        here/instance.a: creating...
        here/instance.a: starting...
        here/instance.a: still starting (weights 3/4) [10s]
        here/instance.a: still starting (weights 3/4) [20s]
        here/instance.a: still starting (weights 3/4) [1m35s]
        here/instance.a: ready, pid 4711 [1m36s]
        ");
    }

    #[test]
    fn failures_and_what_they_hold_up_are_told_at_once() {
        let b = "here/instance.b";
        insta::assert_snapshot!(played(&[
            (0, Some(started(b, Action::Replace))),
            (1, Some(progress(b, "draining", Count::InFlight(3)))),
            (2, Some(progress(b, "starting", ""))),
            (12, Some(Event::Failed {
                address: at(b),
                failure: Failure::new("the server exited with status 1")
                    .logged(vec!["loading".to_owned(), "ValueError: \x1b[31mno memory".to_owned()])
                    .hinted("lower gpu_memory_utilization"),
                partly: true,
            })),
            (12, Some(Event::Skipped { address: at("here/proxy"), because: format!("{b} was not done") })),
            (13, Some(Event::Note("finishing what is under way".to_owned()))),
        ]), @"
        here/instance.b: replacing...
        here/instance.b: draining (3 requests in flight)...
        here/instance.b: starting...
        here/instance.b: failed: the server exited with status 1 [12.0s]
            | loading
            | ValueError: no memory
            hint: lower gpu_memory_utilization
        here/proxy: not tried: here/instance.b was not done
        note: finishing what is under way
        ");
    }
}
