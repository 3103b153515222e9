//! What a running proxy is told: the half of its control protocol that a plan carries.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::ServerKey;
use crate::plan::{Address, Role};

/// Something to tell a running proxy through its control socket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProxyControl {
    /// The program that speaks to it: absolute, or `~/…`.
    pub program: String,
    /// The folder that holds its control socket: absolute, or `~/…`.
    pub folder: String,
    /// What it is told; the keys in it are completed by `keys` on the way.
    pub request: Request,
    /// Where the keys are had that it is to know.
    pub keys: Keys,
    /// The backends that are to be brought about first, by their names: it is told of none that was
    /// not.
    pub awaited: BTreeMap<String, Address>,
    /// Whether it is told anything but those.
    pub tells_more: bool,
    /// How long the answer may take; nothing for as long as it takes.
    pub timeout: Option<Duration>,
}

impl ProxyControl {
    /// The same, of these things that were awaited and of no others. Nothing where nothing is left
    /// to tell.
    pub fn after(mut self, done: &BTreeSet<Address>) -> Option<Self> {
        let is_done = |address: &Address| done.contains(address);
        if !self.tells_more && !self.awaited.values().any(is_done) {
            return None;
        }
        if let Request::Configure(config) = &mut self.request {
            let awaited = &self.awaited;
            let is_there = |backend: &Backend| {
                let awaited = awaited.get(&backend.name);
                awaited.is_none_or(|address| done.contains(address))
            };
            config.backends.retain(is_there);
            let backends = &config.backends;
            let is_told = |name: &String| backends.iter().any(|backend| backend.name == *name);
            self.keys.backends.retain(|name, _| is_told(name));
        }
        Some(self)
    }
}

/// Where the keys of a request to the proxy are had. What is in none of them it knows already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Keys {
    /// The variables of this machine whose values clients show.
    pub clients: Vec<String>,
    /// The file of the random key of the proxy's node, by which those are told apart: absolute, or
    /// `~/…`.
    pub node_key: String,
    /// What is shown to each backend, by its name.
    pub backends: BTreeMap<String, ServerKey>,
}

impl Keys {
    /// The name by which the digests of what clients show are made.
    pub const CLIENT: &str = "client key";
}

/// What the proxy can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request<P = Value> {
    /// Serve by this configuration from now on. Backends that are gone from it are drained first:
    /// the answer comes when none of their requests is in flight.
    Configure(Config<P>),
    /// Send no new request to this backend; the answer comes when none is in flight. A name that
    /// is not served is drained already.
    Drain {
        /// The backend's name.
        backend: String,
        /// Whether the answer waits for what is in flight. Of one that does nothing any more it
        /// would wait for ever.
        #[serde(default = "wait")]
        wait: bool,
    },
    /// Send no new request to these backends, until this is told again, whoever admits or configures
    /// them meanwhile; all others are served from. The answer comes when none of theirs is in flight,
    /// and those that were drained before and are no longer were seen.
    Drained(BTreeSet<String>),
    /// Serve from this backend too, or again; the answer comes when it was seen with its nonce.
    Admit(Backend),
    /// Serve from this backend in the place of every other start of it: once it was seen, those get no new
    /// request, and the answer comes when none of theirs is in flight.
    TakeOver(Backend),
    /// Read again what it was declared by when it was started, and serve by that; the answer is as
    /// to [`Self::Configure`].
    Reload,
    /// Say what is being served.
    Status,
}

fn wait() -> bool {
    true
}

/// Everything that the proxy can change without a restart.
///
/// The policy is whatever its own file in `proxy/policy` says that it is: a plan carries it as it
/// was declared, and the proxy, which knows all policies, reads it when it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config<P = Value> {
    /// Counts the configurations that this proxy was given; the proxy reports the one it serves.
    pub generation: u64,
    /// The instances that requests go to.
    pub backends: Vec<Backend>,
    /// How one of them is chosen.
    pub policy: P,
    /// How many times as much as one of weight 1 some of them are to get; the others have weight 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// Bounds on waiting.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// How many requests an instance has at once.
    #[serde(default, skip_serializing_if = "InstanceLimits::is_none")]
    pub limits: InstanceLimits,
    /// The keys of which every client shows one, each hidden by its SHA-256. Without any, whoever
    /// asks is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_keys: Vec<Key>,
    /// Whether an answer says which instance gave it, and how long that took.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub headers: bool,
    /// The file that a line is written to for each request, `-` for the standard output; nothing for
    /// no such log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<String>,
    /// The backends that get no new request until somebody says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub drained: BTreeSet<String>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_yes(is: &bool) -> bool {
    *is
}

/// One instance, as the proxy knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// The instance's name: what `x-replica-instance` says.
    pub name: String,
    /// Where it listens, as the proxy dials it: `192.168.1.76:8100`.
    pub authority: String,
    /// Which part of a request it takes.
    #[serde(default, skip_serializing_if = "Role::is_both")]
    pub role: Role,
    /// The served name that only this very process has; it must be among its `/v1/models` before
    /// any request goes there, and is hidden from clients. A server that has none is taken for who
    /// it is believed to be: whoever listens on its port is served from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The key that it is shown, and that opens nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// A key, as the proxy and whoever tells it things speak of it. Two are one where their digests are.
#[derive(Debug, Clone, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What stands for it wherever it may be seen.
    pub digest: String,
    /// Itself, on its way to the proxy alone: a plan has none, and the proxy tells none. Where it is
    /// left out, it is a key that the proxy has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Hidden>,
}

impl Key {
    /// A key that is spoken of, and not told.
    pub fn spoken_of(digest: impl Into<String>) -> Self {
        Self {
            digest: digest.into(),
            hidden: None,
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// A text that no debug output shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// How long the proxy waits, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For a connection to an instance.
    pub connect: f64,
    /// For the next byte of an answer, its first included. vLLM 0.13 can hold a stream open for
    /// ever after a SIGTERM, so this is never unbounded.
    pub idle: f64,
    /// For the first event of a stream before its head is passed on; 0 for not at all. Until then
    /// another instance can take over what one has failed.
    #[serde(skip_serializing_if = "is::<{ usual::GATE }>")]
    pub gate: f64,
    /// For a client to take something of what is written to it; where nothing is said, as long as
    /// the proxy was told when it was started, or 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<f64>,
    /// For a place at an instance, where each that is ready has as many requests in flight as it may.
    #[serde(skip_serializing_if = "is::<{ usual::QUEUE }>")]
    pub queue: f64,
    /// For an instance to be ready, where none is; 0 for not at all.
    #[serde(skip_serializing_if = "is::<{ usual::HOLD }>")]
    pub hold: f64,
    /// For what a prefill instance has computed to be fetched by a decode instance, after which it
    /// forgets it; nothing where none computes for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<f64>,
}

/// How long it waits where nothing is declared, in seconds.
pub mod usual {
    /// For a connection to an instance.
    pub const CONNECT: u32 = 5;
    /// For the next byte of an answer.
    pub const IDLE: u32 = 600;
    /// For the first event of a stream.
    pub const GATE: u32 = 30;
    /// For a client to take something.
    pub const CLIENT: u32 = 60;
    /// For a place at an instance.
    pub const QUEUE: u32 = 30;
    /// For an instance to be ready.
    pub const HOLD: u32 = 5;
}

/// What is as it is by itself is not said: a proxy that was told before there was a gate was told the
/// same.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
#[allow(clippy::float_cmp, reason = "it is the number itself that is meant")]
fn is<const USUAL: u32>(seconds: &f64) -> bool {
    *seconds == f64::from(USUAL)
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: usual::CONNECT.into(),
            idle: usual::IDLE.into(),
            gate: usual::GATE.into(),
            client: None,
            queue: usual::QUEUE.into(),
            hold: usual::HOLD.into(),
            lease: None,
        }
    }
}

/// How many requests each instance has at once, how many wait for it, and how long a prompt is that two
/// share: as a manifest says it, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceLimits {
    /// In flight at each instance at most: `256`; without this, any number.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "at_least_one"
    )]
    #[schemars(extend("minimum" = 1))]
    pub in_flight: Option<NonZeroU32>,
    /// Waiting for each instance at most: `512`, and `0` for none; without this, twice as many as may be
    /// in flight. Who comes when so many wait is answered with 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Tokens of a prompt that one instance reads for another, at least: `256`. Who answers reads a shorter
    /// one by itself, and with the policy `prefix` one of which it was sent all but so many before; without
    /// this, all are read for another where instances have roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_prefill_tokens: Option<u32>,
}

fn at_least_one<'de, D: Deserializer<'de>>(input: D) -> Result<Option<NonZeroU32>, D::Error> {
    match Option::<u32>::deserialize(input)? {
        Some(0) => Err(Error::custom(
            "`in_flight` must be at least 1: leave it out for any number",
        )),
        many => Ok(many.and_then(NonZeroU32::new)),
    }
}

impl InstanceLimits {
    /// Whether it says how many wait, and there is a place for all.
    pub fn waits_in_vain(&self) -> bool {
        self.in_flight.is_none() && self.queue.is_some()
    }

    /// Whether it limits nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
