//! What can keep a command from doing its work, each with its exit code.

use std::io;

use super::exit::Exit;
use crate::describe::describe;
use crate::manifest::ManifestError;
use crate::plan::Moved;
use crate::view::json::ErrorDocument;
use crate::view::words::count;

/// What kept a command from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest is wrong; its text shows every mistake.
    #[error("{0}")]
    Manifest(#[from] Box<ManifestError>),
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// Another run holds the lock of a node.
    #[error("{node} is locked by another run: {holder}")]
    Locked {
        /// The node.
        node: String,
        /// Who holds it, and since when.
        holder: String,
        /// How to get it.
        hint: String,
    },
    /// A saved plan does not hold.
    #[error("{file} no longer holds: {changed}{}", lines(.moved))]
    Stale {
        /// The saved plan.
        file: String,
        /// What made it so.
        changed: String,
        /// What is not as it was.
        moved: Vec<Moved>,
    },
    /// Something of this machine failed.
    #[error("{what}")]
    Here {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It cannot be done as things stand.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

impl Error {
    /// The exit code that says so.
    pub fn exit(&self) -> Exit {
        match self {
            Error::Manifest(_) => Exit::Manifest,
            Error::Usage(_) => Exit::Usage,
            Error::Locked { .. } => Exit::Locked,
            Error::Stale { .. } => Exit::Stale,
            Error::Here { .. } | Error::Refused { .. } => Exit::Failed,
        }
    }

    /// The same for a machine.
    pub fn document(&self) -> ErrorDocument {
        let exit = self.exit() as u8;
        match self {
            Error::Manifest(error) => {
                let number = error.problems().len();
                let message = format!("{} in {}", count(number, "error"), error.file());
                ErrorDocument::new("manifest", exit, message, Vec::new()).of_manifest(error)
            }
            Error::Stale { moved, .. } => {
                ErrorDocument::new(self.code(), exit, describe(self), self.hints()).of_moved(moved)
            }
            other => ErrorDocument::new(other.code(), exit, describe(other), other.hints()),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Error::Manifest(_) => "manifest",
            Error::Usage(_) => "usage",
            Error::Locked { .. } => "locked",
            Error::Stale { .. } => "stale",
            Error::Here { .. } => "io",
            Error::Refused { .. } => "refused",
        }
    }

    /// What to do about it.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Error::Locked { hint, .. } => vec![hint.clone()],
            Error::Stale { .. } => vec!["nothing was changed; plan again".to_owned()],
            Error::Refused { hint, .. } => hint.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// The same, with one thing more that helps.
    #[must_use]
    pub fn also(self, more: String) -> Self {
        match self {
            Error::Refused { message, hint } => Error::Refused {
                message,
                hint: Some(match hint {
                    Some(hint) => format!("{hint}; {more}"),
                    None => more,
                }),
            },
            other => other,
        }
    }

    /// A refusal with what to do about it.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Refused {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

impl From<ManifestError> for Error {
    fn from(error: ManifestError) -> Self {
        Error::Manifest(Box::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Error::Here {
            what: "this machine did not do as it was asked".to_owned(),
            source,
        }
    }
}

/// What is not as it was, a line each.
fn lines(moved: &[Moved]) -> String {
    let lines: Vec<String> = moved.iter().map(|it| format!("\n  {it}")).collect();
    lines.concat()
}
