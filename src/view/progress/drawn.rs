//! News as lines that are drawn over, for terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::{Address, Event, Phase};
use crate::view::bars::{Bar, Bars};
use crate::view::style::{Role, Style};
use crate::view::words::{clean, columns, cut, doing};

use super::phase::{BAR, bar, detail};
use super::settled;

/// One line for each thing under way, in the order of their addresses.
#[derive(Debug)]
pub(super) struct Drawn {
    bars: Bars,
    style: Style,
    under_way: BTreeMap<Address, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    line: Bar,
    phase: Phase,
}

impl Drawn {
    pub(super) fn new(bars: Bars, style: Style) -> Self {
        Self {
            bars,
            style,
            under_way: BTreeMap::new(),
        }
    }

    /// Redraws, and returns the lines that are to stand above what is drawn.
    pub(super) fn on(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Started { change } => {
                self.set(&change.address, Phase::new(doing(change)));
                Vec::new()
            }
            Event::Progress { address, phase } => {
                self.set(address, phase.clone());
                Vec::new()
            }
            Event::Finished { address, .. }
            | Event::Failed { address, .. }
            | Event::Skipped { address, .. } => {
                let took = self.end(address);
                self.redraw();
                settled(event, took, self.style)
            }
            Event::Step { .. } | Event::Note(_) => settled(event, None, self.style),
        }
    }

    fn set(&mut self, address: &Address, phase: Phase) {
        if !self.under_way.contains_key(address) {
            let thing = self.begin(address);
            self.under_way.insert(address.clone(), thing);
        }
        if let Some(thing) = self.under_way.get_mut(address) {
            thing.phase = phase;
        }
        self.redraw();
    }

    fn begin(&self, address: &Address) -> UnderWay {
        let place = self.under_way.range(..address).count();
        UnderWay {
            line: self.bars.insert(place),
            phase: Phase::default(),
        }
    }

    fn end(&mut self, address: &Address) -> Option<Duration> {
        let thing = self.under_way.remove(address)?;
        let took = thing.line.elapsed();
        self.bars.remove(&thing.line);
        Some(took)
    }

    /// Writes every line anew: their columns depend on each other.
    fn redraw(&self) {
        let names = self.under_way.keys().map(|a| columns(&a.to_string()));
        let words = self.under_way.values().map(|t| columns(&t.phase.doing));
        let (name, word) = (names.max().unwrap_or(0), words.max().unwrap_or(0));
        for (address, UnderWay { line, phase }) in &self.under_way {
            let doing = clean(&phase.doing);
            let head = format!("{:name$}  {doing:word$}  ", address.to_string());
            // The spinner, the time and the spaces about them take some twelve columns.
            let room = self.style.width.saturating_sub(columns(&head) + 12);
            let detail = self.style.paint(Role::Faint, &told(phase, room));
            line.tell(&format!("{head}{detail}"));
        }
    }

    /// Removes everything that is drawn over.
    pub(super) fn clear(self) {
        for thing in self.under_way.values() {
            self.bars.remove(&thing.line);
        }
    }
}

/// How far it is, in so many columns: a bar goes before the words, where there is room for both.
fn told(phase: &Phase, room: usize) -> String {
    let words = detail(phase);
    match phase.share() {
        Some(share) if BAR + 1 + columns(&words) <= room => format!("{} {words}", bar(share)),
        _ => cut(&words, room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Change, Count, Part};

    fn at(address: &str) -> Address {
        address.parse().unwrap()
    }

    fn messages(drawn: &Drawn) -> Vec<String> {
        let things = drawn.under_way.values();
        things
            .map(|t| t.line.message().trim_end().to_owned())
            .collect()
    }

    #[test]
    fn each_thing_has_its_line_until_it_is_settled() {
        let mut drawn = Drawn::new(Bars::hidden(), Style::plain());
        for address in ["here/proxy", "here/instance.a"] {
            let change = Change::new(&at(address), Action::Create, Vec::new());
            assert!(drawn.on(&Event::Started { change }).is_empty());
        }
        drawn.on(&Event::Progress {
            address: at("here/instance.a"),
            phase: Phase::new("loading").at(Part {
                name: "weights".to_owned(),
                count: Some(Count::Pieces { done: 3, of: 4 }),
            }),
        });
        assert_eq!(
            messages(&drawn),
            [
                "here/instance.a  loading   [==========>   ] weights 3/4",
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
