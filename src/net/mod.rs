//! What everybody who speaks over a network needs: how a host and its port are written, a TCP stream
//! that tells of its traffic, room for many of them, and where the body of an HTTP answer stands.

mod authority;
pub mod file_table;
mod framing;
mod tapped;

pub use authority::Authority;
pub use framing::{Decoder, Framing, Malformed, Taken};
pub use tapped::{Tap, Tapped};
