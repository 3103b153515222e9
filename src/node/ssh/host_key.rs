//! Whether the machine that answers is the one that was meant.

use std::path::PathBuf;
use std::sync::Arc;

use russh::Preferred;
use russh::client::{DisconnectReason, Handler};
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use tracing::{debug, warn};

use crate::node::quote;
use crate::node::unreachable::Obstacle;

use super::config::{Settings, Strictness};
use super::known_hosts::{KnownHosts, Standing, entry_name, learn};
use super::target::Target;

/// Everything that is needed to judge a host's key.
#[derive(Debug)]
pub(super) struct HostCheck {
    /// The name under which the host is kept.
    name: String,
    /// Its name without the port, under which OpenSSH also looks.
    bare: Option<String>,
    /// What the manifest calls it.
    asked: String,
    host: String,
    port: u16,
    /// Whether `ssh-keyscan` can reach it: not through a jump host.
    direct: bool,
    alias: bool,
    known: KnownHosts,
    strictness: Strictness,
    file: Option<PathBuf>,
    hashed: bool,
}

impl HostCheck {
    pub(super) fn new(target: &Target, settings: &Settings, direct: bool) -> Self {
        let files = settings
            .user_known_hosts
            .iter()
            .chain(&settings.global_known_hosts);
        let (name, bare) = match &settings.host_key_alias {
            Some(alias) => (alias.to_ascii_lowercase(), None),
            None => (
                entry_name(&settings.host, settings.port),
                (settings.port != 22).then(|| settings.host.to_ascii_lowercase()),
            ),
        };
        Self {
            name,
            bare,
            asked: target.host.clone(),
            host: settings.host.clone(),
            port: settings.port,
            direct,
            alias: settings.host_key_alias.is_some(),
            known: KnownHosts::read(files),
            strictness: settings.strictness,
            file: settings.user_known_hosts.first().cloned(),
            hashed: settings.hash_known_hosts,
        }
    }

    /// The host-key algorithms to offer: those it is known by first, as OpenSSH does; else
    /// a host that is known by one key would show another.
    pub(super) fn preferred(&self) -> Preferred {
        let mut known = self.known.algorithms(&self.name);
        if let Some(bare) = &self.bare {
            known.extend(self.known.algorithms(bare));
        }
        let is_known = |algorithm: &Algorithm| {
            known.iter().any(|known| match (known, algorithm) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (known, algorithm) => known == algorithm,
            })
        };
        let (mut order, rest): (Vec<_>, Vec<_>) = Preferred::DEFAULT
            .key
            .iter()
            // SHA-1 signatures prove nothing any more.
            .filter(|algorithm| **algorithm != Algorithm::Rsa { hash: None })
            .cloned()
            .partition(is_known);
        order.extend(rest);
        Preferred {
            key: order.into(),
            ..Preferred::DEFAULT
        }
    }

    fn judge(&self, key: &PublicKey) -> Result<(), Obstacle> {
        let mut standing = self.known.standing(&self.name, key);
        if let (Standing::Unknown { .. }, Some(bare)) = (&standing, &self.bare) {
            // Written down without the port: taken if it is the same key, and else no evidence.
            match self.known.standing(bare, key) {
                found @ (Standing::Known | Standing::Revoked { .. }) => standing = found,
                Standing::Unknown { .. } | Standing::Changed { .. } => {}
            }
        }
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let algorithm = key.algorithm().to_string();
        match standing {
            Standing::Known => Ok(()),
            Standing::Revoked { file, line } => Err(Obstacle::RevokedKey {
                name: self.name.clone(),
                algorithm,
                fingerprint,
                file,
                line,
            }),
            _ if self.strictness == Strictness::AcceptAny => {
                warn!(
                    "the host key of `{}` ({algorithm} {fingerprint}) is not checked: StrictHostKeyChecking is off",
                    self.name
                );
                Ok(())
            }
            Standing::Changed { file, line } => Err(Obstacle::ChangedKey {
                name: self.name.clone(),
                algorithm,
                fingerprint,
                file,
                line,
            }),
            Standing::Unknown { .. } if self.strictness == Strictness::AcceptNew => {
                self.accept(key);
                Ok(())
            }
            Standing::Unknown {
                known_by,
                authority,
            } => Err(Obstacle::UnknownKey {
                name: self.name.clone(),
                fingerprint,
                known_by,
                authority,
                command: self.command(&key.algorithm()),
                algorithm,
            }),
        }
    }

    fn accept(&self, key: &PublicKey) {
        let Some(file) = &self.file else { return };
        if let Err(error) = learn(file, &self.name, key, self.hashed) {
            warn!(
                "the host key of `{}` was not kept in {}: {error}",
                self.name,
                file.display()
            );
        }
    }

    /// The command that makes this key known.
    fn command(&self, algorithm: &Algorithm) -> String {
        if !self.direct || self.alias {
            // `ssh-keyscan` knows neither jump hosts nor aliases.
            return format!("ssh {}", quote(&self.asked));
        }
        let kind = match algorithm {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Ecdsa { .. } => "ecdsa",
            _ => "rsa",
        };
        let port = if self.port == 22 {
            String::new()
        } else {
            format!(" -p {}", self.port)
        };
        let host = quote(&self.host);
        match &self.file {
            Some(file) => format!(
                "ssh-keyscan -t {kind}{port} {host} >> {}",
                quote(&file.display().to_string())
            ),
            None => format!("ssh-keyscan -t {kind}{port} {host}"),
        }
    }
}

/// What a connection calls back to.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) check: Arc<HostCheck>,
}

/// Why a handshake failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The host's key was judged.
    Key(Obstacle),
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Fault::Ssh(error)
    }
}

impl Handler for Guard {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.check.judge(key).map_err(Fault::Key)?;
                Ok(true)
            }
            // Never asked for; a host that shows one all the same is not believed.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        debug!("`{}` disconnected: {reason:?}", self.check.name);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(fault) => Err(fault),
        }
    }
}
