//! A node reached by SSH. The only module that sees `russh`.
//!
//! `config` reads how a host is reached, as OpenSSH itself would (`tokens` fills in its paths), and
//! `plain` without asking it where nothing hard is in the way; `link` makes the connection, hop by
//! hop; `host_key`, `host_certificate` and `known_hosts` decide whether it is the right machine,
//! `login` and `user_certificate` get us in; `channel` runs a shell and dials ports over it.

mod channel;
mod config;
mod configured;
mod dialled;
mod doors;
mod host_certificate;
mod host_key;
mod known_hosts;
mod link;
mod login;
mod plain;
mod spare;
mod target;
mod tokens;
mod user_certificate;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::name::NodeName;

use super::outcome::NodeError;
use super::running::Pipes;
use super::unreachable::Unreachable;

pub use configured::configured_hosts;
pub use doors::Doors;
pub use link::{Bastions, ConnectOptions};

use dialled::Dialled;
use link::Link;

/// A node reached by SSH. Clones share the connection; it closes with the last of them.
#[derive(Debug, Clone)]
pub struct SshNode {
    name: NodeName,
    link: Arc<Link>,
}

impl SshNode {
    pub(super) async fn connect(
        name: &NodeName,
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
        options: &ConnectOptions,
    ) -> Result<Self, Unreachable> {
        let target = target::Target {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        };
        match link::connect(&target, options).await {
            Ok(link) => Ok(Self {
                name: name.clone(),
                link,
            }),
            Err(obstacle) => Err(Unreachable {
                node: name.clone(),
                obstacle,
            }),
        }
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.is_open()
    }

    pub(super) async fn open(&self) -> Result<Pipes, NodeError> {
        channel::shell(&self.link)
            .await
            .map_err(|refusal| refusal.at_shell(&self.name))
    }

    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<Dialled, NodeError> {
        channel::dial(&self.link, host, port)
            .await
            .map_err(|refusal| refusal.at_port(&self.name, host, port))
    }
}
