//! Where a manifest comes from, for the results of what it declares: its digest, and the commit that
//! it is of where it lies in a repository of git.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::manifest::{JobFile, Manifest};
use crate::plan::ManifestOrigin;

/// A repository that answers more slowly than this is not waited for.
const LIMIT: Duration = Duration::from_secs(2);

/// Where a manifest comes from. That there is no repository, or no git, is no error.
pub(super) async fn origin(manifest: &Manifest) -> ManifestOrigin {
    origin_of(&manifest.path, &manifest.folder, &manifest.sha256).await
}

/// The same of a job that stands in a file of its own.
pub(super) async fn origin_of_job(job: &JobFile) -> ManifestOrigin {
    origin_of(&job.path, &job.folder, &job.sha256).await
}

async fn origin_of(path: &Path, folder: &Path, sha256: &str) -> ManifestOrigin {
    let head = git(folder, &["rev-parse", "--verify", "HEAD"]).await;
    let commit = head.map(|said| said.trim().to_owned());
    let is_modified = match &commit {
        Some(_) => is_modified(path, folder).await,
        None => None,
    };
    ManifestOrigin {
        file: path.display().to_string(),
        sha256: sha256.to_owned(),
        commit,
        is_modified,
    }
}

/// Whether the file is another than the commit's, or is not in it.
async fn is_modified(path: &Path, folder: &Path) -> Option<bool> {
    let name = path.file_name()?.to_str()?;
    let changes = git(folder, &["status", "--porcelain", "--", name]).await?;
    Some(!changes.is_empty())
}

async fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    let command = command.arg("-C").arg(folder).args(words);
    // It looks, and takes no lock that another git would stumble over.
    let command = command.env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null());
    let said: Output = timeout(LIMIT, command.kill_on_drop(true).output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8(said.stdout).ok()?;
    said.status.success().then_some(text)
}
