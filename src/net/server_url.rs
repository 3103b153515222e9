//! A server, as one writes where it is: `http://10.0.0.7:8000`.

use std::str::FromStr;

use hyper::Uri;
use serde::{Deserialize, Deserializer};

use crate::written::{SERVER_URL, parsed};

/// The port of HTTP where none is written.
const HTTP: u16 = 80;

/// A server that is spoken to over plain HTTP.
///
/// ```
/// use replica::net::ServerUrl;
/// let server: ServerUrl = "http://10.0.0.7".parse().unwrap();
/// assert_eq!(server.authority(), "10.0.0.7:80");
/// assert!("https://10.0.0.7".parse::<ServerUrl>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    authority: String,
}

/// Why a text does not say where a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidServerUrl {
    /// It is no address at all.
    #[error("no address of a server: write `http://HOST:PORT`")]
    NoUrl,
    /// It says a host and no scheme.
    #[error("it does not say how the server is spoken to: write `http://` before it")]
    NoScheme,
    /// The server is to be spoken to over TLS.
    #[error(
        "servers are spoken to over plain HTTP: have something that ends TLS listen on this machine \
         (stunnel, nginx), and name that: `http://127.0.0.1:PORT`"
    )]
    Tls,
    /// It has a path, or more.
    #[error(
        "it ends behind the port: a request keeps the path that its client asks for, `/v1` included"
    )]
    Path,
    /// It has a user in it.
    #[error("it has no user and no password: a key is named by the variable that holds it")]
    User,
    /// Nobody listens on port 0.
    #[error("its port is a number from 1 to 65535")]
    Port,
}

impl ServerUrl {
    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        let url: Uri = text.parse().map_err(|_| InvalidServerUrl::NoUrl)?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(InvalidServerUrl::Tls),
            Some(_) => return Err(InvalidServerUrl::NoUrl),
            None => return Err(InvalidServerUrl::NoScheme),
        }
        let authority = url.authority().ok_or(InvalidServerUrl::NoUrl)?;
        if authority.as_str().contains('@') {
            return Err(InvalidServerUrl::User);
        }
        if url.path() != "/" || url.query().is_some() || text.ends_with('#') {
            return Err(InvalidServerUrl::Path);
        }
        let host = authority.host();
        let written = authority.as_str().strip_prefix(host).unwrap_or_default();
        let port = match written.strip_prefix(':') {
            None => HTTP,
            Some(port) => port.parse().map_err(|_| InvalidServerUrl::Port)?,
        };
        if host.is_empty() || port == 0 {
            return Err(InvalidServerUrl::Port);
        }
        Ok(Self {
            authority: format!("{host}:{port}"),
        })
    }
}

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, SERVER_URL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        for (text, authority) in [
            ("http://10.0.0.7:8000", "10.0.0.7:8000"),
            ("http://gpu-1:8000/", "gpu-1:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://[::1]", "[::1]:80"),
            ("HTTP://gpu-1", "gpu-1:80"),
        ] {
            let read = text.parse::<ServerUrl>();
            assert_eq!(read.unwrap().authority(), authority, "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_told_why() {
        use InvalidServerUrl::{NoScheme, NoUrl, Path, Port, Tls, User};
        for (text, why) in [
            ("", NoUrl),
            ("http://", NoUrl),
            ("ftp://gpu-1", NoUrl),
            ("gpu-1:8000", NoScheme),
            ("/v1", NoScheme),
            ("https://gpu-1", Tls),
            ("http://gpu-1:8000/v1", Path),
            ("http://gpu-1:8000/?a", Path),
            ("http://me:secret@gpu-1:8000", User),
            ("http://gpu-1:0", Port),
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(why), "{text}");
        }
    }
}
