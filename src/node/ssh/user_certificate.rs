//! Certificates by which a user gets in: an authority that the server knows has signed the key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{
    Certificate, Error as KeyError, HashAlg, PrivateKey, PublicKey, load_openssh_certificate,
};
use russh::{SendError, Signer};
use tokio::net::UnixStream;

/// Reads the certificate that OpenSSH looks for beside a key: `id-cert.pub`.
pub(super) fn beside(key: &Path) -> Option<Certificate> {
    let mut path = key.as_os_str().to_owned();
    path.push("-cert.pub");
    read(&PathBuf::from(path)).ok()
}

/// Reads a user's certificate, or says why it is none.
pub(super) fn read(path: &Path) -> Result<Certificate, String> {
    let read = load_openssh_certificate(path);
    let certificate = read.map_err(|error| format!("no certificate can be read: {error}"))?;
    match certificate.cert_type() {
        CertType::User => Ok(certificate),
        CertType::Host => Err("it is a host's".to_owned()),
    }
}

/// What signs for a certificate: the private key that it certifies, wherever that is.
pub(super) enum Holder<'a> {
    /// In a file.
    File(Arc<PrivateKey>),
    /// In the agent, which may know the key and not its certificate.
    Agent(&'a mut AgentClient<UnixStream>, PublicKey),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsigned {
    /// The connection went away.
    #[error("the connection is gone")]
    Gone,
    /// The key could not be used.
    #[error("{0}")]
    Key(#[from] KeyError),
}

impl From<SendError> for Unsigned {
    fn from(_: SendError) -> Self {
        Self::Gone
    }
}

impl Signer for Holder<'_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        match self {
            Self::Agent(agent, key) => {
                let key = AgentIdentity::from(key.clone());
                Ok(agent.sign_request(&key, hash, to_sign).await?)
            }
            Self::File(key) => {
                let signed = match key.key_data() {
                    KeypairData::Rsa(pair) => (pair, hash).try_sign(&to_sign),
                    pair => pair.try_sign(&to_sign),
                };
                let signature = signed.map_err(|_| KeyError::CouldNotReadKey)?;
                let encoded = signature.encode_prefixed(&mut to_sign);
                encoded.map_err(|error| KeyError::SshKey(error.into()))?;
                Ok(to_sign)
            }
        }
    }
}
