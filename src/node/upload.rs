//! Putting a file on a node: beside its target, its digest checked there, then into its place.

use std::path::Path;

use bytes::BytesMut;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::command::{Command, quote_path};
use super::frame::Stdin;
use super::outcome::NodeError;
use super::running::Piece;
use super::transport::Node;

const CHUNK: usize = 128 * 1024;

pub(super) async fn upload(
    node: &Node,
    source: &Path,
    target: &str,
    sha256: &str,
) -> Result<(), NodeError> {
    let unreadable = |error: std::io::Error| NodeError::Unreadable {
        path: source.display().to_string(),
        reason: error.to_string(),
    };
    let mut file = File::open(source).await.map_err(unreadable)?;
    let script = format!(
        "r_target={}\n{}",
        quote_path(target),
        include_str!("script/upload.sh")
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
        if file.read_buf(&mut buffer).await.map_err(unreadable)? == 0 {
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
        target: target.to_owned(),
        reason: reason(&pieces).unwrap_or_else(|| status.to_string()),
    })
}

/// Returns the last line that the script complained with.
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
