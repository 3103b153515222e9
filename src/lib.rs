//! `replica`: terraform for LLM serving experiments you can trust.
//!
//! A YAML manifest declares nodes, vLLM instances, a proxy and benchmarks. `replica` looks at what
//! the nodes really run, shows what differs, makes it so over SSH, and measures; a result names
//! exactly what was measured, or says why it cannot be believed.
//!
//! # The map of rooms
//!
//! - [`name`], [`quantity`]: the newtypes that a manifest speaks in.
//! - [`net`], [`describe`], [`hex`], [`prometheus`]: ground too. How hosts and ports are written, and a
//!   stream that tells of its traffic; errors with their causes; digests; pages of metrics.
//! - [`manifest`]: text becomes a [`resource::Topology`], or an explanation that points at the line.
//! - [`init`]: a first manifest, written by what nodes say of themselves and by what others have.
//! - [`resource`]: the rooms. One for each kind of thing that a manifest declares: its declaration,
//!   the facts that it wants of a node, its comparison, its effects.
//! - [`plan`]: plain data that everyone shares: addresses, changes, steps, effects, events.
//! - [`converge`]: the corridor: observe (ask), decide (pure), execute (walk). It names no kind.
//! - [`logs`]: what programs say in their logs, one file a program.
//! - [`node`]: where effects happen: a command as a value, the local machine, SSH.
//! - [`proxy`]: the data plane.
//! - [`shape`]: when requests are sent, one file a load shape. [`prompts`]: what they ask, one file a
//!   source. [`load`]: what sends them.
//! - [`results`]: what came of it, kept and compared. [`verdict`]: what may be concluded, one rule a
//!   file.
//! - [`compare`]: arms re-converged and interleaved, and what may be said of them.
//! - [`doctor`]: what is wrong with the machines, one check a file.
//! - [`transfer`]: what moves a model from node to node.
//! - [`simulator`]: a vLLM look-alike for machines without a GPU. [`rehearsal`]: what a topology will do, played
//!   through with its engines in a time of their own.
//! - [`view`]: the only place that prints. [`cli`]: one file a command.
//!
//! # The life of a manifest
//!
//! `cli::apply` → `manifest::load` → `converge::observe` (all facts of a node in one round
//! trip, nodes side by side) → `converge::decide` → `view` shows the plan and asks →
//! `converge::execute` → observe again, until every line says keep → benchmarks → exit code.
//!
//! # What must never be
//!
//! `converge` names no kind; rooms open no connection; only `view` prints; nothing that was not
//! started by us is ever touched. Why it is so, and what was rejected, is told in [`decisions`].
//!
//! # How to add
//!
//! | what | its file | its line |
//! |---|---|---|
//! | a policy | `proxy/policy/<name>.rs` | `policies!` in [`proxy::policy`] |
//! | a rule | `verdict/<number>_<name>.rs` | `RULES` in [`verdict`] |
//! | a check of the machines | `doctor/<number>_<name>.rs` | `CHECKS` in [`doctor`] |
//! | a load shape | `shape/<key>.rs` | `shapes!` in [`shape`] |
//! | a source of prompts | `prompts/<key>.rs` | `sources!` in [`prompts`] |
//! | a section of the report | `view/report/section/<name>.rs` | `SECTIONS` in [`view::report`] |
//! | a kind | `resource/<kind>/` | [`resource::KINDS`], and its field in the document and the topology |
//!
//! The README tells each in a paragraph, with the loop to work in and the way to accept what changes.
//!
//! # Our words and the field's
//!
//! Most words here are systemd's, terraform's or the HTTP world's. Some are not:
//!
//! | here | elsewhere |
//! |---|---|
//! | [`Observation`](resource::Observation) | the refreshed state of a plan (terraform) |
//! | [`Stand`](plan::Stand) | one resource's entry in a plan, with its dependencies |
//! | room, [`Resource`](resource::Resource) | a provider's resource (terraform), a controller (Kubernetes) |
//! | mark, nonce | a label; an instance id |
//! | orphan | terraform's resource that left the configuration, compose's `--remove-orphans` |
//! | unmanaged | what is there and is not ours |
//! | `Case`, `Anomaly` | what a check is given; a finding |
//!
//! # The circles that stay
//!
//! Rooms import downwards. Inside two of them files know each other:
//!
//! - `manifest/access` and `manifest/typed` are one reader of nested text, cut where the traits of
//!   serde cut it: a map's reader makes readers of its values, and those make readers of maps.
//! - `node/ssh/link` opens channels, and `node/ssh/channel` can carry a connection, over which
//!   `node/ssh/wire` looks as over any: a jump host is a connection over a channel of a connection.

pub mod cli;
pub mod compare;
pub mod converge;
pub mod decisions;
pub mod describe;
pub mod doctor;
mod english;
#[cfg(test)]
#[path = "../tests/fuzz/mod.rs"]
mod fuzz;
pub mod hex;
pub mod init;
pub mod load;
pub mod logs;
pub mod manifest;
pub mod name;
pub mod net;
pub mod node;
pub mod plan;
pub mod prometheus;
pub mod prompts;
pub mod proxy;
pub mod quantity;
mod redact;
pub mod rehearsal;
pub mod resource;
pub mod results;
pub mod shape;
pub mod simulator;
pub mod transfer;
pub mod verdict;
pub mod view;
mod visible;
mod written;
