//! What a thing serves as: where, as which process, and whether it is ready.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::NodePort;

/// What a thing serves as, of one that serves: what `status` tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Where it listens; of one that does not run, where it is declared to.
    pub at: NodePort,
    /// The process that leads it, where it runs.
    pub pid: Option<u32>,
    /// When that process started, in clock ticks since its node booted: ids come round again.
    pub started: Option<u64>,
    /// Where others reach it, where it runs.
    pub url: Option<String>,
    /// Whether it can be believed to serve.
    pub readiness: Readiness,
    /// Whether another start of it serves clients until it does.
    pub has_stand_in: bool,
    /// What it has served since that process started, where it counts that.
    pub requests: Option<Requests>,
    /// Those that it has passed requests to, and does no more.
    pub former: Vec<FormerStart>,
    /// What it says of itself beside that, for machines: each value by its key, in this order.
    pub details: Map<String, Value>,
    /// The same for people, in one line: `round_robin to a and b, generation 4`.
    pub summary: Option<String>,
    /// What clients ask it for, of one that answers clients.
    pub offer: Option<Offer>,
}

/// What clients ask a service for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The model, by the name that clients send: of what runs, where something does.
    pub model: Option<String>,
    /// The variable of this machine that holds the key which they show, where they need one.
    pub key: Option<String>,
    /// Whether it stands before others that offer the same: clients then ask this one.
    pub is_front: bool,
}

impl Service {
    /// A service of which nothing runs.
    pub fn stopped(at: NodePort) -> Self {
        Self {
            at,
            pid: None,
            started: None,
            url: None,
            readiness: Readiness::NotReady("it does not run".to_owned()),
            has_stand_in: false,
            requests: None,
            former: Vec::new(),
            details: Map::new(),
            summary: None,
            offer: None,
        }
    }

    /// What it has served since it was observed `before`: all that it counts, where another process
    /// serves now.
    pub fn requests_since(&self, before: Option<&Self>) -> Option<Requests> {
        let now = self.requests?;
        let process = |service: &Self| (service.pid, service.started);
        let same = before.filter(|before| process(before) == process(self));
        let then = same.and_then(|before| before.requests).unwrap_or_default();
        Some(Requests {
            ok: now.ok.saturating_sub(then.ok),
            refused: now.refused.saturating_sub(then.refused),
            failed: now.failed.saturating_sub(then.failed),
            cut: now.cut.saturating_sub(then.cut),
        })
    }
}

/// Requests that a service counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Answered to the end, with no error.
    pub ok: u64,
    /// Answered with a 4xx: theirs to mend who sent them. A 429 is no such one.
    #[serde(default)]
    pub refused: u64,
    /// Answered with a 5xx, a 429, an error in the stream, or a stream that broke.
    pub failed: u64,
    /// Given up by their clients.
    pub cut: u64,
}

impl Requests {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
            cut: self.cut + other.cut,
        }
    }
}

/// What became of the requests that went to one start of something that is reached by another's address,
/// and that gets none any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerStart {
    /// What it is called.
    pub name: String,
    /// What tells this start of it from all others, where anything does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Answered to the end, with no error.
    pub ok: u64,
    /// Answered with a 4xx.
    pub refused: u64,
    /// Answered with a 5xx, a 429, an error in the stream, or a stream that broke.
    pub failed: u64,
    /// Answered with an error by who passes requests on, after it had them.
    pub own_errors: u64,
    /// Given up by their clients.
    pub cut: u64,
    /// Begun there, and answered by another.
    pub retried: u64,
    /// In flight still, or as it was stopped.
    pub in_flight: u64,
}

impl FormerStart {
    /// Those of `now` that were none `before`.
    pub fn since(now: &[Self], before: &[Self]) -> Vec<Self> {
        let is_known = |one: &Self| {
            let mut known = before.iter();
            known.any(|it| it.name == one.name && it.start == one.start)
        };
        let new = now.iter().filter(|it| !is_known(it));
        new.cloned().collect()
    }
}

/// Whether a service can be believed to serve, as far as an observation tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It was seen to serve.
    Ready,
    /// It was seen not to serve, for this reason.
    NotReady(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_served_meanwhile_is_of_one_process() {
        let requests = |ok| Requests {
            ok,
            ..Requests::default()
        };
        let service = |started, ok| Service {
            pid: Some(7),
            started: Some(started),
            requests: Some(requests(ok)),
            ..Service::stopped(NodePort::new(&"n".parse().unwrap(), 8100))
        };
        let since = |now: Service, before: Service| now.requests_since(Some(&before)).unwrap();
        assert_eq!(since(service(1, 5), service(1, 3)), requests(2));
        assert_eq!(since(service(2, 5), service(1, 3)), requests(5));
        assert_eq!(service(1, 5).requests_since(None), Some(requests(5)));
        let stopped = Service::stopped(service(1, 5).at);
        assert_eq!(stopped.requests_since(Some(&service(1, 3))), None);
    }
}
