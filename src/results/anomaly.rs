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
    pub next: String,
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

/// Says whether an anomaly makes the result invalid.
pub(crate) fn invalidates(anomaly: &Anomaly) -> bool {
    anomaly.severity == Severity::Error && anomaly.subject == Subject::Result
}
