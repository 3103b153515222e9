//! The room of the instance.

mod declared;

pub use declared::*;
