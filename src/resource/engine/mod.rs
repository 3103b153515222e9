//! The room of the engine.

mod declared;

pub use declared::*;
