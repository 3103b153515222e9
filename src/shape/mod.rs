//! When requests are sent: one file a shape.
//!
//! A shape is a [`Course`]: a pacing and a stop. Both are values, and meet the transport in one
//! loop (`load/drive.rs`); a new shape is a file here that says which values it stands for.

mod batch;
mod sequential;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The load shapes a manifest can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadShape {
    /// So many requests, one after another.
    Sequential(u32),
    /// So many requests, all at once.
    Batch(u32),
}

impl LoadShape {
    /// Returns how the shape is driven.
    pub fn course(&self) -> Course {
        match self {
            Self::Sequential(n) => sequential::course(*n),
            Self::Batch(n) => batch::course(*n),
        }
    }
}

/// How a load is driven: when the next request is sent, and when there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// When the next request is sent.
    pub pacing: Pacing,
    /// When no more are sent.
    pub stop: Stop,
}

impl Course {
    /// Returns how many requests are in flight at most.
    pub fn in_flight(self) -> u32 {
        let Pacing::Closed { in_flight } = self.pacing;
        in_flight.min(self.requests())
    }

    /// Returns how many requests are sent in all.
    pub fn requests(self) -> u32 {
        let Stop::After(requests) = self.stop;
        requests
    }
}

/// When the next request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// As soon as fewer than so many are in flight; the first ones go out together.
    Closed {
        /// How many are in flight at most.
        in_flight: u32,
    },
}

/// When no more requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// After so many requests.
    After(u32),
}
