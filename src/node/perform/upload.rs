//! Putting a file on a node: beside its target, its digest checked there, then into its place.

use std::path::Path;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::hex::hex;
use crate::node::frame::Stdin;
use crate::node::running::Piece;
use crate::node::{Command, Node, NodeError, quote_path};
use crate::plan::Failure;
use crate::plan::effect::Upload;

const CHUNK: usize = 128 * 1024;

/// Puts a file of this machine at a path of the node, mode 0755.
///
/// # Errors
///
/// When it cannot be read here, and when it cannot be written there, with the cause, such as a full
/// disk; what stood there before is untouched.
pub async fn upload(node: &Node, upload: &Upload) -> Result<(), Failure> {
    let sha256 = digest(&upload.source).await?;
    Ok(put(node, upload, &sha256, &upload.note()).await?)
}

/// The digest of what a file holds, in hex.
async fn digest(source: &Path) -> Result<String, NodeError> {
    let mut file = File::open(source).await.map_err(unreadable(source))?;
    let mut digest = Sha256::new();
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while file
        .read_buf(&mut buffer)
        .await
        .map_err(unreadable(source))?
        > 0
    {
        digest.update(&buffer);
        buffer.clear();
    }
    Ok(hex(&digest.finalize()))
}

fn unreadable(source: &Path) -> impl Fn(std::io::Error) -> NodeError {
    move |error| NodeError::Unreadable {
        path: source.display().to_string(),
        reason: error.to_string(),
    }
}

/// The same of a file whose digest is known, of which nothing is noted.
#[cfg(test)]
pub(in crate::node) async fn send(
    node: &Node,
    source: &Path,
    target: &str,
    sha256: &str,
) -> Result<(), NodeError> {
    let upload = Upload {
        source: source.to_owned(),
        target: target.to_owned(),
    };
    put(node, &upload, sha256, "").await
}

/// Sends a file; it takes its place in one step, and only where this is its digest there. That is
/// noted in a file beside it, where one is named.
async fn put(node: &Node, upload: &Upload, sha256: &str, note: &str) -> Result<(), NodeError> {
    let Upload { source, target } = upload;
    let mut file = File::open(source).await.map_err(unreadable(source))?;
    let script = format!(
        "r_target={} r_note={}\n{}",
        quote_path(target),
        quote_path(note),
        include_str!("../script/upload.sh")
    );
    let command = Command::script(script)
        .with("r_sha256", &sha256.to_ascii_lowercase())
        .with("r_nonce", &format!("{:016x}", fastrand::u64(..)));
    let mut running = node.begin(&command, Stdin::Open).await?;
    // Only now has the shell read its script; what is sent from here on is the file.
    let mut pieces = running.begun().await?;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        if file
            .read_buf(&mut buffer)
            .await
            .map_err(unreadable(source))?
            == 0
        {
            break;
        }
        // A node that stops listening has said why; its status follows.
        if !running.write(buffer.split().freeze()).await {
            break;
        }
    }
    running.close_input();
    while let Some(piece) = running.next().await {
        pieces.push(piece);
    }
    let status = running.ended().await?;
    if status.success() {
        return Ok(());
    }
    Err(NodeError::NotWritten {
        node: node.name().clone(),
        target: target.clone(),
        reason: reason(&pieces).unwrap_or_else(|| status.to_string()),
    })
}

/// The last line that the script complained with.
fn reason(pieces: &[Piece]) -> Option<String> {
    let mut text = Vec::new();
    for piece in pieces {
        if let Piece::Err(bytes) = piece {
            text.extend_from_slice(bytes);
        }
    }
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(|line| line.trim().to_owned())
}
