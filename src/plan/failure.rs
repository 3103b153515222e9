//! Why something failed, with what a person needs to go on.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The world's: a full disk, a server that dies, a node that is away.
    World,
    /// Ours: what cannot happen has happened.
    Bug,
    /// It was cut off on the way, and whether it was done is unknown: only another look tells.
    Interrupted,
}

/// Why something failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// Whose it is.
    pub kind: FailureKind,
    /// The cause, one line: lower case, no full stop.
    pub message: String,
    /// The error that it was, with its own causes, where there was one.
    #[serde(skip)]
    pub source: Option<Arc<dyn Error + Send + Sync>>,
    /// The last lines of the log that belongs to it, oldest first; at most twenty.
    pub log: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of the world, with its cause alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::World,
            message: message.into(),
            source: None,
            log: Vec::new(),
            hint: None,
        }
    }

    /// A failure of ours. That it is one is said by whoever shows it.
    pub fn bug(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Bug,
            ..Self::new(message)
        }
    }

    /// The failure of what was cut off on the way.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Interrupted,
            ..Self::new(message)
        }
    }

    /// A failure of the world that an error tells of, which is kept with its own causes.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(error.to_string()).caused_by(error)
    }

    /// Adds the error that it was.
    #[must_use]
    pub fn caused_by(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(error));
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the last lines of a log.
    #[must_use]
    pub fn logged(mut self, log: Vec<String>) -> Self {
        self.log = log;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

/// Two failures are the same when they tell the same; errors themselves cannot be compared.
impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        let told = |it: &Self| (it.kind, it.message.clone(), it.log.clone(), it.hint.clone());
        told(self) == told(other)
    }
}

impl Eq for Failure {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_stays_the_cause_of_its_failure() {
        let failure = Failure::of(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(failure.to_string(), "entity not found");
        let source = failure.source().unwrap();
        let source = source.downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_written_names_the_kind_and_no_error() {
        let failure = Failure::bug("it cannot be").hinted("tell us");
        let written = serde_json::json!({"kind": "bug", "message": "it cannot be", "log": [], "hint": "tell us"});
        assert_eq!(serde_json::json!(failure), written);
        assert_ne!(failure, Failure::new("it cannot be").hinted("tell us"));
    }
}
