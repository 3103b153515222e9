//! Over which route prompts are asked, what a server may remember of them, and what is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The route that is asked, as OpenAI names them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `/v1/completions`: a prompt is sent as it is.
    #[default]
    Completions,
    /// `/v1/chat/completions`: a prompt is what a user says, and the server puts it into the model's
    /// template.
    Chat,
}

impl Api {
    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
}

/// What a server may take out of its prefix cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// Nothing that another request left there: each has a `cache_salt` of its own. Prompts that
    /// share a prefix have one a group, so that they share that and nothing else.
    #[default]
    Salt,
    /// Whatever is there, also of the warm-up and of former runs: no `cache_salt` is sent.
    Allow,
}

/// What is kept of each request beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Its prompt and its answer, in the lines of `.requests.jsonl`; of token ids only their number
    /// and their digest.
    Answers,
}
