//! The mark that every process of ours carries, and what follows from it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::name::{NodeName, TopologyName};
use crate::plan::Address;

/// What a process is, in its own environment: `v1:<topology>:<kind>/<name>:<generation>:<fingerprint>`.
///
/// ```
/// use replica::resource::process::Mark;
/// let mark: Mark = "v1:spark:instance/a:3:0f1e2d3c4b5a".parse().unwrap();
/// assert_eq!(mark.generation, 3);
/// assert_eq!(mark.to_string(), "v1:spark:instance/a:3:0f1e2d3c4b5a");
/// assert!(mark.nonce().starts_with("replica-"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The topology that it belongs to.
    pub topology: String,
    /// The kind of thing.
    pub kind: String,
    /// Its name, for kinds of which there can be several.
    pub name: Option<String>,
    /// Counts the starts of this thing on its node.
    pub generation: u64,
    /// The digest of its specification.
    pub fingerprint: String,
}

impl Mark {
    /// The mark of a thing that is about to be started.
    pub fn new(
        topology: &TopologyName,
        address: &Address,
        generation: u64,
        fingerprint: String,
    ) -> Self {
        Self {
            topology: topology.to_string(),
            kind: address.kind.clone(),
            name: address.name.clone(),
            generation,
            fingerprint,
        }
    }

    /// The address of the thing, on the node where the mark was found.
    pub fn address(&self, node: &NodeName) -> Address {
        Address::on(node, &self.kind, self.name.as_deref())
    }

    /// What it is, without a node: `instance.a`.
    pub fn address_in_words(&self) -> String {
        match &self.name {
            Some(name) => format!("{}.{name}", self.kind),
            None => self.kind.clone(),
        }
    }

    /// The beginning that every generation of the thing has in common.
    pub fn prefix(topology: &str, address: &Address) -> String {
        prefix(topology, &address.kind, address.name.as_deref())
    }

    /// The same of the thing that has this mark.
    pub fn of_thing(&self) -> String {
        prefix(&self.topology, &self.kind, self.name.as_deref())
    }

    /// The served model name that only a process with this mark has. It shows over HTTP
    /// who answers, without a look at the node.
    pub fn nonce(&self) -> String {
        let digest = Sha256::digest(self.to_string().as_bytes());
        format!("replica-{}", hex(&digest[..6]))
    }
}

fn prefix(topology: &str, kind: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!("/{name}"));
    format!("v1:{topology}:{kind}{}:", name.unwrap_or_default())
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1:{}:{}", self.topology, self.kind)?;
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        write!(f, ":{}:{}", self.generation, self.fingerprint)
    }
}

/// Why a text is not a mark that this version reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mark that this version of replica reads")]
pub struct UnreadableMark(String);

impl FromStr for Mark {
    type Err = UnreadableMark;

    fn from_str(text: &str) -> Result<Self, UnreadableMark> {
        let unreadable = || UnreadableMark(text.to_owned());
        let mut parts = text.split(':');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (Some("v1"), Some(topology), Some(local), Some(generation), Some(fingerprint)) =
            (next(), next(), next(), next(), next())
        else {
            return Err(unreadable());
        };
        let (kind, name) = match local.split_once('/') {
            Some((kind, name)) => (kind, Some(name.to_owned())),
            None => (local, None),
        };
        Ok(Self {
            topology: topology.to_owned(),
            kind: kind.to_owned(),
            name,
            generation: generation.parse().map_err(|_| unreadable())?,
            fingerprint: fingerprint.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_of_one_thing_share_a_prefix_and_no_nonce() {
        let node = "n".parse().unwrap();
        let address = Address::on(&node, "instance", Some("a"));
        let topology = "t".parse().unwrap();
        let mark = |generation| Mark::new(&topology, &address, generation, "ff".into());
        let prefix = Mark::prefix("t", &address);
        assert!(mark(1).to_string().starts_with(&prefix));
        assert!(mark(2).to_string().starts_with(&prefix));
        assert_ne!(mark(1).nonce(), mark(2).nonce());
        // `a` is no prefix of `ab`: stopping one must not stop the other.
        let other = Address::on(&node, "instance", Some("ab"));
        assert!(!Mark::prefix("t", &other).starts_with(&prefix));
    }

    #[test]
    fn a_foreign_text_is_no_mark() {
        for text in [
            "",
            "v1",
            "v2:t:instance/a:1:ff",
            "v1:t:instance/a:x:ff",
            "v1::i/a:1:ff",
        ] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }
}
