//! Whether the machine that answers is the one that was meant.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use russh::client::{DisconnectReason, Handler};
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher, kex};
use tracing::{debug, warn};

use crate::node::quote;
use crate::node::unreachable::{KnownBy, Obstacle};

use super::config::{Settings, Strictness};
use super::host_certificate;
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
    /// Why the keys that somebody revoked are not known.
    unread: Option<String>,
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
        let mut known = KnownHosts::read(files);
        let revoked = settings.revoked_host_keys.as_ref();
        let unread = revoked.and_then(|file| {
            let why = known.revoke(file).err()?;
            Some(format!("`RevokedHostKeys {}`: {why}", file.display()))
        });
        Self {
            name,
            bare,
            asked: target.host.clone(),
            host: settings.host.clone(),
            port: settings.port,
            direct,
            alias: settings.host_key_alias.is_some(),
            known,
            unread,
            strictness: settings.strictness,
            file: settings.user_known_hosts.first().cloned(),
            hashed: settings.hash_known_hosts,
        }
    }

    /// The names that the host may be written down under.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.bare.as_deref())
    }

    fn has_authority(&self) -> bool {
        let mut names = self.names();
        names.any(|name| self.known.has_authority(name))
    }

    /// The host-key algorithms to offer: those it is known by first, as OpenSSH does; else
    /// a host that is known by one key would show another. Certificates are asked for where an
    /// authority may vouch for the host.
    pub(super) fn preferred(&self) -> Preferred {
        let names = self.names();
        let known: Vec<_> = names.flat_map(|name| self.known.algorithms(name)).collect();
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
        let certificates = if self.has_authority() {
            order.clone()
        } else {
            Vec::new()
        };
        Preferred {
            kex: key_exchanges().into(),
            host_key_certificates: certificates.into(),
            key: order.into(),
            cipher: ciphers().into(),
            ..Preferred::DEFAULT
        }
    }

    /// Judges a key that a host shows with a certificate. As with OpenSSH, one that does not count
    /// leaves the key to be judged by itself.
    fn judge_certified(&self, certificate: &Certificate) -> Result<(), Obstacle> {
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let signer = PublicKey::new(certificate.signature_key().clone(), "");
        self.not_revoked(&key)?;
        self.not_revoked(&signer)?;
        let mut names = self.names();
        let is_authority =
            names.any(|name| self.known.is_authority(name, certificate.signature_key()));
        // The name without its port, as the certificate has it.
        let host = if self.alias {
            &self.name
        } else {
            &self.host.to_ascii_lowercase()
        };
        let counts = if is_authority {
            host_certificate::check(certificate, host, Timestamp::now())
        } else {
            Err("is signed by another than the @cert-authority in known_hosts".to_owned())
        };
        counts.or_else(|why| self.judge(&key, Some(&why)))
    }

    fn not_revoked(&self, key: &PublicKey) -> Result<(), Obstacle> {
        if let Some(reason) = &self.unread {
            return Err(Obstacle::Configuration {
                host: self.asked.clone(),
                reason: reason.clone(),
            });
        }
        for name in self.names() {
            if let Standing::Revoked { file, line } = self.known.standing(name, key) {
                return Err(Obstacle::RevokedKey {
                    name: self.name.clone(),
                    algorithm: key.algorithm().to_string(),
                    fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
                    file,
                    line,
                });
            }
        }
        Ok(())
    }

    /// Judges a key by itself. `certificate` says why the one that came with it does not count.
    fn judge(&self, key: &PublicKey, certificate: Option<&str>) -> Result<(), Obstacle> {
        self.not_revoked(key)?;
        let mut standing = self.known.standing(&self.name, key);
        if let (Standing::Unknown { .. }, Some(bare)) = (&standing, &self.bare)
            // Written down without the port: taken if it is the same key, and else no evidence.
            && self.known.standing(bare, key) == Standing::Known
        {
            standing = Standing::Known;
        }
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let algorithm = key.algorithm().to_string();
        match standing {
            Standing::Known | Standing::Revoked { .. } => Ok(()),
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
            Standing::Unknown { known_by } => Err(Obstacle::UnknownKey {
                name: self.name.clone(),
                fingerprint,
                known_by: self.known_by(known_by, certificate),
                command: self.command(&key.algorithm()),
                algorithm,
            }),
        }
    }

    fn known_by(&self, algorithms: Vec<String>, certificate: Option<&str>) -> KnownBy {
        match certificate {
            Some(why) => KnownBy::Authority(why.into()),
            None if self.has_authority() => KnownBy::Authority("is missing: it shows none".into()),
            None if algorithms.is_empty() => KnownBy::Nothing,
            None => KnownBy::Keys(algorithms.into()),
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

/// The ways to agree on a key: after those that russh has by itself for new, the curves of NIST,
/// which are all that some servers take.
fn key_exchanges() -> Vec<kex::Name> {
    const NIST: [kex::Name; 3] = [
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
    ];
    let mut all = Preferred::DEFAULT.kex.to_vec();
    let after = all
        .iter()
        .rposition(|name| name.as_ref().starts_with("curve25519"));
    let at = after.map_or(0, |at| at + 1);
    all.splice(at..at, NIST);
    all
}

/// The ciphers: after those that russh has by itself, the one more of OpenSSH's own that it knows.
fn ciphers() -> Vec<cipher::Name> {
    let own = Preferred::DEFAULT.cipher;
    own.iter().copied().chain([cipher::AES_128_GCM]).collect()
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
                self.check.judge(key, None).map_err(Fault::Key)?;
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                let judged = self.check.judge_certified(certificate);
                judged.map_err(Fault::Key)?;
            }
        }
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        debug!("`{}` disconnected: {reason:?}", self.check.name);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(fault) => Err(fault),
        }
    }
}
