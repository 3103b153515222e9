//! The last configuration, kept beside the proxy for its next start.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use super::control::Config;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) config: Config,
    /// Backends that were told to drain: a restart of the proxy does not end that.
    #[serde(default)]
    pub(super) draining: BTreeSet<String>,
}

/// The file that it is kept in, if it is.
#[derive(Debug)]
pub(super) struct Store {
    path: Option<PathBuf>,
}

impl Store {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("nowhere"))
    }

    /// What was kept; nothing if nothing was.
    pub(super) async fn load(&self) -> io::Result<Option<Kept>> {
        let Some(path) = &self.path else {
            return Ok(None);
        };
        match tokio::fs::read(path).await {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a configuration, for the eyes of its owner alone: there are keys in it. Whoever reads
    /// the file, whenever, finds the old one or the new.
    pub(super) async fn save(&self, kept: &Kept) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let text = serde_json::to_vec(kept)?;
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        // One that was left half written may be open to others.
        let _ = tokio::fs::remove_file(&beside).await;
        let mut options = tokio::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .await?;
        file.write_all(&text).await?;
        file.sync_all().await?;
        tokio::fs::rename(&beside, path).await?;
        let _ = forget_older(path);
        Ok(())
    }
}

/// Removes what earlier starts have kept beside this: nobody reads that any more. A file that stays
/// is in nobody's way.
fn forget_older(path: &Path) -> Option<()> {
    let (stem, own) = numbered(path)?;
    for entry in std::fs::read_dir(path.parent()?).ok()?.flatten() {
        let path = entry.path();
        let is_older = numbered(&path).is_some_and(|(it, number)| it == stem && number < own);
        if is_older {
            let _ = std::fs::remove_file(path);
        }
    }
    Some(())
}

/// Takes `proxy.7.json` apart.
fn numbered(path: &Path) -> Option<(String, u64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let (stem, number) = name.rsplit_once('.')?;
    Some((stem.to_owned(), number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_earlier_starts_have_kept_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "proxy.2.json",
            "proxy.9.json",
            "proxy.11.json",
            "other.2.json",
            "proxy.sock",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let kept = Kept {
            config: Config {
                generation: 1,
                backends: Vec::new(),
                policy: crate::proxy::policy::PolicySpec::default(),
                timeouts: crate::proxy::control::Timeouts::default(),
                limits: crate::proxy::control::InstanceLimits::default(),
                client_keys: Vec::new(),
                headers: true,
                access_log: None,
                drained: BTreeSet::new(),
                weights: std::collections::BTreeMap::new(),
            },
            draining: BTreeSet::new(),
        };
        let store = Store::new(Some(folder.path().join("proxy.10.json")));
        store.save(&kept).await.unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let want = [
            "other.2.json",
            "proxy.10.json",
            "proxy.11.json",
            "proxy.sock",
        ];
        assert_eq!(left, want);
    }
}
