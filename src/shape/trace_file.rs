//! The file of a trace: where it lies, how it is read, and what it holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::format::Format;
use crate::hex::hex;

/// A file with the requests of real users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFile {
    /// Where it lies, relative to the manifest.
    pub path: PathBuf,
    /// How it is read.
    pub format: Format,
    /// The digest that it must have, in hex.
    pub sha256: Option<String>,
}

/// A request of a trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// When it came, from the first one, as the trace has it.
    pub at: Duration,
    /// Tokens of its prompt.
    pub input: u32,
    /// Tokens of its answer.
    pub output: u32,
    /// The blocks of its prompt, 512 tokens each: what has the same has the same prefix.
    pub blocks: Vec<u64>,
}

/// What was read of a trace.
#[derive(Debug, Clone)]
pub struct ReadTrace {
    /// Its requests, in the order of their times.
    pub requests: Arc<[TraceRequest]>,
    /// The digest of the file, in hex.
    pub sha256: String,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnreadableTrace {
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl TraceFile {
    /// Reads it, as it lies in a folder.
    ///
    /// # Errors
    ///
    /// When there is no such file, it is another one, or it is no trace of this format.
    pub fn read(&self, folder: &Path) -> Result<ReadTrace, UnreadableTrace> {
        let name = self.path.display();
        let bytes = fs::read(folder.join(&self.path)).map_err(|error| UnreadableTrace {
            message: format!("cannot read `{name}`: {error}"),
            hint: "a trace lies beside the manifest".to_owned(),
        })?;
        let sha256 = hex(&Sha256::digest(&bytes));
        let is_another = |wanted: &String| !wanted.eq_ignore_ascii_case(&sha256);
        if self.sha256.as_ref().is_some_and(is_another) {
            return Err(UnreadableTrace {
                message: format!("`{name}` is another file than `sha256` says"),
                hint: format!("its digest is {sha256}"),
            });
        }
        let text = String::from_utf8(bytes).map_err(|_| self.unreadable("it is no text"))?;
        let requests = self.format.read(&text);
        Ok(ReadTrace {
            requests: requests.map_err(|why| self.unreadable(&why))?.into(),
            sha256,
        })
    }

    fn unreadable(&self, why: &str) -> UnreadableTrace {
        UnreadableTrace {
            message: format!("`{}` is no trace: {why}", self.path.display()),
            hint: format!("a trace of this format has {}", self.format.needs()),
        }
    }
}
