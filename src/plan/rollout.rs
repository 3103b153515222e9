//! How those that clients reach by one address are replaced while it is served.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// How many of those behind one address go on serving while others are replaced: as a manifest says it,
/// too. The words are kubernetes' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rollout {
    /// How many instances are replaced at once: `1`. The first is replaced alone in any case, as the
    /// canary: where it does not become ready, the others stay as they are.
    #[serde(deserialize_with = "at_least_one")]
    #[schemars(extend("minimum" = 1))]
    pub max_unavailable: u32,
    /// How many instances serve at least at any moment: `1`. A replace that would leave fewer is blocked,
    /// unless `--allow-downtime` is given. Without this it is 1 where there are several, and an instance
    /// that serves alone is replaced as it is declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<u32>,
}

impl Rollout {
    /// Whether nothing is said.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            min_available: None,
        }
    }
}

fn at_least_one<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    match u32::deserialize(input)? {
        0 => Err(Error::custom(
            "`max_unavailable` must be at least 1: with 0 nothing could be replaced",
        )),
        many => Ok(many),
    }
}

/// Things that are replaced in turn while they serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollingGroup {
    /// What they are told from other groups by.
    pub name: String,
    /// How many go on serving meanwhile, of those that clients reach by one address; nothing of one that
    /// is reached by its own.
    pub rollout: Option<Rollout>,
}

impl RollingGroup {
    /// Things that are replaced one at a time, each of which is reached by an address of its own.
    pub fn apart(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rollout: None,
        }
    }

    /// How many are replaced at once.
    pub fn at_once(&self) -> usize {
        let many = self.rollout.map_or(1, |rollout| rollout.max_unavailable);
        usize::try_from(many).unwrap_or(usize::MAX)
    }
}
