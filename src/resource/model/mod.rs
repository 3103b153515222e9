//! The room of the model.

mod declared;

pub use declared::*;
