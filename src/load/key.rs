//! API keys: values that no artefact can hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hyper::header::HeaderValue;

use crate::plan::Failure;

/// The API keys of a run, each shown to one address and to no other. They can be sent, and redacted
/// from a text.
#[derive(Debug, Clone, Default)]
pub(super) struct ApiKeys(Arc<BTreeMap<String, ApiKey>>);

/// An API key. It cannot be printed.
#[derive(Clone)]
struct ApiKey {
    secret: String,
    header: HeaderValue,
}

impl ApiKeys {
    /// Takes keys by the addresses that they are shown to.
    ///
    /// # Errors
    ///
    /// When one cannot be sent in a header.
    pub(super) fn new(keys: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let mut made = BTreeMap::new();
        for (authority, secret) in keys {
            let key = ApiKey::new(secret).ok_or_else(|| {
                Failure::new(format!("the API key for {authority} is not a valid one"))
                    .hinted("a key has printable characters of ASCII only")
            })?;
            made.insert(authority.clone(), key);
        }
        Ok(Self(Arc::new(made)))
    }

    /// The value of the `Authorization` header for an address, where it is to be shown one.
    pub(super) fn header(&self, authority: &str) -> Option<HeaderValue> {
        Some(self.0.get(authority)?.header.clone())
    }

    /// Strikes the keys out of a text that came from elsewhere.
    pub(super) fn redact(&self, text: &str) -> String {
        let keys = self.0.values();
        keys.fold(text.to_owned(), |text, key| {
            text.replace(&key.secret, "[redacted]")
        })
    }
}

impl ApiKey {
    fn new(secret: &str) -> Option<Self> {
        let mut header = HeaderValue::from_str(&format!("Bearer {secret}")).ok()?;
        header.set_sensitive(true);
        Some(Self {
            secret: secret.to_owned(),
            header,
        })
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
    fn a_key_is_sent_to_one_address_and_never_shown() {
        let held = BTreeMap::from([("10.0.0.1:80".to_owned(), "sk-hush".to_owned())]);
        let keys = ApiKeys::new(&held).unwrap();
        let header = keys.header("10.0.0.1:80").unwrap();
        assert_eq!(header, "Bearer sk-hush");
        assert_eq!(keys.header("10.0.0.2:80"), None);
        assert!(!format!("{keys:?} {header:?}").contains("hush"));
        assert_eq!(keys.redact("no: Bearer sk-hush!"), "no: Bearer [redacted]!");
    }

    #[test]
    fn what_no_header_can_hold_is_not_shown_either() {
        let held = BTreeMap::from([("h:80".to_owned(), "hush\n".to_owned())]);
        let failure = ApiKeys::new(&held).unwrap_err();
        assert!(failure.message.contains("h:80"), "{failure:?}");
        assert!(!format!("{failure:?}").contains("hush"));
    }
}
