//! The API key: a value that no artefact can hold.

use std::fmt;

use hyper::header::HeaderValue;

use crate::plan::Failure;

/// An API key, read from this machine's environment. It can be sent, and redacted from a text; it
/// cannot be printed.
#[derive(Clone)]
pub(super) struct ApiKey {
    secret: String,
    header: HeaderValue,
}

impl ApiKey {
    /// Reads the key from a variable.
    pub(super) fn from_env(variable: &str) -> Result<Self, Failure> {
        let secret = std::env::var(variable)
            .ok()
            .filter(|secret| !secret.is_empty())
            .ok_or_else(|| {
                Failure::new(format!(
                    "`{variable}` is not set, and is to hold the API key"
                ))
                .hinted(format!("export {variable} and run it again"))
            })?;
        Self::new(secret)
            .ok_or_else(|| Failure::new(format!("`{variable}` does not hold a valid API key")))
    }

    pub(super) fn new(secret: String) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {secret}")).ok()?;
        header.set_sensitive(true);
        Some(Self { secret, header })
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Strikes the key out of a text that came from elsewhere.
    pub(super) fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, "[redacted]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_and_never_shown() {
        let key = ApiKey::new("sk-hush".to_owned()).unwrap();
        assert_eq!(key.header(), "Bearer sk-hush");
        assert!(!format!("{key:?} {:?}", key.header()).contains("hush"));
        assert_eq!(key.redact("no: Bearer sk-hush!"), "no: Bearer [redacted]!");
    }
}
