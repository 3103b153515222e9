//! What everybody who speaks over a network needs: how a host and its port are written, and a TCP
//! stream that tells of its traffic, and room for many of them.

mod authority;
pub mod file_table;
mod tapped;

pub use authority::Authority;
pub use tapped::{Tap, Tapped};
