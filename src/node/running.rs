//! A script that runs on a node, whichever way the node is reached.
//!
//! A transport hands over three [`Pipes`]; everything else (markers, lines, what a missing status
//! means) is done here, once. The transport's own tasks always drain what the node sends, so a
//! reader that is slow, or gone, never holds up the connection that others share.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::name::NodeName;

use super::frame::AfterMarker;
use super::outcome::{ExitStatus, NodeError, Output};

/// What a transport reads.
#[derive(Debug)]
pub(super) enum Piece {
    Out(Bytes),
    Err(Bytes),
}

/// How a script's channel ended.
#[derive(Debug)]
pub(super) enum End {
    /// With a status.
    Status(ExitStatus),
    /// The node refused to run a shell.
    Refused,
    /// Without a word.
    Lost,
}

/// The two directions and the end of a script's channel.
#[derive(Debug)]
pub(super) struct Pipes {
    /// Its standard input; closed when dropped.
    pub(super) input: mpsc::Sender<Bytes>,
    /// What it writes. Unbounded: see the module.
    pub(super) pieces: mpsc::UnboundedReceiver<Piece>,
    /// How it ended; comes after the last piece.
    pub(super) end: oneshot::Receiver<End>,
}

/// A script that runs.
#[derive(Debug)]
pub(super) struct Running {
    node: NodeName,
    input: Option<mpsc::Sender<Bytes>>,
    pieces: mpsc::UnboundedReceiver<Piece>,
    end: oneshot::Receiver<End>,
    out: AfterMarker,
    err: AfterMarker,
}

impl Running {
    pub(super) fn new(node: NodeName, pipes: Pipes, marker: &str) -> Self {
        Self {
            node,
            input: Some(pipes.input),
            pieces: pipes.pieces,
            end: pipes.end,
            out: AfterMarker::new(marker),
            err: AfterMarker::new(marker),
        }
    }

    /// Writes to the script, and returns whether it still listens.
    pub(super) async fn write(&mut self, bytes: Bytes) -> bool {
        match &self.input {
            Some(input) => input.send(bytes).await.is_ok(),
            None => false,
        }
    }

    /// Writes to the script if that is taken at once, and returns whether it was.
    pub(super) fn try_write(&mut self, bytes: Bytes) -> bool {
        let input = self.input.as_ref();
        input.is_some_and(|input| input.try_send(bytes).is_ok())
    }

    /// Closes the script's standard input.
    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// The next thing that the script wrote, or nothing at its end.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            let (own, piece) = match self.pieces.recv().await? {
                Piece::Out(bytes) => (true, self.out.pass(bytes)),
                Piece::Err(bytes) => (false, self.err.pass(bytes)),
            };
            if !piece.is_empty() {
                return Some(if own {
                    Piece::Out(piece)
                } else {
                    Piece::Err(piece)
                });
            }
        }
    }

    /// Waits until the script begins. What it writes directly after its marker is returned too.
    ///
    /// # Errors
    ///
    /// When it ends before: there was no shell, or no connection.
    pub(super) async fn begun(&mut self) -> Result<Vec<Piece>, NodeError> {
        let mut early = Vec::new();
        while !self.out.seen() {
            let piece = match self.pieces.recv().await {
                None => return Err(self.ended().await.err().unwrap_or_else(|| self.no_shell())),
                Some(Piece::Out(bytes)) => Piece::Out(self.out.pass(bytes)),
                Some(Piece::Err(bytes)) => Piece::Err(self.err.pass(bytes)),
            };
            if !matches!(&piece, Piece::Out(bytes) | Piece::Err(bytes) if bytes.is_empty()) {
                early.push(piece);
            }
        }
        Ok(early)
    }

    /// How the script ended, after its last piece.
    ///
    /// # Errors
    ///
    /// [`NodeError::OutcomeUnknown`] when no status came, [`NodeError::NoShell`] when it never ran.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, NodeError> {
        while self.next().await.is_some() {}
        match (&mut self.end).await {
            Ok(End::Status(status)) if self.out.seen() => Ok(status),
            Ok(End::Status(_) | End::Refused) => Err(self.no_shell()),
            Ok(End::Lost) | Err(_) => Err(NodeError::OutcomeUnknown {
                node: self.node.clone(),
            }),
        }
    }

    /// Gathers everything that the script writes.
    pub(super) async fn gather(mut self) -> Result<Output, NodeError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = self.next().await {
            match piece {
                Piece::Out(bytes) => stdout.extend_from_slice(&bytes),
                Piece::Err(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
        let status = self.ended().await?;
        Ok(Output {
            status,
            stdout,
            stderr,
        })
    }

    fn no_shell(&self) -> NodeError {
        let said = [self.out.talk(), self.err.talk()].join("\n");
        let said = said.trim();
        NodeError::NoShell {
            node: self.node.clone(),
            said: if said.is_empty() {
                "nothing".to_owned()
            } else {
                said.to_owned()
            },
        }
    }
}
