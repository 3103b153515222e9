//! A host and its port, as one writes them together.

use std::fmt;

/// `host:port`, with brackets where the host is an IPv6 address.
///
/// ```
/// use replica::net::Authority;
/// assert_eq!(Authority::new("10.0.0.1", 80).to_string(), "10.0.0.1:80");
/// assert_eq!(Authority::new("::1", 80).to_string(), "[::1]:80");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    host: &'a str,
    port: u16,
}

impl<'a> Authority<'a> {
    /// A port of a host.
    pub fn new(host: &'a str, port: u16) -> Self {
        Self { host, port }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}
