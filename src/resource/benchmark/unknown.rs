//! A server that no manifest declares: it is known by its URL, and nothing is proved of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde_json::json;

use super::job::{Asked, terms};
use super::{Files, Measurement, fingerprint};
use crate::name::{BenchmarkName, TopologyName};
use crate::net::Authority;
use crate::plan::effect::Secret;
use crate::plan::{Endpoint, Failure, Job};
use crate::prompts::{IdWindow, Reading};

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// As much of a host's name as a folder is called by.
const MOST_OF_A_HOST: usize = 50;

/// Where an OpenAI-compatible server is asked: `http://host:port`.
///
/// ```
/// use replica::resource::benchmark::UnknownServer;
/// let server: UnknownServer = "http://[::1]:8000/v1/".parse().unwrap();
/// assert_eq!(server.authority(), "[::1]:8000");
/// assert!("https://example.org".parse::<UnknownServer>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownServer {
    host: String,
    port: u16,
}

/// Why a text is no URL that can be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {hint}")]
pub struct InvalidUrl {
    message: String,
    hint: String,
}

impl InvalidUrl {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self { message, hint }
    }
}

impl FromStr for UnknownServer {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let rest = without_scheme(text)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            // What stands before it may be a password, and is not repeated.
            return Err(InvalidUrl::new(
                "a user's name stands before the host",
                "leave it out; a key is named by the variable that holds it, `--api-key-env NAME`",
            ));
        }
        if !matches!(path, "" | "/" | "/v1" | "/v1/") {
            return Err(InvalidUrl::new(
                format!("`{path}` stands after the host"),
                format!(
                    "write `http://{authority}`: the route is told by `--api`, and is \
                     /v1/completions or /v1/chat/completions"
                ),
            ));
        }
        let (host, port) = host_and_port(authority)?;
        let port = match port {
            None => HTTP_PORT,
            Some(text) => text
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| {
                    InvalidUrl::new(format!("`{text}` is no port"), "a port is 1 to 65535")
                })?,
        };
        Ok(Self { host, port })
    }
}

fn without_scheme(text: &str) -> Result<&str, InvalidUrl> {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok(rest),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => Err(InvalidUrl::new(
            "what is measured speaks plain HTTP here, and no TLS",
            "measure on the server's side of it, or through a tunnel: `ssh -L \
             8000:127.0.0.1:8000 HOST`, then `--url http://127.0.0.1:8000`",
        )),
        Some((scheme, rest)) => Err(InvalidUrl::new(
            format!("`{scheme}` is no scheme of such a server"),
            format!("write `http://{rest}`"),
        )),
        None => Err(InvalidUrl::new(
            format!("`{text}` has no scheme"),
            format!("write `http://{text}`"),
        )),
    }
}

/// A host, without the brackets of an IPv6 address, and what stands for its port.
fn host_and_port(authority: &str) -> Result<(String, Option<&str>), InvalidUrl> {
    if let Some((address, rest)) = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        let port = rest.strip_prefix(':');
        if address.parse::<Ipv6Addr>().is_err() || (port.is_none() && !rest.is_empty()) {
            let what = format!("`{authority}` is no address");
            return Err(InvalidUrl::new(what, "write it as in `http://[::1]:8000`"));
        }
        return Ok((address.to_owned(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    if port.is_some_and(|port| port.contains(':')) {
        let what = format!("`{authority}` is no host and port");
        let hint = "an IPv6 address stands in brackets, as in `http://[::1]:8000`";
        return Err(InvalidUrl::new(what, hint));
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.is_empty() || !host.chars().all(is_good) {
        let what = format!("`{host}` is no host");
        return Err(InvalidUrl::new(
            what,
            "write it as in `http://127.0.0.1:8000`",
        ));
    }
    Ok((host.to_owned(), port))
}

impl fmt::Display for UnknownServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

impl UnknownServer {
    /// `host:port`, dialled from this machine.
    pub fn authority(&self) -> String {
        Authority::new(&self.host, self.port).to_string()
    }

    /// What its results lie under, in the place of a topology's name: `127.0.0.1-8000`.
    pub fn name(&self) -> TopologyName {
        let host = if self.host.contains(':') {
            format!("ipv6-{}", self.host.replace(':', "_"))
        } else {
            self.host.clone()
        };
        let begins_well = host.starts_with(|c: char| c.is_ascii_alphanumeric());
        let lead = if begins_well { "" } else { "host-" };
        let host: String = format!("{lead}{host}")
            .chars()
            .take(MOST_OF_A_HOST)
            .collect();
        let name = format!("{host}-{}", self.port).parse();
        name.expect("a host is letters, digits and `-._`")
    }

    /// A job that asks a benchmark of it. `key` is the variable that holds its API key.
    ///
    /// # Errors
    ///
    /// When a file of the benchmark cannot be read.
    pub fn job(
        &self,
        name: &BenchmarkName,
        declared: &Measurement,
        model: &str,
        key: Option<&str>,
        files: &Files,
    ) -> Result<Job, Failure> {
        let mut load = declared.load.clone();
        let read = load.read(&files.manifest);
        read.map_err(|why| Failure::new(why.message).hinted(why.hint))?;
        let reading = Reading {
            folder: &files.manifest,
            api: declared.api,
            max_tokens: declared.max_tokens,
        };
        let asks = declared.source.read(&reading);
        let asks = asks.map_err(|why| Failure::new(why.message).hinted(why.hint))?;
        let authority = self.authority();
        let job = terms(declared, &load, Some(&asks));
        let asked = Asked {
            // Nothing is known of its vocabulary.
            prompts: asks.out_of(IdWindow::safe(None)),
            load,
        };
        Ok(Job {
            name: name.to_string(),
            topology: self.name().to_string(),
            fingerprint: fingerprint(&json!({"job": job, "url": self.to_string(), "model": model})),
            endpoint: Endpoint {
                authority: authority.clone(),
                is_proxy: false,
                policy: None,
            },
            model: model.to_owned(),
            // Which instances there are to be asked apart, is not known.
            canary: 0,
            api_keys: BTreeMap::from_iter(
                key.map(|variable| (authority, Secret::Variable(variable.to_owned()))),
            ),
            provenance: json!({"name": self.name(), "url": self.to_string()}),
            ..asked.job(declared, files)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match text.parse::<UnknownServer>() {
            Ok(server) => format!("{} {}", server.authority(), server.name()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_is_a_host_and_a_port() {
        assert_eq!(
            said("http://localhost:8000"),
            "localhost:8000 localhost-8000"
        );
        assert_eq!(said("HTTP://10.0.0.1:80/"), "10.0.0.1:80 10.0.0.1-80");
        assert_eq!(said("http://gpu_a.lan/v1"), "gpu_a.lan:80 gpu_a.lan-80");
        assert_eq!(said("http://[::1]:8000/v1/"), "[::1]:8000 ipv6-__1-8000");
        assert_eq!(said("http://[fe80::1]"), "[fe80::1]:80 ipv6-fe80__1-80");
        assert_eq!(said("http://-x:1"), "-x:1 host--x-1");
        let long = format!("http://{}:8000", "h".repeat(200));
        assert!(said(&long).ends_with(&format!("{}-8000", "h".repeat(50))));
    }

    #[test]
    fn what_is_none_is_told_from_one_and_what_to_write() {
        for (text, expected) in [
            (
                "localhost:8000",
                "has no scheme: write `http://localhost:8000`",
            ),
            ("", "has no scheme"),
            ("https://h:1", "no TLS: measure on the server's side of it"),
            (
                "ftp://h:1",
                "`ftp` is no scheme of such a server: write `http://h:1`",
            ),
            ("http://h:1/v1/chat/completions", "write `http://h:1`"),
            ("http://h:1/?x=y", "`/?x=y` stands after the host"),
            ("http://h:1#a", "`#a` stands after the host"),
            ("http://h:0", "`0` is no port"),
            ("http://h:", "`` is no port"),
            ("http://h:80000", "`80000` is no port"),
            ("http://h:eighty", "`eighty` is no port"),
            ("http://", "`` is no host"),
            ("http://a b:1", "`a b` is no host"),
            ("http://::1:8000", "stands in brackets"),
            ("http://[::1", "stands in brackets"),
            ("http://[x]:1", "`[x]:1` is no address"),
            ("http://[::1]8000", "is no address"),
        ] {
            assert!(said(text).contains(expected), "{text}: {}", said(text));
        }
    }

    #[test]
    fn a_password_is_not_repeated() {
        let said = said("http://me:hush@h:1");
        assert!(
            said.contains("--api-key-env") && !said.contains("hush"),
            "{said}"
        );
    }
}
