//! What a result does not prove of the servers that it is of.
//!
//! What a manifest declares is proved: who answers, what it runs, that it is the same before and after,
//! what it counted, and that its machine is not in a slow state. Of an endpoint that is known by its
//! address alone, a client sees no more than its answers.

use serde::{Deserialize, Serialize};

use crate::plan::Job;

/// One thing that a result does not prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unproved {
    /// Who answers: no process has shown the name that only it has, and how many there are is not known.
    Identity,
    /// What they run: versions, arguments, the revision of the model.
    Software,
    /// What their machines are like: GPUs, clocks, pressure, and whether a process was started anew.
    Conditions,
    /// What the engines counted: other traffic, hits of caches, preemptions.
    Counts,
    /// A canary of every instance: a machine that is slow for itself does not show.
    Canary,
}

impl Unproved {
    /// All of it.
    pub const ALL: [Self; 5] = [
        Self::Identity,
        Self::Software,
        Self::Conditions,
        Self::Counts,
        Self::Canary,
    ];

    /// What a job leaves unproved: all of it where it knows no instance.
    pub(crate) fn by(job: &Job) -> Vec<Self> {
        if job.instances.is_empty() {
            Self::ALL.to_vec()
        } else {
            Vec::new()
        }
    }

    /// What a reader is told that nothing proves.
    pub fn words(self) -> &'static str {
        match self {
            Self::Identity => "who answers",
            Self::Software => "what they run",
            Self::Conditions => "how their machines were before and after",
            Self::Counts => "who else they worked for",
            Self::Canary => "whether one of them is slow for itself",
        }
    }
}
