//! The simulator from outside: over HTTP, and as a process.

pub(super) mod entry;
