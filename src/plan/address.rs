//! Where a thing stands: the one form of an address, in manifests, plans, logs, marks and tests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::name::NodeName;

/// The address of one thing: `spark-01/instance.a`, `controller/proxy`, `benchmark.batch`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The node that holds it; a benchmark is held by none.
    pub node: Option<NodeName>,
    /// The kind of thing, as its room calls it.
    pub kind: String,
    /// Its name in the manifest, for kinds of which there can be several.
    pub name: Option<String>,
}

impl Address {
    /// The address of a thing that a node holds.
    pub fn on(node: &NodeName, kind: &str, name: Option<&str>) -> Self {
        Self {
            node: Some(node.clone()),
            kind: kind.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    /// The address of a thing that no node holds.
    pub fn nowhere(kind: &str, name: &str) -> Self {
        Self {
            node: None,
            kind: kind.to_owned(),
            name: Some(name.to_owned()),
        }
    }

    /// The address of the same thing wherever it runs, for whoever knows it by its name alone.
    #[must_use]
    pub fn anywhere(&self) -> Self {
        Self {
            node: None,
            ..self.clone()
        }
    }

    /// The part after the node: `instance.a`, `proxy`.
    pub fn local(&self) -> String {
        match &self.name {
            Some(name) => format!("{}.{name}", self.kind),
            None => self.kind.clone(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(f, "{node}/")?;
        }
        f.write_str(&self.local())
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: write `node/kind.name`, for example `spark-01/instance.a`")]
pub struct InvalidAddress(String);

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let (node, local) = match text.split_once('/') {
            Some((node, local)) => (Some(node.parse().map_err(|_| invalid())?), local),
            None => (None, text),
        };
        let (kind, name) = match local.split_once('.') {
            Some((kind, name)) => (kind, Some(name.to_owned())),
            None => (local, None),
        };
        if kind.is_empty() || name.as_deref() == Some("") {
            return Err(invalid());
        }
        Ok(Self {
            node,
            kind: kind.to_owned(),
            name,
        })
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_itself() {
        for text in ["spark-01/instance.a", "controller/proxy", "benchmark.batch"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!("spark-01/".parse::<Address>().is_err());
        assert!("a b/proxy".parse::<Address>().is_err());
    }
}
