//! Who served what, by two witnesses that know nothing of each other: the client, which reads who
//! answered and counts what it got, and each engine, which counts what it made.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::record::{Record, by_instance, prefilled};
use super::server::ServerMetrics;

/// What the client and each server counted of one load.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// By instance; who counts nothing is not in it.
    pub by_instance: BTreeMap<String, Both>,
    /// Requests that failed: what their servers made of them nobody knows.
    pub failed: u64,
}

/// What both counted of one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Both {
    /// Whole answers that the client had from it, and those whose prompts it read for others.
    pub client_requests: u64,
    /// Requests that it says it ended.
    pub server_requests: Option<u64>,
    /// The tokens of those answers.
    pub client_tokens: u64,
    /// The tokens that it says it made.
    pub server_tokens: Option<u64>,
}

impl Reconcile {
    /// Sets what was seen beside what was counted.
    pub(crate) fn of(records: &[Record], servers: &IndexMap<String, ServerMetrics>) -> Self {
        let whole = || records.iter().filter(|it| it.has_whole_answer());
        let (answered, prefilled) = (by_instance(whole()), prefilled(whole()));
        let both = |(name, server): (&String, &ServerMetrics)| {
            let own = answered.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            // One token ends the reading of a prompt, and is thrown away.
            let read = prefilled.get(name.as_str()).copied().unwrap_or_default();
            let both = Both {
                client_requests: own.len() as u64 + read,
                server_requests: server.delta.requests,
                client_tokens: own.iter().filter_map(|it| it.n_out).sum::<u64>() + read,
                server_tokens: server.delta.generation_tokens,
            };
            (name.clone(), both)
        };
        let failed = records.iter().filter(|it| !it.has_whole_answer()).count();
        Self {
            by_instance: servers.iter().map(both).collect(),
            failed: failed as u64,
        }
    }
}
