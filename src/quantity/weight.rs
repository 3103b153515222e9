//! How much one is to get beside others.

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// How many times as much as one of weight 1 an instance is to get: from 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("minimum" = 1, "maximum" = 256))]
pub struct Weight(u32);

impl Weight {
    /// As much as everybody.
    pub const ONE: Self = Self(1);

    /// So many times as much, or in words why not.
    pub fn new(weight: u32) -> Result<Self, String> {
        match weight {
            1..=256 => Ok(Self(weight)),
            _ => Err(format!("a weight must be from 1 to 256, and is {weight}")),
        }
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u32::deserialize(deserializer)?).map_err(Error::custom)
    }
}
