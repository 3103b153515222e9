//! What clients may take of the proxy, and for how long.

use std::time::Duration;

/// The bounds on the client's side. The README tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a client may take nothing of what is being written to it, where the configuration
    /// says nothing else. nginx's `send_timeout` is as long.
    pub client: Duration,
    /// How long a client may take for the head of a request, from its first byte on.
    pub head: Duration,
    /// How long a client may keep a connection on which it asks nothing. Longer than any client's
    /// pool that we know (reqwest and Go keep theirs for 90 s), so that it is the client that
    /// closes: a request sent into a connection that the proxy was just closing would be lost.
    pub idle: Duration,
    /// How long a client may send nothing of a body that it has begun to send.
    pub stall: Duration,
    /// The largest body, in bytes.
    pub body: u64,
    /// How many bytes of all bodies together may be held until they are answered.
    pub held: u64,
    /// How many clients may be connected; nothing for half of the open files that this process may
    /// have, as each of their requests takes another for its instance.
    pub clients: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            client: Duration::from_secs(60),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            body: 512 << 20,
            held: 256 << 20,
            clients: None,
        }
    }
}
