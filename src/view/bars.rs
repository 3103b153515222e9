//! Lines that are drawn over and over on a terminal, under those that stand.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::words::duration;
use crate::redact::redacted;
use crate::visible::visible_in_colour;

/// Where lines are drawn. Clones draw in the same place.
#[derive(Debug, Clone)]
pub(super) struct Bars(MultiProgress);

impl Bars {
    /// Draws on the standard error.
    pub(super) fn drawn() -> Self {
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
    }

    /// Draws nowhere.
    pub(super) fn hidden() -> Self {
        Self(MultiProgress::with_draw_target(ProgressDrawTarget::hidden()))
    }

    /// Does something while nothing is drawn, so that no two writers meet on one line.
    pub(super) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }

    /// Adds a line at a place among those that there are.
    pub(super) fn insert(&self, place: usize) -> Bar {
        let line = self.0.insert(place, ProgressBar::new_spinner());
        line.set_style(style());
        line.enable_steady_tick(Duration::from_millis(100));
        Bar(line)
    }

    /// Takes a line away.
    pub(super) fn remove(&self, bar: &Bar) {
        bar.0.finish_and_clear();
        self.0.remove(&bar.0);
    }
}

/// One line that is drawn over, with how long it has been there.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Says something else in it.
    pub(super) fn tell(&self, text: &str) {
        self.0
            .set_message(visible_in_colour(&redacted(text)).replace('\n', " "));
    }

    /// How long it has been there.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// What it says.
    #[cfg(test)]
    pub(super) fn message(&self) -> String {
        self.0.message()
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
