//! The connections of clients: what each is about, and how long it may be.

mod ahead;
mod beginning;
mod during;
mod parting;
mod room;
mod self_wake;
mod stalled;
mod standing;
mod stream;

pub(super) use during::During;
pub(super) use room::{Clients, Guest};
pub(super) use self_wake::{Wakers, poll_piece};
pub(super) use stalled::{bounded, noted};
pub(super) use standing::{Asked, Told};
pub(super) use stream::{ClientStream, Late};
