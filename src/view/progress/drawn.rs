//! News as lines that are drawn over, for terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::plan::{Address, Event};
use crate::view::look::{Look, Role};
use crate::view::words::{clean, columns, cut, doing, duration};

use super::settled;

/// One line for each thing under way, in the order of their addresses.
#[derive(Debug)]
pub(super) struct Drawn {
    bars: MultiProgress,
    look: Look,
    under_way: BTreeMap<Address, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    bar: ProgressBar,
    phase: String,
    detail: String,
}

impl Drawn {
    pub(super) fn new(bars: MultiProgress, look: Look) -> Self {
        Self {
            bars,
            look,
            under_way: BTreeMap::new(),
        }
    }

    /// Redraws, and returns the lines that are to stand above what is drawn.
    pub(super) fn on(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Started { change } => {
                self.set(&change.address, doing(change), "");
                Vec::new()
            }
            Event::Progress {
                address,
                phase,
                detail,
            } => {
                self.set(address, &clean(phase), &clean(detail));
                Vec::new()
            }
            Event::Finished { address, .. }
            | Event::Failed { address, .. }
            | Event::Skipped { address, .. } => {
                let took = self.end(address);
                self.redraw();
                settled(event, took, self.look)
            }
            Event::Note(_) => settled(event, None, self.look),
        }
    }

    fn set(&mut self, address: &Address, phase: &str, detail: &str) {
        if !self.under_way.contains_key(address) {
            let thing = self.begin(address);
            self.under_way.insert(address.clone(), thing);
        }
        if let Some(thing) = self.under_way.get_mut(address) {
            phase.clone_into(&mut thing.phase);
            detail.clone_into(&mut thing.detail);
        }
        self.redraw();
    }

    fn begin(&self, address: &Address) -> UnderWay {
        let place = self.under_way.range(..address).count();
        let bar = self.bars.insert(place, ProgressBar::new_spinner());
        bar.set_style(style());
        bar.enable_steady_tick(Duration::from_millis(100));
        UnderWay {
            bar,
            phase: String::new(),
            detail: String::new(),
        }
    }

    fn end(&mut self, address: &Address) -> Option<Duration> {
        let thing = self.under_way.remove(address)?;
        let took = thing.bar.elapsed();
        thing.bar.finish_and_clear();
        self.bars.remove(&thing.bar);
        Some(took)
    }

    /// Writes every line anew: their columns depend on each other.
    fn redraw(&self) {
        let names = self.under_way.keys().map(|a| columns(&a.to_string()));
        let phases = self.under_way.values().map(|t| columns(&t.phase));
        let (name, phase) = (names.max().unwrap_or(0), phases.max().unwrap_or(0));
        for (address, thing) in &self.under_way {
            let head = format!("{:name$}  {:phase$}  ", address.to_string(), thing.phase);
            // The spinner, the time and the spaces about them take some twelve columns.
            let room = self.look.width.saturating_sub(columns(&head) + 12);
            let detail = self.look.paint(Role::Faint, &cut(&thing.detail, room));
            thing.bar.set_message(format!("{head}{detail}"));
        }
    }

    /// Removes everything that is drawn over.
    pub(super) fn clear(self) {
        for thing in self.under_way.values() {
            thing.bar.finish_and_clear();
            self.bars.remove(&thing.bar);
        }
    }
}

fn style() -> ProgressStyle {
    let age = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A line that cannot be drawn now is drawn again in a moment.
        let _ = out.write_str(&duration(state.elapsed()));
    };
    ProgressStyle::with_template("{spinner} {msg}  {age}")
        .expect("the template must be well formed")
        .with_key("age", age)
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;
    use crate::plan::{Action, Change};

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    fn messages(drawn: &Drawn) -> Vec<String> {
        let things = drawn.under_way.values();
        things
            .map(|t| t.bar.message().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn each_thing_has_its_line_until_it_is_settled() {
        let hidden = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let mut drawn = Drawn::new(hidden, Look::plain());
        for address in ["here/proxy", "here/instance.a"] {
            let change = Change::new(&at(address), Action::Create, Vec::new());
            assert!(drawn.on(&Event::Started { change }).is_empty());
        }
        drawn.on(&Event::Progress {
            address: at("here/instance.a"),
            phase: "starting".to_owned(),
            detail: "weights 3/4".to_owned(),
        });
        assert_eq!(
            messages(&drawn),
            [
                "here/instance.a  starting  weights 3/4",
                "here/proxy       creating"
            ]
        );
        let above = drawn.on(&Event::Finished {
            address: at("here/instance.a"),
            outcome: "ready".to_owned(),
            took: Duration::from_millis(3_240),
        });
        assert_eq!(above, ["here/instance.a: ready [3.2s]"]);
        assert_eq!(messages(&drawn), ["here/proxy  creating"]);
        drawn.clear();
    }
}
