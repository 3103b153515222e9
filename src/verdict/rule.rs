//! A rule, and what it finds.

use serde_json::Value;

use super::Case;
use crate::results::{Anomaly, Severity, Subject};

/// A rule: its name, and what it finds in a case. It keeps silent unless it can show evidence, name
/// the likely cause, and say what to do next.
pub(super) struct Rule {
    /// Its number: `A6`.
    pub(super) id: &'static str,
    /// What it looks for: `cold replica`.
    pub(super) name: &'static str,
    pub(super) check: fn(&Case<'_>) -> Vec<Anomaly>,
}

/// What a rule finds.
pub(super) struct Finding {
    /// What is wrong, one line.
    pub(super) message: String,
    /// The numbers that show it, by name; units are in the names.
    pub(super) evidence: Value,
    /// What most likely brought it about.
    pub(super) cause: String,
    /// What to do about it.
    pub(super) hint: String,
}

impl Rule {
    /// Speaks of the result.
    pub(super) fn speak(&self, severity: Severity, finding: Finding) -> Anomaly {
        self.speak_of(Subject::Result, severity, finding)
    }

    /// Speaks of the baseline; our own result stands in any case.
    pub(super) fn speak_of_baseline(&self, finding: Finding) -> Anomaly {
        self.speak_of(Subject::Baseline, Severity::Warning, finding)
    }

    fn speak_of(&self, subject: Subject, severity: Severity, finding: Finding) -> Anomaly {
        Anomaly {
            id: self.id.to_owned(),
            name: self.name.to_owned(),
            severity,
            subject,
            replica: None,
            message: finding.message,
            evidence: finding.evidence,
            cause: finding.cause,
            hint: finding.hint,
        }
    }
}
