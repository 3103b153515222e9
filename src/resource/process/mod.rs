//! What rooms share that hold a process of ours: its mark, its specification, how it is
//! found, and what of ours runs there.

pub(super) mod forwarding;
pub(super) mod found;
pub(super) mod listening;
mod managed;
mod mark;
mod one;
mod spec;
pub(super) mod supervision;
mod table;
mod unmanaged;

pub use managed::{Care, Condition, ManagedProcess, Moved};
pub use mark::{Mark, UnreadableMark};
pub use one::Process;
pub use spec::{PLAIN_DIGEST, differences, fingerprint, plain_digest};
pub use supervision::Supervision;
pub use table::{Listener, Owner, ProcessTable, Session, fact};
pub use unmanaged::{Ownership, UnmanagedProcess, UnmanagedServer};
