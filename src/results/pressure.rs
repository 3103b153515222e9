//! How short machines were of CPU while a load was driven.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::quantile::tidy;
use crate::name::NodeName;

/// How short machines were of CPU, each where that is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuPressure {
    /// Where the requests came from, while this load was driven.
    pub client: Option<Pressure>,
    /// The nodes of the servers, from the end of the warm-up until after the last load.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<NodeName, Pressure>,
}

/// How short one machine was of CPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// The share of the time in which some task waited for a CPU (`some` of `/proc/pressure/cpu`).
    pub some_share: f64,
}

impl Pressure {
    /// What it was over a time, in microseconds, of which some task waited for so long.
    pub(crate) fn over(waited_us: u64, time_us: u64) -> Option<Self> {
        (time_us > 0).then(|| Self {
            some_share: tidy((waited_us as f64 / time_us as f64).min(1.0)),
        })
    }
}

impl CpuPressure {
    /// What is known of the client and of the nodes; nothing where nobody could tell.
    pub(crate) fn of(client: Option<Pressure>, conditions: &Conditions) -> Option<Self> {
        let nodes = conditions.before.iter().filter_map(|(name, before)| {
            // Of one that was not looked at just then it is known with its warm-up alone.
            let since = conditions.begun.get(name).unwrap_or(before);
            let after = conditions.after.get(name)?;
            let waited = after.cpu_waited_us?.checked_sub(since.cpu_waited_us?)?;
            let time = after.uptime_us?.checked_sub(since.uptime_us?)?;
            Some((name.clone(), Pressure::over(waited, time)?))
        });
        let nodes: BTreeMap<NodeName, Pressure> = nodes.collect();
        (client.is_some() || !nodes.is_empty()).then_some(Self { client, nodes })
    }

    /// Who was short of CPU by more than a share of the time: `client`, `node spark-01`.
    pub(crate) fn short(&self, share: f64) -> Vec<(String, f64)> {
        let client = self.client.iter().map(|it| ("the client".to_owned(), it));
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|(name, it)| (format!("node `{name}`"), it));
        let all = client.chain(nodes);
        all.filter(|(_, it)| it.some_share > share)
            .map(|(who, it)| (who, it.some_share))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::NodeConditions;

    #[test]
    fn a_node_is_known_by_what_it_showed_before_and_after() {
        let seen = |waited: u64, uptime: u64| {
            let node = NodeConditions {
                cpu_waited_us: Some(waited),
                uptime_us: Some(uptime),
                ..NodeConditions::default()
            };
            [("n1".parse().unwrap(), node)].into()
        };
        let conditions = |before, after| Conditions {
            before,
            after,
            ..Conditions::default()
        };
        let told = CpuPressure::of(None, &conditions(seen(500, 1000), seen(1400, 2000))).unwrap();
        assert_eq!(told.short(0.5), [("node `n1`".to_owned(), 0.9)]);
        assert!(told.short(0.9).is_empty());
        // It booted meanwhile.
        assert_eq!(
            CpuPressure::of(None, &conditions(seen(500, 1000), seen(10, 20))),
            None
        );
        assert_eq!(Pressure::over(1, 0), None);
    }
}
