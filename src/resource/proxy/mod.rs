//! The room of the proxy.

mod declared;

pub use declared::*;
