//! An address of a node on a network: `192.168.1.76`, or `{address: 192.168.100.10, trusted: true}`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::written::AS_WRITTEN;

/// Where a node is on a network, and what is thought of who else is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAddress {
    /// The address or the host name, as other nodes dial it.
    pub address: String,
    /// Whether nobody else reads or changes what goes over that network.
    pub is_trusted: bool,
}

/// The same, written out.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenOut {
    /// The address or the host name, as other nodes dial it.
    address: String,
    /// Whether nobody else reads or changes what goes over that network: a model that is copied over
    /// it is not encrypted then, where the other node says so too.
    #[serde(default)]
    trusted: bool,
}

impl From<&str> for NetworkAddress {
    fn from(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            is_trusted: false,
        }
    }
}

impl Serialize for NetworkAddress {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if !self.is_trusted {
            return out.serialize_str(&self.address);
        }
        let written_out = WrittenOut {
            address: self.address.clone(),
            trusted: true,
        };
        written_out.serialize(out)
    }
}

impl<'de> Deserialize<'de> for NetworkAddress {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = NetworkAddress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or `{address: 192.168.100.10, trusted: true}`")
            }

            fn visit_str<E: Error>(self, address: &str) -> Result<NetworkAddress, E> {
                Ok(address.into())
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                input: D,
            ) -> Result<NetworkAddress, D::Error> {
                input.deserialize_any(self)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NetworkAddress, A::Error> {
                let written = WrittenOut::deserialize(MapAccessDeserializer::new(map))?;
                Ok(NetworkAddress {
                    address: written.address,
                    is_trusted: written.trusted,
                })
            }
        }

        input.deserialize_newtype_struct(AS_WRITTEN, Either)
    }
}

impl JsonSchema for NetworkAddress {
    fn schema_name() -> Cow<'static, str> {
        "NetworkAddress".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let written_out = WrittenOut::json_schema(generator);
        json_schema!({
            "description": "The address of a node on a network, and whether that network is trusted.",
            "anyOf": [{"type": "string"}, written_out],
            "examples": ["192.168.1.76", {"address": "192.168.100.10", "trusted": true}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written_as_they_were() {
        for (text, address, is_trusted) in [
            ("\"10.0.0.1\"", "10.0.0.1", false),
            (
                "{\"address\":\"10.0.0.1\",\"trusted\":true}",
                "10.0.0.1",
                true,
            ),
        ] {
            let read: NetworkAddress = serde_json::from_str(text).unwrap();
            assert_eq!((&*read.address, read.is_trusted), (address, is_trusted));
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        let untrusted: NetworkAddress =
            serde_json::from_str("{\"address\": \"a\", \"trusted\": false}").unwrap();
        assert_eq!(untrusted, "a".into());
        for text in ["{\"trusted\": true}", "{\"adress\": \"a\"}", "[]"] {
            assert!(serde_json::from_str::<NetworkAddress>(text).is_err());
        }
    }
}
