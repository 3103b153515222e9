//! Waiting until what was started serves, and is what was started.

use std::time::Duration;

use serde::Serialize;

use super::{LogReader, Secret};
use crate::plan::Address;

/// What must be true of a process before it is believed to serve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WaitReady {
    /// What it is.
    pub address: Address,
    /// Its mark: the listener must belong to a session that carries it.
    pub mark: String,
    /// What it must answer, and where.
    pub probe: Probe,
    /// Its log: absolute, or `~/…`.
    pub log: String,
    /// Who understands that log: a phase to show, or a cause of death to report.
    pub log_reader: LogReader,
    /// How long it may take while the log stands still; progress starts it anew.
    pub patience: Duration,
    /// How long it took the last time, if that is known.
    pub expected: Option<Duration>,
    /// The process that it takes over from, which may listen until then.
    pub predecessor: Option<u32>,
}

impl WaitReady {
    /// The file whose presence says that this start was seen to serve, once: beside its log. It
    /// holds how many seconds that took, where it was watched from before.
    pub fn record(&self) -> String {
        format!("{}.ready", self.stem())
    }

    /// The file that has a byte for each time that it was started again since then.
    pub fn begun_again(&self) -> String {
        format!("{}.again", self.stem())
    }

    fn stem(&self) -> &str {
        self.log.strip_suffix(".log").unwrap_or(&self.log)
    }
}

/// What something must answer to be healthy, and where: a start waits for it, and `status` asks it
/// once more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// The address that it listens on, as the node dials it.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
    /// What must be answered over HTTP, in this order.
    pub checks: Vec<Check>,
}

/// One HTTP request whose answer is looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What it shows, for messages: `the health check`, `its name among the models`.
    pub shows: String,
    /// The path, such as `/health`.
    pub path: String,
    /// The JSON body of a POST; nothing for a GET.
    pub body: Option<serde_json::Value>,
    /// The API key, if one is needed.
    pub api_key: Option<Secret>,
    /// A text that the answer must contain, beside its status being 200.
    pub contains: Option<String>,
    /// What to do where it is refused for good.
    pub refused_hint: Option<String>,
}
