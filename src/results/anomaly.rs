//! What speaks against a result, or is to be known with it. The rules of `verdict` find it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that speaks against a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anomaly {
    /// The rule: `A6`.
    pub id: String,
    /// The rule's name: `cold replica`.
    pub name: String,
    /// What follows from it.
    pub severity: Severity,
    /// What it speaks of.
    pub subject: Subject,
    /// The replica that it speaks of, where it is one.
    pub replica: Option<String>,
    /// What is wrong, one line.
    pub message: String,
    /// The numbers that show it, by name; units are in the names.
    pub evidence: Value,
    /// What most likely brought it about.
    pub cause: String,
    /// What to do about it.
    #[serde(flatten, with = "hint")]
    pub hint: String,
}

/// What follows from an anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The result is invalid.
    Error,
    /// The result stands, and whoever reads it must know this.
    Warning,
    /// Worth knowing.
    Info,
}

/// What an anomaly speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// This result.
    Result,
    /// The baseline that it is compared with; our own result stands in any case.
    Baseline,
}

impl Anomaly {
    /// Whether it makes the result invalid.
    pub fn invalidates(&self) -> bool {
        self.severity == Severity::Error && self.subject == Subject::Result
    }

    /// The same, said of one replica.
    pub(crate) fn of_replica(self, name: &str) -> Self {
        Self {
            replica: Some(name.to_owned()),
            ..self
        }
    }
}

/// The advice in a file: `hint`, and beside it `next`, which readers of the version before know it
/// by. Either is read.
mod hint {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Advice<'a> {
        hint: Option<std::borrow::Cow<'a, str>>,
        next: Option<std::borrow::Cow<'a, str>>,
    }

    pub(super) fn serialize<S: Serializer>(hint: &str, out: S) -> Result<S::Ok, S::Error> {
        let hint = Some(hint.into());
        let next = hint.clone();
        Advice { hint, next }.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
        let Advice { hint, next } = Advice::deserialize(input)?;
        Ok(hint.or(next).unwrap_or_default().into_owned())
    }
}
