//! Where `install.sh` put real vLLM and its tiny model.

use std::fs;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::stage::skip;

/// Which scenarios may run beside each other.
static CORES: RwLock<()> = RwLock::new(());

/// Real vLLM, and a model that it serves.
pub(super) struct Installed {
    root: PathBuf,
    _cores: Cores,
}

/// How much of this machine a scenario has.
#[expect(dead_code, reason = "they are held, and not looked at")]
enum Cores {
    Share(RwLockReadGuard<'static, ()>),
    All(RwLockWriteGuard<'static, ()>),
}

impl Installed {
    /// Finds it; says that the scenario is skipped where it is not there. A server that starts keeps one
    /// core busy, so that others of its sort may run beside it.
    pub(super) fn find(scenario: &str) -> Option<Self> {
        let share = || CORES.read().unwrap_or_else(PoisonError::into_inner);
        Self::for_part_or_all(scenario, || Cores::Share(share()))
    }

    /// The same, for one that starts several servers and measures them: nothing runs beside it.
    pub(super) fn alone(scenario: &str) -> Option<Self> {
        let all = || CORES.write().unwrap_or_else(PoisonError::into_inner);
        Self::for_part_or_all(scenario, || Cores::All(all()))
    }

    fn for_part_or_all(scenario: &str, cores: impl FnOnce() -> Cores) -> Option<Self> {
        let root = std::env::var_os("REPLICA_REAL_VLLM")
            .map_or_else(|| PathBuf::from("/srv/replica-vllm"), PathBuf::from);
        if root.join("installed").exists() {
            return Some(Self {
                root,
                _cores: cores(),
            });
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
