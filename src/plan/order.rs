//! Which comes first where something takes the place of what runs: its start, or the stop of that.

use std::fmt;

use serde::Serialize;

use super::NodePort;

/// Which of the two comes first, and what decided it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Order {
    /// What comes first.
    pub first: First,
    /// Where what runs now listens.
    pub from: NodePort,
    /// Where what takes its place is to listen.
    pub to: NodePort,
    /// The memory that both need side by side: nothing where none is counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryNeed>,
    /// Why it is so, in a reader's terms: a fragment, lower case, no full stop.
    pub because: String,
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum First {
    /// What is new is started, and is ready, before what runs is stopped.
    Start,
    /// What runs is stopped before what is new is started.
    Stop,
}

/// What something asks for of a memory, and what of it can be had beside all that stays until then, in
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryNeed {
    /// Which memory: `the node`, `GPU 0`.
    pub of: String,
    /// As much is asked for.
    pub asks: u64,
    /// As much can be had.
    pub free: u64,
    /// As much of that must stay free.
    pub must_stay_free: u64,
}

impl MemoryNeed {
    /// Whether it can be had.
    pub fn is_met(&self) -> bool {
        self.free >= self.asks.saturating_add(self.must_stay_free)
    }
}

impl Order {
    /// That the start comes first.
    pub fn start_first(from: NodePort, to: NodePort, memory: Option<MemoryNeed>) -> Self {
        Self {
            first: First::Start,
            because: is_free(&to, "", memory.as_ref()),
            from,
            to,
            memory,
        }
    }

    /// The same where the start comes first, as its port is free only then: `pid 300 has stopped`.
    #[must_use]
    pub fn once(mut self, then: &str) -> Self {
        if self.first == First::Start {
            self.because = is_free(&self.to, &format!(" once {then}"), self.memory.as_ref());
        }
        self
    }

    /// That the stop comes first, and why.
    pub fn stop_first(
        from: NodePort,
        to: NodePort,
        memory: Option<MemoryNeed>,
        because: impl Into<String>,
    ) -> Self {
        Self {
            first: First::Stop,
            from,
            to,
            memory,
            because: because.into(),
        }
    }

    /// The same, as the stop comes first after all.
    #[must_use]
    pub fn but_stop_first(self, because: impl Into<String>) -> Self {
        Self::stop_first(self.from, self.to, self.memory, because)
    }
}

/// Why a start may come first: nobody listens on its port, and there is memory for both.
fn is_free(to: &NodePort, once: &str, memory: Option<&MemoryNeed>) -> String {
    let memory = memory.map(|need| format!(", and {need}"));
    format!("{to} is free{once}{}", memory.unwrap_or_default())
}

/// `starts first: port 8100 of two is free`.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = match self.first {
            First::Start => "starts first",
            First::Stop => "stops first",
        };
        write!(f, "{first}: {}", self.because)
    }
}

/// `it asks for 36.0 GiB of the node, where 52.0 GiB can be had beside what runs`.
impl fmt::Display for MemoryNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            asks,
            free,
            must_stay_free,
        } = self;
        let (asks, free) = (gib(*asks), gib(*free));
        write!(
            f,
            "it asks for {asks} of {of}, where {free} can be had beside what runs"
        )?;
        match must_stay_free {
            0 => Ok(()),
            margin => write!(f, " and {} must stay free", gib(*margin)),
        }
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn port(node: &str, port: u16) -> NodePort {
        NodePort::new(&node.parse().unwrap(), port)
    }

    fn need(free: u64) -> MemoryNeed {
        MemoryNeed {
            of: "the node".to_owned(),
            asks: 36 << 30,
            free: free << 30,
            must_stay_free: 4 << 30,
        }
    }

    #[test]
    fn the_decision_is_told_with_its_numbers() {
        let first = Order::start_first(port("one", 8100), port("two", 8100), Some(need(52)));
        insta::assert_snapshot!(first, @"starts first: port 8100 of two is free, and it asks for 36.0 GiB of the node, where 52.0 GiB can be had beside what runs and 4.0 GiB must stay free");
        let without = Order::start_first(port("one", 8100), port("one", 8101), None);
        insta::assert_snapshot!(without, @"starts first: port 8101 of one is free");
        assert_eq!(
            json!(first.but_stop_first("as it is")),
            json!({
                "first": "stop", "from": {"node": "one", "port": 8100}, "to": {"node": "two", "port": 8100},
                "memory": {"of": "the node", "asks": 36_u64 << 30, "free": 52_u64 << 30, "must_stay_free": 4_u64 << 30},
                "because": "as it is",
            })
        );
    }

    #[test]
    fn what_must_stay_free_cannot_be_had() {
        assert!(need(40).is_met());
        assert!(!need(39).is_met());
    }
}
