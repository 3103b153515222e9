//! Whether a certificate vouches for a host: an authority signed its key for this name and this time.

use jiff::Timestamp;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate};

/// Whether a certificate is good for a host, or why it is not, in words that go on after `its
/// certificate`. Whether its authority may say so of this host is asked in `known_hosts`.
pub(super) fn check(certificate: &Certificate, host: &str, now: Timestamp) -> Result<(), String> {
    if certificate.cert_type() != CertType::Host {
        return Err("is one for users".to_owned());
    }
    // SHA-1 signatures prove nothing any more.
    if certificate.signature().algorithm() == (Algorithm::Rsa { hash: None }) {
        return Err("is signed with SHA-1".to_owned());
    }
    if certificate.verify_signature().is_err() {
        return Err("has a signature that is not its authority's".to_owned());
    }
    if !certificate.critical_options().is_empty() {
        return Err("has conditions that are not understood".to_owned());
    }
    let now = now.as_second();
    if i128::from(certificate.valid_after()) > i128::from(now) {
        return Err(format!(
            "begins to be good at {}",
            at(certificate.valid_after())
        ));
    }
    if i128::from(certificate.valid_before()) <= i128::from(now) {
        return Err(format!("ended at {}", at(certificate.valid_before())));
    }
    let names = certificate.valid_principals();
    if names.is_empty() || names.iter().any(|name| name == host) {
        return Ok(());
    }
    Err(format!("is for {}, and not for {host}", names.join(", ")))
}

fn at(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok();
    let at = at.and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "a time that never comes".to_owned(), |at| at.to_string())
}
