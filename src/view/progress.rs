//! A plan that is being carried out, as it happens.
//!
//! On a terminal, one line for each thing under way is drawn over and over, and what is settled
//! stands above. Elsewhere every piece of news is a line of its own, and a thing that takes long
//! says so now and then.

mod drawn;
mod phase;
mod plain;

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::plan::Event;

use super::apply::{Tally, not_tried};
use super::command::pasteable;
use super::error::{self, Kind};
use super::events::EventLine;
use super::screen::Screen;
use super::style::{Role, Style};
use super::words::{clean, duration};

use drawn::Drawn;
use plain::Plain;

/// Follows a plan that is carried out: shows its events, and gathers what comes of it.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    /// The file, as the user named it: what to do next names it too.
    manifest: String,
    shown: Shown,
    tally: Tally,
}

#[derive(Debug)]
enum Shown {
    Drawn(Drawn),
    Plain(Plain),
}

impl Progress {
    /// Begins to follow a plan that is carried out; `manifest` is the file as the user named it.
    pub fn new(screen: Screen, manifest: String) -> Self {
        let style = screen.talk();
        let shown = match screen.bars() {
            Some(bars) => Shown::Drawn(Drawn::new(bars, style)),
            None => Shown::Plain(Plain::new(style)),
        };
        Self {
            screen,
            manifest,
            shown,
            tally: Tally::default(),
        }
    }

    /// Shows what happened.
    pub fn on(&mut self, event: &Event) {
        let event = &self.helpful(event);
        self.screen.event(&EventLine::from(event));
        self.tally.on(event);
        let lines = match &mut self.shown {
            Shown::Drawn(drawn) => drawn.on(event),
            Shown::Plain(plain) => plain.on(event, Instant::now()),
        };
        self.say(&lines);
    }

    /// Says of what takes long that it still does. To be called about once a second.
    pub fn tick(&mut self) {
        if let Shown::Plain(plain) = &mut self.shown {
            let lines = plain.tick(Instant::now());
            self.say(&lines);
        }
    }

    /// Ends, and returns what came of the plan.
    pub fn finish(self) -> Tally {
        if let Shown::Drawn(drawn) = self.shown {
            drawn.clear();
        }
        self.tally
    }

    /// Shows everything that happens until nothing more can, and returns what came of it.
    pub async fn follow(mut self, mut events: UnboundedReceiver<Event>) -> Tally {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on(&event),
                    None => return self.finish(),
                },
                _ = second.tick() => self.tick(),
            }
        }
    }

    /// An event whose hint can be pasted as it is.
    fn helpful(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if let Event::Failed { failure, .. } = &mut event
            && let Some(hint) = &mut failure.hint
        {
            *hint = pasteable(hint, &self.manifest).into_owned();
        }
        event
    }

    fn say(&self, lines: &[String]) {
        if !lines.is_empty() {
            self.screen.say(&(lines.join("\n") + "\n"));
        }
    }
}

/// The lines of an event that settles something; they are the same however the rest is
/// shown. `took` is how long a failure took to happen, which its event does not say.
fn settled(event: &Event, took: Option<Duration>, style: Style) -> Vec<String> {
    match event {
        Event::Finished {
            address,
            outcome,
            took,
        } => {
            let outcome = match outcome.as_str() {
                "" => "done".to_owned(),
                outcome => clean(outcome),
            };
            let took = style.paint(Role::Faint, &format!("[{}]", duration(*took)));
            let outcome = style.paint(Role::Good, &outcome);
            style.hang(&format!("{address}: {outcome} {took}"), 4)
        }
        Event::Failed {
            address, failure, ..
        } => error::failure(address, failure, took.map(duration).as_deref(), style),
        Event::Skipped { address, because } => not_tried(address, because, style),
        Event::Note(text) => {
            let line = error::line(Kind::Note, &clean(text), style);
            vec![line.trim_end().to_owned()]
        }
        Event::Started { .. } | Event::Step { .. } | Event::Progress { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::Format;
    use super::*;
    use crate::plan::Failure;

    #[test]
    fn what_to_do_next_names_the_manifest() {
        let progress = Progress::new(Screen::new(false, Format::Text), "a.yaml".to_owned());
        let failed = Event::Failed {
            address: "benchmark.x".parse().unwrap(),
            failure: Failure::new("no answer").hinted("look at `replica logs instance.a`"),
            partly: false,
        };
        let Event::Failed { failure, .. } = progress.helpful(&failed) else {
            panic!("it did not fail");
        };
        let hint = failure.hint.as_deref();
        assert_eq!(hint, Some("look at `replica logs a.yaml instance.a`"));
    }
}
