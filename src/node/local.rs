//! This machine as a node: the same scripts, run by a child of this program.

use std::path::PathBuf;
use std::process::{ExitStatus as ChildStatus, Stdio};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, oneshot};

use crate::name::NodeName;

use super::outcome::{ExitStatus, NodeError};
use super::running::{End, Piece, Pipes};

/// This machine. Scripts have the environment of this program, and its home.
#[derive(Debug, Clone)]
pub struct LocalNode {
    pub(super) name: NodeName,
    /// The shell: `sh`, but for tests.
    pub(super) shell: PathBuf,
}

impl LocalNode {
    pub(super) fn new(name: &NodeName) -> Self {
        Self {
            name: name.clone(),
            shell: PathBuf::from("sh"),
        }
    }

    pub(super) fn open(&self) -> Result<Pipes, NodeError> {
        let mut command = tokio::process::Command::new(&self.shell);
        // A group of its own: a terminal's Ctrl-C is for this program alone, and a script that
        // loses its client ends its group.
        command
            .arg("-s")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // An SSH session begins in the home too.
        if let Some(home) = std::env::home_dir().filter(|home| home.is_dir()) {
            command.current_dir(home);
        }
        let child = command.spawn().map_err(|error| NodeError::NoSession {
            node: self.name.clone(),
            reason: format!("`{}` cannot be run: {error}", self.shell.display()),
        })?;
        Ok(attend(child))
    }

    pub(super) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, NodeError> {
        let dialled = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        dialled
            .await
            .map_err(|error: std::io::Error| NodeError::NotDialled {
                node: self.name.clone(),
                host: host.to_owned(),
                port,
                reason: error.to_string(),
            })
    }
}

/// Gives a child the tasks that feed it, drain it, and wait for it.
fn attend(mut child: Child) -> Pipes {
    let (input, to_child) = mpsc::channel(4);
    let (out, pieces) = mpsc::unbounded_channel();
    let (ended, end) = oneshot::channel();
    let (gone, child_gone) = oneshot::channel();
    let stdin = child.stdin.take().expect("stdin is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    tokio::spawn(feed(stdin, to_child, child_gone));
    tokio::spawn(async move {
        tokio::join!(
            drain(stdout, out.clone(), Piece::Out),
            drain(stderr, out.clone(), Piece::Err)
        );
        drop(out);
        let end = match child.wait().await {
            Ok(status) => End::Status(outcome(status)),
            Err(_) => End::Lost,
        };
        drop(gone);
        let _ = ended.send(end);
    });
    Pipes { input, pieces, end }
}

async fn feed(
    mut stdin: ChildStdin,
    mut bytes: mpsc::Receiver<Bytes>,
    mut child_gone: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            next = bytes.recv() => match next {
                Some(piece) => {
                    if stdin.write_all(&piece).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
            _ = &mut child_gone => return,
        }
    }
}

async fn drain(
    mut pipe: impl AsyncRead + Unpin,
    pieces: mpsc::UnboundedSender<Piece>,
    piece: fn(Bytes) -> Piece,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        match pipe.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            // Nobody may be listening any more; the child is drained all the same.
            Ok(_) => drop(pieces.send(piece(buffer.split().freeze()))),
        }
    }
}

fn outcome(status: ChildStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Exit(code),
        (None, signal) => ExitStatus::Signal(signal_name(signal.unwrap_or_default())),
    }
}

/// A signal's name as SSH tells it.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        other => return other.to_string(),
    };
    name.to_owned()
}
