//! The two digests by which a cache knows its blobs.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// A digest that is being taken.
pub(super) enum Hasher {
    /// Of a large file.
    Sha256(Sha256),
    /// Of a small one, as git takes it.
    Git(Sha1),
}

impl Hasher {
    /// The hasher for a file that is known by this digest.
    pub(super) fn like(digest: &str, size: u64) -> Self {
        if digest.len() == 64 {
            return Self::Sha256(Sha256::new());
        }
        let mut sha1 = Sha1::new();
        sha1.update(format!("blob {size}\0"));
        Self::Git(sha1)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(sha256) => sha256.update(bytes),
            Self::Git(sha1) => sha1.update(bytes),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(sha256) => hex(&sha256.finalize()),
            Self::Git(sha1) => hex(&sha1.finalize()),
        }
    }
}

/// Whether a text is a digest by which a blob is called.
pub(super) fn is_digest(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_those_of_git_and_of_sha256sum() {
        let digest = |like: &str| {
            let mut hasher = Hasher::like(like, 6);
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            hasher.finish()
        };
        // git hash-object, and sha256sum, of `hello`.
        let (git, sha256) = (
            "ce013625030ba8dba906f756967f9e9ca394464a",
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        );
        assert_eq!(digest(git), git);
        assert_eq!(digest(sha256), sha256);
        assert!(is_digest(git) && is_digest(sha256));
        assert!(!is_digest("config.json") && !is_digest(&"Z".repeat(40)));
    }
}
