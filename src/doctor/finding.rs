//! What was found, and what finds it.

use serde::Serialize;
use serde_json::Value;

use super::Case;
use crate::name::NodeName;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It makes an apply fail, or a result wrong.
    Problem,
    /// It did so for others.
    Warning,
    /// It is worth knowing.
    Note,
}

/// Something that a node's owner should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The number of the check: `M1`.
    pub id: String,
    /// What it looks for.
    pub name: String,
    /// How much it matters.
    pub severity: Severity,
    /// The nodes that it is about.
    pub nodes: Vec<NodeName>,
    /// What is so, one line.
    pub message: String,
    /// The numbers that show it, by name; units are in the names.
    pub evidence: Value,
    /// Why it matters.
    pub why: String,
    /// What mends it: a line to type, or to write.
    pub hint: String,
    /// The public report that it rests on, where no such machine was at hand to try it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<String>,
}

/// A check: its name, and what it finds. It keeps silent unless it can show evidence, and say what to do.
pub(super) struct Check {
    /// Its number: a letter for what it is of, memory, fabric or the machine itself.
    pub(super) id: &'static str,
    /// What it looks for.
    pub(super) name: &'static str,
    /// Why what it finds matters.
    pub(super) why: &'static str,
    /// The public report that it rests on.
    pub(super) reported: Option<&'static str>,
    pub(super) look: fn(&Case<'_>) -> Vec<Found>,
}

/// What a check finds.
pub(super) struct Found {
    pub(super) severity: Severity,
    pub(super) nodes: Vec<NodeName>,
    pub(super) message: String,
    pub(super) evidence: Value,
    pub(super) hint: String,
}

impl Check {
    /// All that it finds.
    pub(super) fn findings(&self, case: &Case<'_>) -> Vec<Finding> {
        let found = (self.look)(case).into_iter();
        found
            .map(|found| Finding {
                id: self.id.to_owned(),
                name: self.name.to_owned(),
                severity: found.severity,
                nodes: found.nodes,
                message: found.message,
                evidence: found.evidence,
                why: self.why.to_owned(),
                hint: found.hint,
                reported: self.reported.map(str::to_owned),
            })
            .collect()
    }
}
