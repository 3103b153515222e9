//! Getting in: the keys of the agent, then the key files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Algorithm, Certificate, Error as KeyError, HashAlg, PrivateKey, PrivateKeyWithHashAlg,
    PublicKey, load_public_key, load_secret_key,
};
use tokio::net::UnixStream;
use tracing::debug;

use crate::node::unreachable::Obstacle;

use super::config::Settings;
use super::host_key::Guard;
use super::user_certificate::{self, Holder, Unsigned};

/// One key file.
#[derive(Debug)]
struct KeyFile {
    path: PathBuf,
    /// Known for an encrypted key too, where its `.pub` stands beside it.
    public: Option<PublicKey>,
    private: Result<Arc<PrivateKey>, String>,
    /// The certificate of the key that stands beside it.
    certificate: Option<Certificate>,
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

/// Logs in, with what OpenSSH offers, in its order: the named certificates, the agent's keys, the key
/// files.
pub(super) async fn login(handle: &mut Handle<Guard>, settings: &Settings) -> Result<(), Obstacle> {
    let mut attempt = Attempt {
        handle,
        settings,
        files: key_files(settings),
        agent: None,
        held: Vec::new(),
        offered: Vec::new(),
        account: Account::default(),
    };
    attempt.ask_agent().await;
    let in_at_last = attempt.with_named_certificates().await
        || attempt.with_agent().await
        || attempt.with_files().await;
    if in_at_last {
        return Ok(());
    }
    let account = attempt.account;
    Err(Obstacle::AuthRefused {
        host: settings.host.clone(),
        port: settings.port,
        user: settings.user.clone(),
        tried: account.tried,
        unusable: account.unusable,
        offers: account.offers,
        hung_up: account.closed,
    })
}

/// A login that is under way.
struct Attempt<'a> {
    handle: &'a mut Handle<Guard>,
    settings: &'a Settings,
    files: Vec<KeyFile>,
    agent: Option<AgentClient<UnixStream>>,
    /// What the agent holds.
    held: Vec<AgentIdentity>,
    /// The keys that were offered by themselves.
    offered: Vec<PublicKey>,
    account: Account,
}

impl Attempt<'_> {
    /// Asks the agent what it holds.
    async fn ask_agent(&mut self) {
        let Some(socket) = &self.settings.agent else {
            return;
        };
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                debug!("no agent at {}: {error}", socket.display());
                return;
            }
        };
        match agent.request_identities().await {
            Ok(held) => {
                self.held = held;
                self.agent = Some(agent);
            }
            Err(error) => self.account.unusable.push(format!("the agent ({error})")),
        }
    }

    /// Offers the certificates that `CertificateFile` names.
    async fn with_named_certificates(&mut self) -> bool {
        for path in &self.settings.certificate_files {
            let label = format!("`{}`", path.display());
            match user_certificate::read(path) {
                Ok(certificate) => {
                    if self.certificate(label, certificate).await {
                        return true;
                    }
                }
                Err(why) => self.account.unusable.push(format!("{label} ({why})")),
            }
        }
        false
    }

    /// Offers a certificate, signed by whoever holds its key.
    async fn certificate(&mut self, label: String, certificate: Certificate) -> bool {
        if self.account.closed {
            return false;
        }
        let key = PublicKey::new(certificate.public_key().clone(), "");
        let hash = hash_for(self.handle, &key.algorithm()).await;
        let is_its = |it: &PublicKey| it.key_data() == key.key_data();
        let in_file = self.files.iter().find_map(|file| {
            let private = file.private.as_ref().ok()?;
            is_its(private.public_key()).then(|| Arc::clone(private))
        });
        let is_held = self.held.iter().any(|it| is_its(&it.public_key()));
        let mut holder = match (in_file, &mut self.agent) {
            (Some(private), _) => Holder::File(private),
            (None, Some(agent)) if is_held => Holder::Agent(agent, key),
            _ => {
                let why = "neither a file nor the agent has its key";
                self.account.unusable.push(format!("{label} ({why})"));
                return false;
            }
        };
        let user = &self.settings.user;
        let offered =
            self.handle
                .authenticate_certificate_with(user, certificate, hash, &mut holder);
        match offered.await {
            Ok(result) => self.account.note(label, &result),
            Err(error) => {
                self.account.closed = matches!(error, Unsigned::Gone);
                self.account.unusable.push(format!("{label} ({error})"));
                false
            }
        }
    }

    /// Offers what the agent holds.
    async fn with_agent(&mut self) -> bool {
        let held = std::mem::take(&mut self.held);
        for identity in in_order(held, &self.files, self.settings.identities_only) {
            if self.account.closed {
                return false;
            }
            if let AgentIdentity::PublicKey { key, .. } = &identity {
                self.offered.push(key.clone());
            }
            if self.agent_key(identity).await {
                return true;
            }
        }
        false
    }

    async fn agent_key(&mut self, identity: AgentIdentity) -> bool {
        let Some(agent) = &mut self.agent else {
            return false;
        };
        let label = format!("the agent's key `{}`", identity.comment());
        let hash = hash_for(self.handle, &identity.public_key().algorithm()).await;
        let (handle, user) = (&mut *self.handle, &self.settings.user);
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
            Ok(result) => self.account.note(label, &result),
            Err(error) => {
                self.account.unusable.push(format!("{label} ({error})"));
                false
            }
        }
    }

    /// Offers the keys in files, and after each the certificate beside it.
    async fn with_files(&mut self) -> bool {
        for file in std::mem::take(&mut self.files) {
            if self.account.closed {
                return false;
            }
            let label = format!("`{}`", file.path.display());
            let certificate = file.certificate.clone();
            let is_in = self.key_file(label.clone(), &file).await;
            // Its key is asked for there.
            self.files.push(file);
            if is_in {
                return true;
            }
            if let Some(certificate) = certificate {
                let label = format!("the certificate of {label}");
                if self.certificate(label, certificate).await {
                    return true;
                }
            }
        }
        false
    }

    async fn key_file(&mut self, label: String, file: &KeyFile) -> bool {
        let known = |key: &PublicKey| {
            let mut offered = self.offered.iter();
            offered.any(|it| it.key_data() == key.key_data())
        };
        if file.public.as_ref().is_some_and(known) {
            return false;
        }
        let key = match &file.private {
            Ok(key) => Arc::clone(key),
            Err(reason) => {
                self.account.unusable.push(format!("{label} ({reason})"));
                return false;
            }
        };
        let hash = hash_for(self.handle, &key.algorithm()).await;
        let key = PrivateKeyWithHashAlg::new(key, hash);
        let user = &self.settings.user;
        match self.handle.authenticate_publickey(user, key).await {
            Ok(result) => self.account.note(label, &result),
            Err(error) => {
                self.account.unusable.push(format!("{label} ({error})"));
                self.account.closed = true;
                false
            }
        }
    }
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

fn key_files(settings: &Settings) -> Vec<KeyFile> {
    let paths = settings.identity_files.iter();
    let mut files: Vec<_> = paths.filter_map(|path| key_file(path)).collect();
    if settings.certificate_files.is_empty() {
        for file in &mut files {
            file.certificate = user_certificate::beside(&file.path);
        }
    }
    files
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
        certificate: None,
    })
}

fn hardware(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256
    )
}
