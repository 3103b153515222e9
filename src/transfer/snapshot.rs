//! A snapshot in a Hugging Face cache: listed at one end, made at the other.
//!
//! ```text
//! models--<owner>--<name>/blobs/<digest>
//!                         snapshots/<commit>/<path> -> ../../blobs/<digest>
//!                         trees/<commit>.json
//!                         refs/main
//! ```

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::digest::{Hasher, is_digest};
use super::{Error, File, Listing};

/// What vLLM loads nothing from.
const LEFT_OUT: &str = "original";

/// Lists a snapshot.
pub(super) fn list(repo: &Path, revision: Option<&str>) -> Result<Listing, Error> {
    let revision = match revision {
        Some(revision) => revision.to_owned(),
        None => read(&repo.join("refs/main"))?.trim().to_owned(),
    };
    is_plain(&revision)?;
    let mut listing = Listing {
        tree: fs::read_to_string(tree(repo, &revision)).ok(),
        files: Vec::new(),
        revision,
    };
    let top = folder(repo, &listing.revision);
    walk(&top, "", &mut listing.files)?;
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn walk(folder: &Path, below: &str, files: &mut Vec<File>) -> Result<(), Error> {
    let unread = |error: io::Error| Error::of_file(folder.display(), &error);
    for entry in fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name();
        let path = below.to_owned() + &name.to_string_lossy();
        let at = entry.path();
        let what = fs::metadata(&at).map_err(|error| Error::of_file(at.display(), &error))?;
        if what.is_file() {
            files.push(File {
                digest: digest(&at)?,
                size: what.len(),
                path,
            });
        } else if what.is_dir() && path != LEFT_OUT {
            walk(&at, &(path + "/"), files)?;
        }
    }
    Ok(())
}

/// The digest of a file: its blob is called so, unless the cache was made without links.
fn digest(path: &Path) -> Result<String, Error> {
    let blob = fs::read_link(path).ok();
    let blob = blob.as_deref().and_then(Path::file_name);
    match blob.and_then(|name| name.to_str()) {
        Some(name) if is_digest(name) => Ok(name.to_owned()),
        _ => content_digest(path).map_err(|error| Error::of_file(path.display(), &error)),
    }
}

fn content_digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Hasher::Sha256(sha2::Digest::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// Makes a snapshot of blobs that are all there. Until this is done nothing names them.
pub(super) fn make(repo: &Path, listing: &Listing, names_main: bool) -> Result<(), Error> {
    if let Some(text) = &listing.tree {
        write(&tree(repo, &listing.revision), text)?;
    }
    let top = folder(repo, &listing.revision);
    if top.exists() {
        link_all(&top, listing)?;
    } else {
        // It appears at once, with everything in it.
        let staged = repo.join(".replica-snapshot");
        match fs::remove_dir_all(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::of_file(staged.display(), &error));
            }
            _ => {}
        }
        link_all(&staged, listing)?;
        let done = make_parent(&top).and_then(|()| fs::rename(&staged, &top));
        done.map_err(|error| Error::of_file(top.display(), &error))?;
    }
    if names_main {
        write(&repo.join("refs/main"), &listing.revision)?;
    }
    Ok(())
}

fn link_all(top: &Path, listing: &Listing) -> Result<(), Error> {
    for file in &listing.files {
        let at = top.join(&file.path);
        link(&at, file).map_err(|error| Error::of_file(at.display(), &error))?;
    }
    Ok(())
}

/// Links a path of a snapshot to its blob, whatever stood there.
fn link(at: &Path, file: &File) -> io::Result<()> {
    let up = "../".repeat(file.path.matches('/').count() + 2);
    let target = format!("{up}blobs/{}", file.digest);
    make_parent(at)?;
    let new = at.with_file_name(".replica-link");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(target, &new)?,
    }
    fs::rename(new, at)
}

/// Writes a small file in one step.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let new = path.with_extension("replica-new");
    make_parent(path)
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| Error::of_file(path.display(), &error))
}

pub(super) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::of_file(path.display(), &error))
}

fn folder(repo: &Path, revision: &str) -> PathBuf {
    repo.join("snapshots").join(revision)
}

fn tree(repo: &Path, revision: &str) -> PathBuf {
    repo.join("trees").join(format!("{revision}.json"))
}

/// Refuses a listing that would lead out of the cache.
pub(super) fn check(listing: &Listing) -> Result<(), Error> {
    is_plain(&listing.revision)?;
    for file in &listing.files {
        file.path.split('/').try_for_each(is_plain)?;
        if !is_digest(&file.digest) {
            return Err(Error::new(format!("`{}` is no digest", file.digest)));
        }
    }
    Ok(())
}

fn is_plain(name: &str) -> Result<(), Error> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(Error::new(format!("`{name}` is no name in a snapshot")));
    }
    Ok(())
}
