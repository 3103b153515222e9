//! Moving a model from one node to another: what `apply` runs at both ends of a copy.
//!
//! [`offer`] lists a snapshot of a Hugging Face cache and hands out pieces of its files to whoever
//! knows a token; [`fetch`] takes them over many connections, into the cache of its own node. The
//! token and the listing go from one to the other through `apply`, over SSH; only the bytes of the
//! files go straight from node to node, and each file is believed by its digest alone. They are sealed
//! with keys that come of the token ([`sealed`]), but for networks that the manifest trusts.
//!
//! A file comes into its place whole: pieces go to a file beside its blob ([`part`]), which is read
//! once, in order, for its digest, while the rest still arrives ([`receive`]). Then the blob gets
//! its name, then the snapshot its links, then `refs/main` its commit ([`snapshot`]).
//!
//! [`measure()`] asks the same end, over as many connections, for bytes of its memory: how fast the way
//! between them is, whatever their disks are.
//!
//! Threads and plain sockets do this, not the runtime: what is sent is sealed by several threads at
//! once (in the clear, the kernel moves it by itself), and what is received is hashed by the second.

mod digest;
mod measure;
mod part;
mod receive;
mod sealed;
mod send;
mod snapshot;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

pub use measure::measure;
pub use receive::fetch;
pub use send::{Offering, offer};

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path in the snapshot: `config.json`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What its content is known by: SHA-256, or the SHA-1 that git gives it, in hex. Its blob is
    /// called so.
    pub digest: String,
}

/// A snapshot, without the bytes of its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The commit.
    pub revision: String,
    /// Its files, in the order of their paths.
    pub files: Vec<File>,
    /// What the hub tells of the commit, where its tools kept it: `trees/<commit>.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
}

/// What the end that has the model is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Offer {
    /// The folder of the repository in its cache; without one, it has bytes of its memory alone.
    pub repo: Option<String>,
    /// The commit; without one, what `refs/main` says.
    pub revision: Option<String>,
    /// The address to listen on.
    pub listen: String,
    /// What whoever asks must know.
    pub token: String,
    /// Whether the bytes go in the clear: the network is declared so.
    #[serde(default)]
    pub trusted: bool,
}

/// What the end that lacks the model is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fetch {
    /// The folder of the repository in its cache.
    pub repo: String,
    /// What to dial: an address of the other end.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// What the other end wants to be known.
    pub token: String,
    /// Whether the bytes come in the clear, as the other end was told too.
    #[serde(default)]
    pub trusted: bool,
    /// What to fetch.
    pub listing: Listing,
    /// Whether `refs/main` is to name the commit.
    pub names_main: bool,
}

/// What an end that measures the way to another is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measure {
    /// What to dial: an address of the other end.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// What the other end wants to be known.
    pub token: String,
    /// Whether the bytes come in the clear, as the other end was told too.
    #[serde(default)]
    pub trusted: bool,
}

/// How fast a way is, from the end that was asked to the one that asks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// What came, in Gb/s.
    pub gbit_per_s: f64,
    /// How long a word takes there and back while nothing else goes, the median, in ms.
    pub rtt_ms: f64,
    /// How long it was counted what comes, in seconds.
    pub seconds: f64,
    /// Over so many connections.
    pub connections: usize,
}

/// How far a fetch has come, in bytes whose digest was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// So many are done.
    pub done: u64,
    /// Of so many.
    pub of: u64,
    /// So many in a second, of late.
    pub per_second: u64,
}

/// What either end says to `apply`: a line each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// The port on which it listens.
    Port(u16),
    /// What is offered there.
    Listing(Listing),
    /// How far it has come.
    Moved(Moved),
    /// How fast the way is.
    Measured(Measured),
    /// Why it ends.
    Failed(Error),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl Said {
    /// Reads a line; nothing where it is none of these.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// Why a copy failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The cause, in one line.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Whether it is one of ours: it cannot happen, and has happened.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_bug: bool,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            is_bug: false,
        }
    }

    fn hinted(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    /// The error of something that was done with a file here.
    fn of_file(what: impl fmt::Display, error: &io::Error) -> Self {
        let failed = Self::new(format!("{what}: {error}"));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failed.hinted(
                "make room on that disk and apply again: what was copied is kept, and not copied twice",
            ),
            io::ErrorKind::PermissionDenied => {
                failed.hinted("the cache must belong to the user that apply logs in as")
            }
            _ => failed,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self {
            is_bug: true,
            ..Self::new(error.to_string())
        }
    }
}
