//! What an engine knows of itself, and of those whose blocks it has fetched.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::settings::{Environment, FailurePolicy};
use super::side_channel::SideChannel;
use super::wire::Identity;
use crate::simulator::args::Options;
use crate::simulator::profile::Transfers;
use crate::simulator::text::fingerprint;

/// The connector of one engine.
#[derive(Debug)]
pub(in crate::simulator) struct Connector {
    pub(super) engine_id: String,
    /// Where its side channel listens, as others are told.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) identity: Identity,
    pub(super) enforces_compatibility: bool,
    pub(super) figures: Transfers,
    /// Those it has met. One meeting at a time, as vLLM has one thread for them.
    pub(super) met: tokio::sync::Mutex<HashMap<String, Peer>>,
    /// When the link has carried all that it was given.
    link_free: Mutex<Option<Instant>>,
    failure_policy: FailurePolicy,
    lease: Duration,
}

/// Another engine, once met.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) block_size: usize,
}

impl Connector {
    /// The connector of an engine with these options, and its side channel, which listens; nothing
    /// where none was asked for.
    pub(in crate::simulator) async fn of(
        options: &Options,
        environment: &Environment,
    ) -> std::io::Result<Option<(Self, SideChannel)>> {
        let Some(config) = options.connector() else {
            return Ok(None);
        };
        let side_channel = SideChannel::bind(&environment.host, environment.port).await?;
        let engine_id = config.engine_id();
        // vLLM's hash has more in it, all of which follows from the model here.
        let factors = format!("0.13.0 {}", options.model);
        let connector = Self {
            identity: Identity {
                engine: engine_id.clone(),
                compatibility: format!("{:016x}", fingerprint(factors.bytes().map(u64::from))),
                block_size: options.block_size,
            },
            engine_id,
            host: environment.host.clone(),
            port: side_channel.port()?,
            enforces_compatibility: config.enforces_compatibility(),
            figures: options.timing().transfers,
            met: tokio::sync::Mutex::default(),
            link_free: Mutex::default(),
            failure_policy: config.failure_policy(),
            lease: config.lease(environment),
        };
        Ok(Some((connector, side_channel)))
    }

    /// How long blocks are kept.
    pub(in crate::simulator) fn lease(&self) -> Duration {
        self.lease
    }

    /// What becomes of a request whose blocks could not be fetched.
    pub(in crate::simulator) fn failure_policy(&self) -> FailurePolicy {
        self.failure_policy
    }

    /// When the link will have carried so many bytes more, one transfer after the other.
    pub(super) fn carried(&self, bytes: u64) -> Instant {
        let mut link_free = self
            .link_free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begun = link_free.map_or(now, |free| free.max(now));
        let end = begun + self.figures.time(bytes);
        *link_free = Some(end);
        end
    }
}
