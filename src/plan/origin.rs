//! Where a manifest comes from.

use serde::{Deserialize, Serialize};

/// Where the manifest of a measurement comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestOrigin {
    /// The file, as it was named.
    pub file: String,
    /// The digest of its bytes, in hex.
    pub sha256: String,
    /// The commit that is checked out where it lies, if it lies in a repository.
    pub commit: Option<String>,
    /// Whether it is another there than in that commit, or not in it.
    pub is_modified: Option<bool>,
}
