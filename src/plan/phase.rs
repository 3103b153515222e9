//! What is being done at a thing, and how far that has come: numbers for a bar, words for the rest.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is being done at a thing, and how far that has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// What is being done, in one word or two: `loading`, `draining`.
    pub doing: String,
    /// Which part of that.
    pub part: Part,
    /// How long it has taken, where it is known how long it is going to take.
    pub time: Option<Time>,
}

/// A part of what is being done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is: `weights`, `fetching torch 2.9.1`. May be empty.
    pub name: String,
    /// How much of it is done, where that is counted.
    pub count: Option<Count>,
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Count {
    /// So many of so many, as a program counts them.
    Pieces {
        /// Those that are done.
        done: u64,
        /// All of them.
        of: u64,
    },
    /// Requests of a load that have ended.
    Requests {
        /// Those that have ended.
        done: u64,
        /// All that are to be sent.
        of: u64,
        /// Those of the ended ones that failed.
        failed: u64,
    },
    /// Bytes that were copied.
    Copied {
        /// Those that have arrived.
        done: u64,
        /// All of them.
        of: u64,
        /// How many arrive in a second.
        per_second: u64,
    },
    /// Bytes that were written; how many there will be is not known.
    Written(u64),
    /// Requests that are being served still.
    InFlight(u64),
    /// Processes that run still.
    Running(u64),
}

/// How long something has taken, and how long it takes by experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// How long it has taken so far.
    pub elapsed: Duration,
    /// How long all of it took the last time.
    pub expected: Duration,
}

impl Phase {
    /// Something is being done; nothing more is known of it.
    pub fn new(doing: impl Into<String>) -> Self {
        Self {
            doing: doing.into(),
            ..Self::default()
        }
    }

    /// The same, of which this part is being done.
    #[must_use]
    pub fn at(self, part: impl Into<Part>) -> Self {
        let part = part.into();
        Self { part, ..self }
    }

    /// The same, of which so much is done.
    #[must_use]
    pub fn counted(self, count: Count) -> Self {
        let part = Part {
            count: Some(count),
            ..self.part
        };
        Self { part, ..self }
    }

    /// How much of it is done, between 0 and 1, where that is known. What was measured the last
    /// time comes before what is counted: the weights are a part of loading only.
    pub fn share(&self) -> Option<f64> {
        let by_time = self.time.map(Time::share);
        by_time.or_else(|| self.part.count.and_then(Count::share))
    }
}

impl From<&str> for Part {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<String> for Part {
    fn from(name: String) -> Self {
        Self { name, count: None }
    }
}

impl From<Count> for Part {
    fn from(count: Count) -> Self {
        Self {
            name: String::new(),
            count: Some(count),
        }
    }
}

impl Count {
    /// How much of all is done, between 0 and 1; nothing where it is not known how much there is.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Pieces { done, of }
            | Self::Requests { done, of, .. }
            | Self::Copied { done, of, .. } => {
                (of > 0).then(|| (done as f64 / of as f64).clamp(0.0, 1.0))
            }
            Self::Written(_) | Self::InFlight(_) | Self::Running(_) => None,
        }
    }
}

impl Time {
    /// How much of the time has gone by. It is never all of it: nobody knows that it is over.
    fn share(self) -> f64 {
        let share = self.elapsed.as_secs_f64() / self.expected.as_secs_f64().max(f64::MIN_POSITIVE);
        share.min(0.99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_where_the_whole_is_known() {
        let share = |count: Count| Phase::new("loading").counted(count).share();
        assert_eq!(share(Count::Pieces { done: 3, of: 4 }), Some(0.75));
        assert_eq!(share(Count::Pieces { done: 5, of: 4 }), Some(1.0));
        assert_eq!(share(Count::Pieces { done: 0, of: 0 }), None);
        assert_eq!(share(Count::Written(1)), None);
        assert_eq!(share(Count::InFlight(2)), None);
        assert_eq!(Phase::new("loading").share(), None);
    }

    #[test]
    fn what_took_so_long_last_time_says_more_than_a_part_and_is_never_over() {
        let loading = |elapsed| Phase {
            time: Some(Time {
                elapsed: Duration::from_secs(elapsed),
                expected: Duration::from_secs(100),
            }),
            ..Phase::new("loading").counted(Count::Pieces { done: 4, of: 4 })
        };
        assert_eq!(loading(45).share(), Some(0.45));
        assert_eq!(loading(300).share(), Some(0.99));
    }
}
