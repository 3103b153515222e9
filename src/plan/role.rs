//! What a server does for a request.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which part of a request's work an instance takes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// All of it; and either part of what others split.
    #[default]
    Both,
    /// Reads the prompt, and hands what it has computed over.
    Prefill,
    /// Fetches what was computed of the prompt, and writes the answer.
    Decode,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "both",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        })
    }
}

impl Role {
    /// Whether it takes requests from first to last.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
    pub fn is_both(&self) -> bool {
        *self == Self::Both
    }

    /// Whether it reads prompts for others.
    pub fn prefills(self) -> bool {
        self != Self::Decode
    }

    /// Whether it writes answers to prompts that others read.
    pub fn decodes(self) -> bool {
        self != Self::Prefill
    }
}
