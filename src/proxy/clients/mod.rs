//! The connections of clients: what each is about, and how long it may be.

mod ahead;
mod patience;
mod room;
mod standing;
mod stream;

pub(super) use patience::{Alarm, Patience};
pub(super) use room::{Clients, Guest};
pub(super) use standing::During;
pub(super) use stream::{ClientStream, Late};
