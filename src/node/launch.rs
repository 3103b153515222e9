//! What it takes to start, to stop, and to believe in a process on a node: plain values.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::plan::Address;

/// A process to start, as a value.
#[derive(Debug, Clone, PartialEq)]
#[allow(unpredictable_function_pointer_comparisons)]
pub struct Launch {
    /// What it is.
    pub address: Address,
    /// Its mark, the value of `REPLICA_MARK`.
    pub mark: String,
    /// Its whole normalised specification, the value of `REPLICA_SPEC`; holds no secret.
    pub spec: String,
    /// The program and its arguments; a leading `~/` of a word stands for the node's home.
    pub argv: Vec<String>,
    /// Folders that stand before the node's own in its `PATH`: absolute, or `~/…`.
    pub path: Vec<String>,
    /// Its environment beyond `HOME`, `PATH`, `USER`, `LANG`; no secrets.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secret: name -> the variable of this machine that holds it.
    pub secret_env: BTreeMap<String, String>,
    /// Its working folder, made if missing: absolute, or `~/…`.
    pub folder: String,
    /// Where its output goes: absolute, or `~/…`. Always a new file.
    pub log: String,
    /// Reads one line of the log, should it end at once.
    pub read_log: fn(&str) -> Option<LogSign>,
}

/// A process to stop, with everything that belongs to its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// What it is.
    pub address: Address,
    /// The beginning of its mark, up to the generation: `v1:demo:instance/a:`.
    pub mark_prefix: String,
    /// Ports that must be free when it is gone.
    pub ports: Vec<u16>,
    /// How long the process may take after SIGTERM before everything of its session gets SIGKILL.
    pub grace: Duration,
}

/// Processes to end that carry no mark: each is known by its pid, its start, and the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// What they are.
    pub address: Address,
    /// The boot that the pids belong to.
    pub boot_id: String,
    /// Each as its pid and when it started, in clock ticks since the boot. What they have started
    /// belongs to them.
    pub processes: Vec<(u32, u64)>,
    /// The ports that they listen on.
    pub ports: Vec<u16>,
    /// How long they may take after SIGTERM before all that is left of them gets SIGKILL.
    pub grace: Duration,
}

/// What must be true of a process before it is believed to serve.
#[derive(Debug, Clone, PartialEq)]
#[allow(unpredictable_function_pointer_comparisons)]
pub struct Ready {
    /// What it is.
    pub address: Address,
    /// Its mark: the listener must belong to a session that carries it.
    pub mark: String,
    /// The address that it listens on, as the node dials it.
    pub host: String,
    /// The port that it listens on.
    pub port: u16,
    /// Its log: absolute, or `~/…`.
    pub log: String,
    /// What must be answered over HTTP, in this order.
    pub checks: Vec<Check>,
    /// How long it may take while the log stands still; progress starts it anew.
    pub patience: Duration,
    /// How long it took the last time, if that is known.
    pub expected: Option<Duration>,
    /// Reads one line of the log: a phase to show, or a cause of death to report.
    pub read_log: fn(&str) -> Option<LogSign>,
}

impl Ready {
    /// Returns the file whose presence says that this start was seen to serve, once: beside its log.
    /// It holds how many seconds that took, where it was watched from before.
    pub fn record(&self) -> String {
        let stem = self.log.strip_suffix(".log").unwrap_or(&self.log);
        format!("{stem}.ready")
    }
}

/// What a line of a log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSign {
    /// It got so far: `weights 3/4`.
    Phase(String),
    /// This is what it came to, once it is done: `12 MB fetched`.
    Outcome(String),
    /// This line is the cause, should the process die: with what to do about it.
    Cause {
        /// The cause in one line.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
}

/// One HTTP request whose answer is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// What it shows, for messages: `the health check`, `its name among the models`.
    pub shows: &'static str,
    /// The path, such as `/health`.
    pub path: String,
    /// The JSON body of a POST; nothing for a GET.
    pub body: Option<serde_json::Value>,
    /// The name of the variable of this machine that holds the API key, if one is needed.
    pub api_key_env: Option<String>,
    /// A text that the answer must contain, beside its status being 200.
    pub contains: Option<String>,
}
