//! The other side of the control socket: tells the proxy something and hears it out.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;

use super::{Reply, Request};

/// Why there is no answer from the proxy.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No proxy listens there.
    #[error("no proxy answers at `{path}`: {error}")]
    Unreachable {
        /// The socket's path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It closed the connection before it was done, as when it is stopped.
    #[error("the proxy hung up before it was done")]
    HungUp,
    /// What it said is not a reply.
    #[error("the proxy said `{line}`, which is no reply: {error}")]
    Unintelligible {
        /// What it said.
        line: String,
        /// Why it is none.
        error: serde_json::Error,
    },
    /// What was to be passed on is not a request.
    #[error("not a request: {0}")]
    NotARequest(serde_json::Error),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Tells the proxy at `socket` something, passes on each `Waiting`, and returns the last reply.
pub async fn call(
    socket: &Path,
    request: &Request,
    mut on_waiting: impl FnMut(&Reply),
) -> Result<Reply, ControlError> {
    let mut conversation = Conversation::begin(socket, request).await?;
    loop {
        let reply = conversation.next().await?;
        if !matches!(reply, Reply::Waiting { .. }) {
            return Ok(reply);
        }
        on_waiting(&reply);
    }
}

/// Reads one request, a line of JSON, from `input`, and writes each reply, a line of JSON, to
/// `output` as it comes. Returns the last one.
pub async fn relay(
    socket: &Path,
    input: impl AsyncBufRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> Result<Reply, ControlError> {
    let line = input.lines().next_line().await?.unwrap_or_default();
    let request = serde_json::from_str(&line).map_err(ControlError::NotARequest)?;
    let mut conversation = Conversation::begin(socket, &request).await?;
    loop {
        let reply = conversation.next().await?;
        output.write_all(&as_line(&reply)?).await?;
        output.flush().await?;
        if !matches!(reply, Reply::Waiting { .. }) {
            return Ok(reply);
        }
    }
}

struct Conversation {
    replies: Lines<BufReader<OwnedReadHalf>>,
    /// Kept open: the proxy stops waiting for us when it is closed.
    _asking: tokio::net::unix::OwnedWriteHalf,
}

impl Conversation {
    async fn begin(socket: &Path, request: &Request) -> Result<Self, ControlError> {
        let stream =
            UnixStream::connect(socket)
                .await
                .map_err(|error| ControlError::Unreachable {
                    path: socket.to_owned(),
                    error,
                })?;
        let (read, mut asking) = stream.into_split();
        asking.write_all(&as_line(request)?).await?;
        Ok(Self {
            replies: BufReader::new(read).lines(),
            _asking: asking,
        })
    }

    async fn next(&mut self) -> Result<Reply, ControlError> {
        let line = self.replies.next_line().await?;
        let line = line.ok_or(ControlError::HungUp)?;
        serde_json::from_str(&line).map_err(|error| ControlError::Unintelligible { line, error })
    }
}

fn as_line(value: &impl serde::Serialize) -> Result<Vec<u8>, io::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
