//! The exit codes, which scripts rely on.

use std::process::ExitCode;

/// What a command came to, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything is as declared; or there was nothing to do.
    Done = 0,
    /// It failed, and nothing was changed that a new apply would not put right.
    Failed = 1,
    /// Changes are pending (`plan --detailed-exitcode`, `status --exit-code`); or something was found
    /// (`doctor --exit-code`), or would be written otherwise (`fmt --check`).
    Pending = 2,
    /// A saved plan does not hold: what it rests on is not as it was.
    Stale = 3,
    /// A node could not be reached; the rest is as declared.
    Unreachable = 4,
    /// Another run holds the lock.
    Locked = 5,
    /// Some changes were made and others failed; applying again goes on from there.
    Partly = 6,
    /// A benchmark ran, and its result cannot be believed; or a strict comparison leaves something open.
    Invalid = 7,
    /// A benchmark ran, and missed its objective, or failed by a condition of its own; or an arm is worse
    /// than one that it is held against.
    Missed = 8,
    /// The command line is wrong.
    Usage = 64,
    /// The manifest is wrong.
    Manifest = 65,
    /// Something happened that cannot: a bug in replica. Please tell us.
    Bug = 70,
    /// It was interrupted; applying again goes on from there.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
