//! What may be concluded from a load depends on its class.

/// The class of a load: all that rules, tables and files tell loads apart by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Class {
    /// One request at a time: its latency is that of a request alone.
    Alone,
    /// All requests at once, in one wave.
    Together {
        /// How many.
        requests: u32,
    },
    /// A new request as soon as one has ended.
    Closed {
        /// How many are in flight.
        width: u32,
    },
    /// Requests by the clock, whatever is in flight: throughput is asked, and latency is answered.
    Open {
        /// How many come in a second.
        per_s: f64,
    },
}

impl Class {
    /// How many of its requests are decoded together. They end together, so that they are one
    /// observation of the servers, however many they are.
    pub fn together(self) -> u32 {
        match self {
            Self::Together { requests } => requests,
            Self::Closed { width } => width,
            Self::Alone | Self::Open { .. } => 1,
        }
    }

    /// Whether each of its requests has the servers for itself.
    pub fn is_alone(self) -> bool {
        self == Self::Alone
    }
}
