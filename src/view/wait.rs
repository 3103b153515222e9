//! What was waited for: what is ready, and what is not and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::style::{Role, Style};
use super::words::clean;
use crate::plan::{Address, Stand};

/// What a wait came to, and the document of `wait --json`.
#[derive(Debug, Serialize)]
pub struct WaitReport {
    ready: Vec<Address>,
    /// What is not ready, with why.
    waiting: BTreeMap<Address, String>,
}

impl WaitReport {
    /// The report of these things, some of which are still waited for.
    pub fn new(stands: Vec<Stand>, waiting: BTreeMap<Address, String>) -> Self {
        let addresses = stands.into_iter().map(|stand| stand.change.address);
        Self {
            ready: addresses.filter(|it| !waiting.contains_key(it)).collect(),
            waiting,
        }
    }

    /// Whether nothing is waited for any more.
    pub fn is_ready(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Renders it, a line for each thing.
pub fn render(report: &WaitReport, style: Style) -> String {
    let ready = report
        .ready
        .iter()
        .map(|address| format!("{address}: {}", style.paint(Role::Good, "ready")));
    let waiting = report.waiting.iter().map(|(address, why)| {
        let why = format!("not ready: {}", clean(why));
        format!("{address}: {}", style.paint(Role::Error, &why))
    });
    let lines: Vec<String> = ready.chain(waiting).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Change;

    #[test]
    fn what_is_ready_comes_first_and_the_rest_says_why() {
        let at = |address: &str| address.parse::<Address>().unwrap();
        let stands =
            ["n/instance.a", "n/instance.b"].map(|it| Stand::new(Change::keep(&at(it), "")));
        let waiting = BTreeMap::from([(at("n/instance.a"), "loading weights".to_owned())]);
        let report = WaitReport::new(stands.into(), waiting);
        assert!(!report.is_ready());
        insta::assert_snapshot!(render(&report, Style::plain()), @"
        n/instance.b: ready
        n/instance.a: not ready: loading weights
        ");
    }
}
