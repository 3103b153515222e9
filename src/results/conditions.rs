//! What the machines were like before a measurement, when its requests began, and after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::NodeName;
use crate::plan::{NodeConditions, ServerConditions};

/// What each node showed; one that could not be asked is not in it.
pub type Surveyed = BTreeMap<NodeName, NodeConditions>;

/// What the machines were like before a measurement, when its requests began, and after it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Before anything was sent.
    pub before: Surveyed,
    /// After the warm-up, just before the first request that counts: a [quick](crate::plan::Look::Quick)
    /// look. Nobody had one in results of earlier versions.
    #[serde(default, skip_serializing_if = "Surveyed::is_empty")]
    pub begun: Surveyed,
    /// After the last request.
    pub after: Surveyed,
}

/// What one server was at each look, where it is known of before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ServerSeen<'a> {
    pub(crate) instance: &'a str,
    pub(crate) node: &'a NodeName,
    pub(crate) before: &'a ServerConditions,
    /// Nothing where its node could not be asked just then, or it was not there.
    pub(crate) begun: Option<&'a ServerConditions>,
    /// Nothing where its node was asked and it was not there.
    pub(crate) after: Option<&'a ServerConditions>,
    /// Whether the node had booted anew meanwhile.
    pub(crate) rebooted: bool,
}

impl Conditions {
    /// Nothing is known where nobody looked.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The servers of which it is known what they were before, on nodes that were asked after too.
    pub(crate) fn servers(&self) -> impl Iterator<Item = ServerSeen<'_>> {
        self.before.iter().flat_map(|(node, before)| {
            let begun = self.begun.get(node);
            let after = self.after.get(node);
            let servers = before.servers.iter().filter(move |_| after.is_some());
            servers.map(move |(instance, server)| ServerSeen {
                instance,
                node,
                before: server,
                begun: begun.and_then(|begun| begun.servers.get(instance)),
                after: after.and_then(|after| after.servers.get(instance)),
                rebooted: after.is_some_and(|after| after.boot_id != before.boot_id),
            })
        })
    }
}
