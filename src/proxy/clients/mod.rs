//! The connections of clients: what each is about, and how long it may be.

mod patience;
mod standing;
mod stream;

pub(super) use patience::Patience;
pub(super) use standing::{During, Standing};
pub(super) use stream::ClientStream;
