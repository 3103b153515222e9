//! Where effects happen: a command as a value, and the two sorts of node that run it.
//!
//! [`Node::connect`] reaches a node; [`Node::run`], [`Node::stream`], [`Node::hold`],
//! [`Node::dial`] and [`Node::http`] are all that can be done with it. A command
//! is a POSIX shell script that travels on standard input; [`quote`] is the one place that quotes.
//! [`perform`] has the verbs that a plan is made of.

mod command;
mod declared;
mod fleet;
mod frame;
mod held;
mod http;
mod lease;
mod lines;
mod local;
mod network_address;
mod node_key;
mod outcome;
pub mod perform;
mod running;
mod ssh;
mod stream;
mod transport;
mod unreachable;
mod variable;

#[cfg(test)]
mod tests;

pub use command::{Command, LOG_TEXT, quote, quote_path};
pub use declared::{
    InvalidReach, NodeDeclaration, Reach, SecretsPolicy, SupervisorPolicy, UnmanagedPolicy,
};
pub use fleet::Fleet;
pub use held::Held;
pub use http::{HttpAnswer, HttpConnection, HttpRequest};
pub use lease::{LEASE, Lapsed, Lease};
pub use local::LocalNode;
pub use network_address::NetworkAddress;
pub use node_key::{InvalidNodeKey, NodeKey};
pub use outcome::{ALLOW_FORWARDING, ExitStatus, Line, NodeError, Output};
pub use ssh::{Bastions, ConnectOptions, Doors, SshNode, configured_hosts};
pub use stream::Stream;
pub use transport::Node;
pub use unreachable::{KnownBy, Obstacle, Unreachable};
pub use variable::variable;
