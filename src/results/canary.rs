//! The canaries: the same short answer of every instance, before a measurement and after it.
//!
//! A GB10 has slow states of 1.5 to 1.7 times that its driver does not show; an A/B over two machines
//! of which one is in such a state measures the machines. So every instance is held against itself,
//! its own history, and its peers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::result::BenchResult;

/// What every instance showed before a measurement and after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Canaries {
    /// Tokens of each answer.
    pub tokens: u32,
    /// After the warm-up, before the first request.
    pub before: Vec<Canary>,
    /// After the last request.
    pub after: Vec<Canary>,
    /// The same of the instances that were idle beside them, whose machines may be slow too.
    #[serde(default, skip_serializing_if = "IdleCanaries::is_empty")]
    pub idle: IdleCanaries,
    /// What each instance showed around earlier measurements of the same specification on the same
    /// node, the newest first, in ms a token.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<String, Vec<f64>>,
}

/// What instances showed that were idle beside what was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleCanaries {
    /// Before the first request, once each was warmed by another such answer.
    pub before: Vec<Canary>,
    /// After the last request.
    pub after: Vec<Canary>,
}

impl IdleCanaries {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// Their names.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let all = self.before.iter().chain(&self.after);
        all.map(|it| it.instance.as_str()).collect()
    }
}

/// A short answer of one instance, with nothing else in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The instance.
    pub instance: String,
    /// `t_first − t_sent`, in ms.
    pub ttft_ms: f64,
    /// The median gap between its tokens, in ms.
    pub itl_p50_ms: f64,
    /// The digest of its text: alone and with the likeliest token each time, it is always the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_sha256: Option<String>,
}

impl Canaries {
    /// Whether nobody was asked.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty() && self.idle.is_empty()
    }

    /// What an instance showed before and after, in ms a token.
    pub(crate) fn of(&self, instance: &str) -> (Option<f64>, Option<f64>) {
        let shown = |measured: &[Canary], idle: &[Canary]| {
            let mut all = measured.iter().chain(idle);
            let own = all.find(|it| it.instance == instance);
            own.map(|it| it.itl_p50_ms)
        };
        let Self {
            before,
            after,
            idle,
            ..
        } = self;
        (shown(before, &idle.before), shown(after, &idle.after))
    }
}

/// What the instances of a job showed in earlier results, the newest first: of results whose instance
/// of that name was on the same node with the same specification.
pub(crate) fn history(
    past: impl Iterator<Item = BenchResult>,
    topology: &Value,
) -> BTreeMap<String, Vec<f64>> {
    let mut history = BTreeMap::<String, Vec<f64>>::new();
    for result in past {
        for now in instances(topology) {
            let Some(name) = now["name"].as_str() else {
                continue;
            };
            let same = |then: &&Value| {
                ["name", "node", "spec"]
                    .iter()
                    .all(|key| then[key] == now[key])
            };
            if instances(&result.topology).any(|then| same(&then)) {
                let (before, after) = result.canaries.of(name);
                let shown = history.entry(name.to_owned()).or_default();
                shown.extend(after.into_iter().chain(before));
            }
        }
    }
    history.retain(|_, shown| !shown.is_empty());
    history
}

/// All that were there: those that were measured, and those that were idle beside them.
pub(super) fn instances(topology: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["instances", "idle"].into_iter();
    lists.flat_map(|list| topology[list].as_array().into_iter().flatten())
}
