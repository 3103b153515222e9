//! A long piece of work on a node: installing packages, fetching a model.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::LogReader;

/// Work that takes minutes and can be begun again at any time: what is done already is found done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunScript {
    /// What is being done, in one word, for whoever watches: `installing`, `fetching`.
    pub doing: String,
    /// A POSIX shell script. What it writes is read line by line; its status says whether it is
    /// done. `$r_attempt` counts how often it was begun.
    pub script: String,
    /// Variables of the script, not exported, whose values are secret: name -> the variable of this
    /// machine that holds it.
    pub secrets: BTreeMap<String, String>,
    /// A file of the node whose lock is held for as long as the work takes, so that nobody else
    /// does the same beside it: absolute, or `~/…`. It is made where it is missing.
    pub lock: String,
    /// How long it may write nothing before it counts as stalled.
    pub patience: Duration,
    /// How often it is begun before a stall counts as a failure.
    pub attempts: u32,
    /// Who understands what it writes: a phase to show, what it came to, or why it failed.
    pub log_reader: LogReader,
}
