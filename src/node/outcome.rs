//! What comes back from a node: an outcome, or why there is none.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::name::NodeName;

/// What to do about an sshd that forbids forwarding.
pub const ALLOW_FORWARDING: &str = "let its sshd through to it (AllowTcpForwarding, PermitOpen, \
    DisableForwarding), and this key (no-port-forwarding, restrict, permitopen in \
    authorized_keys); or run replica on that machine, and declare the node as `ssh: local`";

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It ended by itself, with this status.
    Exit(i32),
    /// A signal ended it: `KILL`, `TERM`.
    Signal(String),
}

impl ExitStatus {
    /// Whether the command succeeded.
    pub fn success(&self) -> bool {
        *self == ExitStatus::Exit(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exit(code) => write!(f, "exit status {code}"),
            ExitStatus::Signal(name) => write!(f, "signal {name}"),
        }
    }
}

/// Everything that a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, byte for byte, and nothing else.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the command succeeded.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The standard output as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// The standard error as text.
    pub fn error_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stderr)
    }

    /// The last line of the standard error that says something, or how the command ended.
    pub fn complaint(&self) -> String {
        let error = self.error_text();
        match error.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => line.trim().to_owned(),
            None => self.status.to_string(),
        }
    }
}

/// One line of a command that is still running, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Of its standard output.
    Out(String),
    /// Of its standard error.
    Err(String),
}

/// Why a node gave no outcome.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The connection went away before the command's status came. It may have run to its end, and
    /// may be running still: only another look tells.
    #[error(
        "the connection to `{node}` was lost while a command ran there; whether it finished is unknown"
    )]
    OutcomeUnknown {
        /// The node.
        node: NodeName,
    },
    /// The connection was gone already: nothing was sent.
    #[error("the connection to `{node}` is gone")]
    Disconnected {
        /// The node.
        node: NodeName,
    },
    /// The node opens no session, although it was asked more than once.
    #[error("`{node}` opens no session: {reason}")]
    NoSession {
        /// The node.
        node: NodeName,
        /// What it answered.
        reason: String,
    },
    /// What runs at login there is not a shell that runs ours.
    #[error("`{node}` runs no shell for us; it says: {said}")]
    NoShell {
        /// The node.
        node: NodeName,
        /// What came instead.
        said: String,
    },
    /// A script that no shell can be given: shells drop the character, or end there.
    #[error("a value for `{node}` has a NUL character in it, which no shell can be given")]
    HoldsNul {
        /// The node.
        node: NodeName,
    },
    /// A port of the node cannot be dialled.
    #[error("{host}:{port} cannot be dialled from `{node}`: {reason}")]
    NotDialled {
        /// The node.
        node: NodeName,
        /// The host, as the node was to dial it.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// The node's sshd lets nobody through to a port, whoever listens there.
    #[error("{host}:{port} cannot be dialled from `{node}`: its sshd forbids forwarding")]
    Forbidden {
        /// The node.
        node: NodeName,
        /// The host, as the node was to dial it.
        host: String,
        /// The port.
        port: u16,
    },
    /// An HTTP exchange broke off.
    #[error("no usable answer from {host}:{port} on `{node}`: {reason}")]
    NoAnswer {
        /// The node.
        node: NodeName,
        /// The host, as the node was to dial it.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// Nothing came in the time that was allowed.
    #[error("no answer from {host}:{port} on `{node}` within {:.1} s", after.as_secs_f64())]
    TimedOut {
        /// The node.
        node: NodeName,
        /// The host, as the node was to dial it.
        host: String,
        /// The port.
        port: u16,
        /// The time that was allowed.
        after: Duration,
    },
    /// A file of this machine cannot be sent.
    #[error("`{path}` cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file did not take its place; the one that stood there still does.
    #[error("`{target}` was not written on `{node}`: {reason}")]
    NotWritten {
        /// The node.
        node: NodeName,
        /// The path there.
        target: String,
        /// Why.
        reason: String,
    },
}

impl NodeError {
    /// Whether the connection is lost, so that nothing more comes from this node.
    pub fn is_connection_lost(&self) -> bool {
        matches!(
            self,
            NodeError::OutcomeUnknown { .. } | NodeError::Disconnected { .. }
        )
    }
}
