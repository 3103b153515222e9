//! The random key of a topology on a node. With it, secrets are told apart without being shown, and
//! servers are given keys of their own.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// How many hexadecimal digits it has: 32 random bytes.
const DIGITS: usize = 64;

/// A random key that lies on a node, for its user alone to read. It never leaves the node but for
/// the memory of whoever applies.
///
/// What is made with it (HMAC-SHA-256, RFC 2104) tells nothing to who does not have it: a digest of
/// a short secret in a plan that was pasted somewhere cannot be guessed at.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey(String);

impl NodeKey {
    /// What stands for a secret where it may be seen: enough to tell that it changed.
    pub fn digest(&self, name: &str, value: &str) -> String {
        format!("keyed:{}", hex(&self.mac(&["secret", name, value])[..6]))
    }

    /// The API key that only the server with this nonce takes.
    pub fn server_key(&self, nonce: &str) -> String {
        format!("sk-{}", hex(&self.mac(&["server key", nonce])[..16]))
    }

    /// What stands for such a key where it may be seen. It is random: nobody can guess at it.
    pub fn server_key_digest(key: &str) -> String {
        format!("sha256:{}", hex(&Sha256::digest(key)[..6]))
    }

    /// What stands for the keys that servers are given: another one where this key is another.
    pub fn own_digest(&self) -> String {
        format!("own:{}", hex(&self.mac(&["own"])[..6]))
    }

    fn mac(&self, parts: &[&str]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("a key of any length will do");
        for part in parts {
            mac.update(part.as_bytes());
            // No variable and no name holds a NUL, so no two lists of parts are one text.
            mac.update(&[0]);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey([redacted])")
    }
}

/// A text that is no key: it is not told which, for it may be a damaged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not {DIGITS} hexadecimal digits")]
pub struct InvalidNodeKey;

impl FromStr for NodeKey {
    type Err = InvalidNodeKey;

    fn from_str(text: &str) -> Result<Self, InvalidNodeKey> {
        let is_whole = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
        is_whole
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidNodeKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodeKey {
        format!("{byte:02x}").repeat(32).parse().unwrap()
    }

    #[test]
    fn a_digest_tells_a_change_and_nothing_else() {
        let digest = key(1).digest("HF_TOKEN", "hf_abc");
        assert!(!digest.contains("hf_abc"));
        assert_eq!(digest, key(1).digest("HF_TOKEN", "hf_abc"));
        assert_ne!(digest, key(1).digest("HF_TOKEN", "hf_abd"));
        assert_ne!(digest, key(1).digest("HF_TOKE", "Nhf_abc"));
        assert_ne!(
            digest,
            key(2).digest("HF_TOKEN", "hf_abc"),
            "whoever has no key"
        );
    }

    #[test]
    fn each_start_of_a_server_has_another_key() {
        assert_ne!(
            key(1).server_key("replica-1"),
            key(1).server_key("replica-2")
        );
        assert_ne!(
            key(1).server_key("replica-1"),
            key(2).server_key("replica-1")
        );
        assert_ne!(key(1).own_digest(), key(2).own_digest());
    }

    #[test]
    fn it_is_read_and_never_shown() {
        let text = "0f".repeat(32);
        let key: NodeKey = text.parse().unwrap();
        assert!(!format!("{key:?}").contains("0f"));
        for other in ["", "0f", &text[1..], &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(other.parse::<NodeKey>(), Err(InvalidNodeKey));
        }
    }
}
