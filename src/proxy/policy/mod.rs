//! How a backend is chosen: one file a policy, and its line in the list below.
//!
//! A policy sees the backends that are ready and picks one. It keeps what it needs to remember to
//! itself; the pool calls it under its lock and counts the request there and then, so two requests
//! never see the same idle backend.

mod least_connections;
mod random;
mod round_robin;

use std::fmt::Debug;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use least_connections::LeastConnections;
pub use random::Random;
pub use round_robin::RoundRobin;

/// Makes of the list of policies what a manifest can name, and what it names.
macro_rules! policies {
    ($($(#[$what:meta])* $Policy:ident,)+) => {
        /// The policies a manifest can name.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum PolicySpec {
            $($(#[$what])* $Policy,)+
        }

        impl PolicySpec {
            /// The policy that it names, with nothing remembered yet.
            pub fn build(&self) -> Box<dyn Policy> {
                match self {
                    $(Self::$Policy => Box::<$Policy>::default(),)+
                }
            }
        }
    };
}

policies! {
    /// Each instance in turn.
    #[default]
    RoundRobin,
    /// The instance with the fewest requests in flight; the first of equals in turn.
    LeastConnections,
    /// Any instance, all alike likely.
    Random,
}

/// Chooses a backend for a request.
pub trait Policy: Debug + Send + Sync {
    /// The place of the chosen one among those that are ready; nothing if none is.
    fn pick(&self, ready: &[Candidate]) -> Option<usize>;
}

/// A ready backend, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Requests in flight there, from this proxy.
    pub in_flight: u64,
}

#[cfg(test)]
fn idle_candidates(count: usize) -> Vec<Candidate> {
    vec![Candidate { in_flight: 0 }; count]
}
