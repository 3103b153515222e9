//! What everybody who speaks over a network needs: how a host and its port are written, room for many
//! connections, and where the body of an HTTP answer stands.

mod authority;
pub mod file_table;
mod framing;
mod listen_address;
mod server_url;

pub use authority::Authority;
pub use framing::{Decoder, Framing, Malformed, Taken};
pub use listen_address::{InvalidListenAddress, ListenAddress};
pub use server_url::{InvalidServerUrl, ServerUrl};
