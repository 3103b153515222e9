//! Taking the log of a failure from its node.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::node::{Command, Node, quote_path};
use crate::plan::Failure;
use crate::plan::effect::KeepLog;
use crate::redact::redacted_bytes;

/// As much of the end of a log as is kept, in bytes.
const MOST: usize = 4 << 20;

/// Writes the log into a folder of this machine, for its owner alone to read, and returns where.
///
/// # Errors
///
/// When it cannot be read there or written here.
pub async fn keep_log(node: &Node, keep: &KeepLog, folder: &Path) -> Result<PathBuf, Failure> {
    let script = format!("tail -c {MOST} -- {}", quote_path(&keep.log));
    let output = node.run(&Command::script(script)).await?;
    if !output.success() {
        let why = output.complaint();
        return Err(Failure::new(format!(
            "`{}` cannot be read: {why}",
            keep.log
        )));
    }
    let path = folder.join(&keep.name);
    write(&path, &output.stdout).map_err(|error| {
        Failure::new(format!(
            "the log of its failure cannot be kept in {}: {error}",
            path.display()
        ))
        .hinted("name another folder with --results, or make that one writable")
    })?;
    Ok(path)
}

fn write(path: &Path, log: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(&redacted_bytes(log))
}
