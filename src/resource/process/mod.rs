//! What rooms share that hold a process of ours: its mark, its specification, how it is found.

mod mark;
mod spec;
mod table;

pub use mark::{Mark, UnreadableMark, hex};
pub use spec::{differences, fingerprint, secret_digest};
pub use table::{Listener, Owner, Process, ProcessTable, Session, question};
