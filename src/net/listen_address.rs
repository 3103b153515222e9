//! Where a server listens, as one writes it: `127.0.0.1:8000`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::Authority;
use crate::written::{ADDRESS, parsed};

/// An address or a name of this machine, and a port of it.
///
/// ```
/// use replica::net::ListenAddress;
/// let listen: ListenAddress = "[::1]:8000".parse().unwrap();
/// assert_eq!((listen.host.as_str(), listen.port), ("::1", 8000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address or the name, without brackets.
    pub host: String,
    /// The port; 0 for any that is free.
    pub port: u16,
}

/// A text that is no address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no address and port: write `127.0.0.1:8000`, or `0.0.0.0:8000` for every address of this machine"
)]
pub struct InvalidListenAddress;

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, InvalidListenAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidListenAddress)?;
        let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        // Where an IPv6 address ends, only brackets tell.
        let host = match bracketed {
            Some(host) => host,
            None if host.contains([':', '[', ']', '/']) => return Err(InvalidListenAddress),
            None => host,
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number && !host.is_empty());
        Ok(Self {
            host: host.to_owned(),
            port: port.ok_or(InvalidListenAddress)?,
        })
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, ADDRESS)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Authority::new(&self.host, self.port).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_port_are_read_and_nothing_else() {
        for text in [
            "127.0.0.1:8000",
            "localhost:0",
            "[::1]:8000",
            "0.0.0.0:65535",
        ] {
            let read = text.parse::<ListenAddress>();
            assert_eq!(read.unwrap().to_string(), text);
        }
        for text in [
            "",
            "8000",
            ":8000",
            "::1:8000",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:+1",
            "127.0.0.1:70000",
            "http://127.0.0.1:8000",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
