//! Who may ask, and what a backend is shown: a client's key goes no further than this.
//!
//! Clients show one of the declared keys here. Upstream goes the key that only that one server
//! takes, so that whoever listens in its place learns nothing that opens anything else.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use super::control::{Backend, Config, Key};
use super::pool::Refusal;
use crate::hex::hex;

/// What clients must show.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientKeys {
    /// The SHA-256 of each, in hex. Nothing but these is compared, so that how long it takes tells
    /// nothing of a key.
    hashes: Arc<[String]>,
}

impl ClientKeys {
    /// Those of a configuration whose keys are complete.
    pub(super) fn of(config: &Config) -> Self {
        let hidden = config.client_keys.iter().map(hidden);
        Self {
            hashes: hidden.map(str::to_owned).collect(),
        }
    }

    /// Whether anybody has to show anything.
    pub(super) fn are_wanted(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// Whether a request that is for a server may go on. As vLLM's servers, it wants no key of a
    /// browser that only asks what it may ask.
    pub(super) fn admit(&self, method: &Method, headers: &HeaderMap) -> bool {
        if !self.are_wanted() || method == Method::OPTIONS {
            return true;
        }
        let shown = headers.get(AUTHORIZATION).and_then(bearer);
        shown.is_some_and(|key| self.hashes.contains(&hex(&Sha256::digest(key))))
    }
}

/// The token of a `Bearer` field (RFC 6750, section 2.1); the scheme's case does not matter.
fn bearer(field: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = field.as_bytes().split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// What a backend is shown, as the field of a request.
pub(super) fn authorization(backend: &Backend) -> Option<HeaderValue> {
    let key = hidden(backend.key.as_ref()?);
    let mut field = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
    field.set_sensitive(true);
    Some(field)
}

fn hidden(key: &Key) -> &str {
    key.hidden.as_ref().map_or("", |hidden| &hidden.0)
}

/// Completes the keys that a configuration only speaks of by those of the one in force.
pub(super) fn complete(config: &mut Config, current: Option<&Config>) -> Result<(), Refusal> {
    let known = current.map_or_else(Vec::new, keys);
    let spoken_of = config.backends.iter_mut().filter_map(|it| it.key.as_mut());
    for key in spoken_of.chain(&mut config.client_keys) {
        complete_key(key, &known)?;
    }
    Ok(())
}

/// The same for the key of one backend.
pub(super) fn complete_backend(
    backend: &mut Backend,
    current: Option<&Config>,
) -> Result<(), Refusal> {
    let known = current.map_or_else(Vec::new, keys);
    let key = backend.key.as_mut();
    key.map_or(Ok(()), |key| complete_key(key, &known))
}

fn keys(config: &Config) -> Vec<&Key> {
    let backends = config.backends.iter().filter_map(|it| it.key.as_ref());
    backends.chain(&config.client_keys).collect()
}

fn complete_key(key: &mut Key, known: &[&Key]) -> Result<(), Refusal> {
    if key.hidden.is_none() {
        let same = known.iter().find(|known| known.digest == key.digest);
        let same = same.ok_or_else(|| Refusal::UnknownKey(key.digest.clone()))?;
        key.hidden.clone_from(&same.hidden);
    }
    Ok(())
}

/// The configuration as it may be told: its keys are spoken of.
pub(super) fn told(mut config: Config) -> Config {
    let keys = config.backends.iter_mut().filter_map(|it| it.key.as_mut());
    for key in keys.chain(&mut config.client_keys) {
        key.hidden = None;
    }
    config
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::Role;
    use crate::plan::effect::control::Hidden;
    use crate::proxy::control::{InstanceLimits, Timeouts};
    use crate::proxy::policy::PolicySpec;

    fn key(digest: &str, hidden: &str) -> Key {
        Key {
            digest: digest.to_owned(),
            hidden: Some(Hidden(hidden.to_owned())),
        }
    }

    fn config(key: Key, client_keys: Vec<Key>) -> Config {
        let backend = Backend {
            name: "a".to_owned(),
            authority: "127.0.0.1:8100".to_owned(),
            role: Role::Both,
            nonce: Some("replica-1".to_owned()),
            key: Some(key),
        };
        Config {
            generation: 1,
            backends: vec![backend],
            policy: PolicySpec::default(),
            timeouts: Timeouts::default(),
            limits: InstanceLimits::default(),
            client_keys,
            headers: true,
            access_log: None,
            drained: std::collections::BTreeSet::new(),
            weights: BTreeMap::new(),
        }
    }

    #[test]
    fn who_shows_a_key_may_ask_and_nobody_else() {
        let hash = |key: &str| hex(&Sha256::digest(key));
        let clients = vec![key("1", &hash("one")), key("2", &hash("two"))];
        let keys = ClientKeys::of(&config(key("b", "sk-b"), clients));
        let may = |method: Method, shown: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(shown));
            }
            keys.admit(&method, &headers)
        };
        for shown in ["Bearer one", "bearer two", "BEARER one"] {
            assert!(may(Method::GET, Some(shown)), "{shown}");
        }
        for shown in ["Bearer sk-b", "Bearer", "Bearer ", "one", "Basic one", ""] {
            assert!(!may(Method::POST, Some(shown)), "{shown}");
        }
        assert!(!may(Method::GET, None));
        assert!(may(Method::OPTIONS, None));
        assert!(ClientKeys::default().admit(&Method::GET, &HeaderMap::new()));
    }

    #[test]
    fn a_key_that_is_only_spoken_of_is_one_that_is_known() {
        let mut offered = config(Key::spoken_of("b"), vec![Key::spoken_of("1")]);
        assert!(complete(&mut offered, None).is_err());
        let current = config(key("b", "sk-b"), vec![key("1", "hash")]);
        complete(&mut offered, Some(&current)).unwrap();
        assert_eq!(authorization(&offered.backends[0]).unwrap(), "Bearer sk-b");
        assert_eq!(
            offered.client_keys[0].hidden,
            Some(Hidden("hash".to_owned()))
        );
        let mut other = config(Key::spoken_of("c"), vec![]);
        assert!(complete(&mut other, Some(&current)).is_err());
    }

    #[test]
    fn nothing_that_is_told_holds_a_key() {
        let config = config(key("b", "sk-hush"), vec![key("1", "sk-hush")]);
        assert!(!format!("{config:?}").contains("hush"));
        let told = told(config.clone());
        assert!(!serde_json::to_string(&told).unwrap().contains("hush"));
        assert_eq!(told, config, "it is the same configuration");
    }
}
