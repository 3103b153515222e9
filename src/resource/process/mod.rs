//! What rooms share that hold a process of ours: its mark, its specification, how it is
//! found, and its seat on a node.

mod foreign;
pub(super) mod found;
mod mark;
mod one;
mod seat;
mod spec;
mod table;

pub use foreign::{Foreign, StaleServer, Standing};
pub use mark::{Mark, UnreadableMark};
pub use one::Process;
pub use seat::Seat;
pub use spec::{differences, fingerprint, secret_digest};
pub use table::{Listener, Owner, ProcessTable, Session, question};
