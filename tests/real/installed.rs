//! Where `install.sh` put real vLLM and its tiny model.

use std::fs;
use std::path::PathBuf;

use super::stage::skip;

/// Real vLLM, and a model that it serves.
pub(super) struct Installed {
    root: PathBuf,
}

impl Installed {
    /// Finds it; says that the scenario is skipped where it is not there.
    pub(super) fn find(scenario: &str) -> Option<Self> {
        let root = std::env::var_os("REPLICA_REAL_VLLM")
            .map_or_else(|| PathBuf::from("/srv/replica-vllm"), PathBuf::from);
        if root.join("installed").exists() {
            return Some(Self { root });
        }
        let why = format!(
            "real vLLM is not below {}: run tests/real/install.sh",
            root.display()
        );
        skip(scenario, &why);
        None
    }

    /// The virtual environment.
    pub(super) fn venv(&self) -> PathBuf {
        self.root.join("venv")
    }

    /// The cache that holds the model `replica-test/tiny-llama`.
    pub(super) fn hub(&self) -> PathBuf {
        self.root.join("hub")
    }

    /// The snapshot of the model.
    pub(super) fn snapshot(&self) -> PathBuf {
        let repo = self.hub().join("models--replica-test--tiny-llama");
        let commit = fs::read_to_string(repo.join("refs/main")).expect("the model is there");
        repo.join("snapshots").join(commit)
    }
}
