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

/// The file that it is kept in.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was kept; nothing if nothing was.
    pub(super) async fn load(&self) -> io::Result<Option<Kept>> {
        match tokio::fs::read(&self.path).await {
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
        let text = serde_json::to_vec(kept)?;
        let mut beside = self.path.clone().into_os_string();
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
        tokio::fs::rename(&beside, &self.path).await
    }
}
