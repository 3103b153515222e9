//! KV caches handed from one engine to another, as vLLM 0.13.0 does it with its NixlConnector.
//!
//! An engine that was asked to (`do_remote_decode`) keeps the blocks of a prompt it has read, and
//! says where they are; another that is told (`do_remote_prefill`) pulls them and goes on from
//! there. Whoever pulls connects to the other's side channel for real, and what it gets decides
//! what it answers. Nothing of this exists without `--kv-transfer-config`.
//!
//! - [`settings`]: the command line and the environment. [`params`]: what requests and answers say.
//! - [`connector`]: what one engine knows of itself and of those that it has met. [`side_channel`]
//!   answers others, [`pull`] asks them, in the words of [`wire`]. [`leases`]: what is kept.

mod connector;
pub(super) mod leases;
pub(super) mod params;
pub(super) mod pull;
pub(super) mod settings;
mod side_channel;
mod wire;

pub(super) use connector::Connector;
pub(super) use side_channel::SideChannel;
