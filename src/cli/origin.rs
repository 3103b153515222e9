//! Where a manifest comes from, for the results of what it declares: its digest, and the commit that
//! it is of where it lies in a repository of git.

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::manifest::Manifest;
use crate::plan::ManifestOrigin;

/// A repository that answers more slowly than this is not waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// Where a manifest comes from. That there is no repository, or no git, is no error.
pub(super) async fn origin(manifest: &Manifest) -> ManifestOrigin {
    let head = git(manifest, &["rev-parse", "--verify", "HEAD"]).await;
    let commit = head.map(|said| said.trim().to_owned());
    let is_modified = match &commit {
        Some(_) => status(manifest).await,
        None => None,
    };
    ManifestOrigin {
        file: manifest.path.display().to_string(),
        sha256: manifest.sha256.clone(),
        commit,
        is_modified,
    }
}

/// Whether the file is another than the commit's, or is not in it.
async fn status(manifest: &Manifest) -> Option<bool> {
    let name = manifest.path.file_name()?.to_str()?;
    let changes = git(manifest, &["status", "--porcelain", "--", name]).await?;
    Some(!changes.is_empty())
}

async fn git(manifest: &Manifest, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    let command = command.arg("-C").arg(&manifest.folder).args(words);
    // It looks, and takes no lock that another git would stumble over.
    let command = command.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null());
    let said: Output = timeout(LIMIT, command.kill_on_drop(true).output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    said.status.success().then_some(text)
}
