//! Getting in: the keys of the agent, then the key files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Algorithm, Error as KeyError, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey,
    load_public_key, load_secret_key,
};
use tokio::net::UnixStream;
use tracing::debug;

use crate::node::unreachable::Obstacle;

use super::config::Settings;
use super::host_key::Guard;

/// One key file.
#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    /// Known for an encrypted key too, where its `.pub` stands beside it.
    public: Option<PublicKey>,
    private: Result<Arc<PrivateKey>, String>,
}

/// What became of the keys that were offered.
#[derive(Debug, Default)]
struct Account {
    tried: Vec<String>,
    unusable: Vec<String>,
    offers: Vec<String>,
    /// The server hung up: too many keys were refused.
    closed: bool,
}

/// Logs in.
pub(super) async fn login(handle: &mut Handle<Guard>, settings: &Settings) -> Result<(), Obstacle> {
    let files = key_files(&settings.identity_files);
    let mut account = Account::default();
    let mut offered = Vec::new();
    if let Some(socket) = &settings.agent
        && with_agent(handle, settings, socket, &files, &mut offered, &mut account).await
    {
        return Ok(());
    }
    if !account.closed && with_files(handle, settings, files, &offered, &mut account).await {
        return Ok(());
    }
    Err(Obstacle::AuthRefused {
        host: settings.host.clone(),
        port: settings.port,
        user: settings.user.clone(),
        tried: account.tried,
        unusable: account.unusable,
        offers: account.offers,
    })
}

async fn with_agent(
    handle: &mut Handle<Guard>,
    settings: &Settings,
    socket: &Path,
    files: &[KeyFile],
    offered: &mut Vec<PublicKey>,
    account: &mut Account,
) -> bool {
    let mut agent = match AgentClient::connect_uds(socket).await {
        Ok(agent) => agent,
        Err(error) => {
            debug!("no agent at {}: {error}", socket.display());
            return false;
        }
    };
    let identities = match agent.request_identities().await {
        Ok(identities) => identities,
        Err(error) => {
            account.unusable.push(format!("the agent ({error})"));
            return false;
        }
    };
    for identity in in_order(identities, files, settings.identities_only) {
        offered.push(identity.public_key().into_owned());
        if agent_key(handle, settings, &mut agent, identity, account).await {
            return true;
        }
        if account.closed {
            return false;
        }
    }
    false
}

/// Puts the agent's keys that the configuration names first; each refused key counts against the
/// server's patience. With `IdentitiesOnly` there are no others.
fn in_order(identities: Vec<AgentIdentity>, files: &[KeyFile], only: bool) -> Vec<AgentIdentity> {
    let named = |identity: &AgentIdentity| {
        let key = identity.public_key();
        files
            .iter()
            .filter_map(|file| file.public.as_ref())
            .any(|public| public.key_data() == key.key_data())
    };
    let (mut order, others): (Vec<_>, Vec<_>) = identities.into_iter().partition(named);
    if !only {
        order.extend(others);
    }
    order
}

async fn agent_key(
    handle: &mut Handle<Guard>,
    settings: &Settings,
    agent: &mut AgentClient<UnixStream>,
    identity: AgentIdentity,
    account: &mut Account,
) -> bool {
    let label = format!("the agent's key `{}`", identity.comment());
    let hash = hash_for(handle, &identity.public_key().algorithm()).await;
    let user = &settings.user;
    let result = match identity {
        AgentIdentity::PublicKey { key, .. } => {
            handle
                .authenticate_publickey_with(user, key, hash, agent)
                .await
        }
        AgentIdentity::Certificate { certificate, .. } => {
            handle
                .authenticate_certificate_with(user, certificate, hash, agent)
                .await
        }
    };
    match result {
        Ok(result) => account.note(label, &result),
        Err(error) => {
            account.unusable.push(format!("{label} ({error})"));
            false
        }
    }
}

async fn with_files(
    handle: &mut Handle<Guard>,
    settings: &Settings,
    files: Vec<KeyFile>,
    offered: &[PublicKey],
    account: &mut Account,
) -> bool {
    for file in files {
        let known = |key: &PublicKey| offered.iter().any(|o| o.key_data() == key.key_data());
        if file.public.as_ref().is_some_and(known) {
            continue;
        }
        let label = format!("`{}`", file.path.display());
        let key = match file.private {
            Ok(key) => key,
            Err(reason) => {
                account.unusable.push(format!("{label} ({reason})"));
                continue;
            }
        };
        let hash = hash_for(handle, &key.algorithm()).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        match handle.authenticate_publickey(&settings.user, key).await {
            Ok(result) if account.note(label.clone(), &result) => return true,
            Ok(_) => {}
            Err(error) => {
                account.unusable.push(format!("{label} ({error})"));
                account.closed = true;
            }
        }
        if account.closed {
            return false;
        }
    }
    false
}

impl Account {
    /// Keeps what a key came to, and returns whether it let us in.
    fn note(&mut self, label: String, result: &AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                self.offers = remaining_methods
                    .iter()
                    .map(|method| <&str>::from(method).to_owned())
                    .collect();
                self.closed = self.offers.is_empty();
                self.tried.push(if *partial_success {
                    format!("{label} (accepted, but a second factor is wanted)")
                } else if self.closed {
                    format!("{label} (and hung up)")
                } else {
                    label
                });
                false
            }
        }
    }
}

/// The hash to sign with: RSA keys need one that the server takes.
async fn hash_for(handle: &Handle<Guard>, algorithm: &Algorithm) -> Option<HashAlg> {
    if !matches!(algorithm, Algorithm::Rsa { .. }) {
        return None;
    }
    match handle.best_supported_rsa_hash().await {
        Ok(Some(hash)) => hash,
        // It did not say; every OpenSSH since 7.2 takes this one.
        _ => Some(HashAlg::Sha512),
    }
}

fn key_files(paths: &[PathBuf]) -> Vec<KeyFile> {
    paths.iter().filter_map(|path| key_file(path)).collect()
}

fn key_file(path: &Path) -> Option<KeyFile> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let public = || load_public_key(&beside).ok();
    let (public, private) = match load_secret_key(path, None) {
        Ok(key) if hardware(&key.algorithm()) => (
            Some(key.public_key().clone()),
            Err("it is on a security key, which only an agent can use".to_owned()),
        ),
        Ok(key) => (Some(key.public_key().clone()), Ok(Arc::new(key))),
        Err(KeyError::IO(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            // `IdentityFile` may name a public key whose private half only the agent has.
            let public = Some(public()?);
            (public, Err("no agent holds it".to_owned()))
        }
        Err(KeyError::KeyIsEncrypted) => (
            public(),
            Err("it is encrypted and no agent holds it: ssh-add it".to_owned()),
        ),
        Err(error) => match load_public_key(path) {
            Ok(key) => (Some(key), Err("no agent holds it".to_owned())),
            Err(_) => (public(), Err(error.to_string())),
        },
    };
    Some(KeyFile {
        path: path.to_owned(),
        public,
        private,
    })
}

fn hardware(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256
    )
}
