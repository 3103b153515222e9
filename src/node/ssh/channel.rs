//! What runs over a connection: shells, and streams to ports that the node can reach.
//!
//! Three traps of the protocol and of `russh` are met here. An exit status may come before or
//! after the end of the output, so a channel is read until nothing more comes. A channel that is
//! not drained stops all others, so each has a task that always drains it. A write to a peer that
//! froze never returns, so each write is given up when the channel ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::name::NodeName;
use crate::node::outcome::{ExitStatus, NodeError};
use crate::node::running::{End, Piece, Pipes};

use super::dialled::Dialled;
use super::link::Link;
use super::spare;

/// How often a refused session is asked for again: somebody else may hold the others just now.
const SESSION_TRIES: u32 = 6;

/// Why a channel did not open.
#[derive(Debug)]
pub(super) enum ChannelRefusal {
    /// The connection is gone.
    Lost,
    /// The server said no.
    Refused(ChannelOpenFailure),
}

impl From<russh::Error> for ChannelRefusal {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::ChannelOpenFailure(reason) => ChannelRefusal::Refused(reason),
            _ => ChannelRefusal::Lost,
        }
    }
}

impl ChannelRefusal {
    pub(super) fn at_shell(self, node: &NodeName) -> NodeError {
        let node = node.clone();
        match self {
            ChannelRefusal::Lost => NodeError::Disconnected { node },
            ChannelRefusal::Refused(reason) => NodeError::NoSession {
                node,
                reason: format!(
                    "{reason:?}, {SESSION_TRIES} times; its sshd may be at its MaxSessions limit"
                ),
            },
        }
    }

    /// Whether the server lets nobody through, whoever listens there. One that was built without
    /// forwarding knows no such channel.
    pub(super) fn is_of_forwarding(&self) -> bool {
        matches!(
            self,
            ChannelRefusal::Refused(
                ChannelOpenFailure::AdministrativelyProhibited
                    | ChannelOpenFailure::UnknownChannelType
            )
        )
    }

    pub(super) fn at_port(self, node: &NodeName, host: &str, port: u16) -> NodeError {
        let (node, host) = (node.clone(), host.to_owned());
        if self.is_of_forwarding() {
            return NodeError::Forbidden { node, host, port };
        }
        let reason = match self {
            ChannelRefusal::Lost => return NodeError::Disconnected { node },
            ChannelRefusal::Refused(ChannelOpenFailure::ConnectFailed) => {
                "connection refused".to_owned()
            }
            ChannelRefusal::Refused(other) => format!("{other:?}"),
        };
        NodeError::NotDialled {
            node,
            host,
            port,
            reason,
        }
    }
}

/// Starts a shell that reads its script from its standard input.
pub(super) async fn shell(link: &Arc<Link>) -> Result<Pipes, ChannelRefusal> {
    let permit = link.session_permit().await;
    let channel = session_in_turn(link).await?;
    // `exec`: the login shell is gone before the script starts, and its process id is ours.
    channel.exec(true, "exec sh -s").await?;
    let (read, write) = channel.split();
    let (input, to_node) = mpsc::channel(4);
    let (out, pieces) = mpsc::unbounded_channel();
    let (ended, end) = oneshot::channel();
    let (gone, channel_gone) = oneshot::channel();
    tokio::spawn(feed(write, to_node, channel_gone));
    let link = Arc::clone(link);
    link.open.send_modify(|open| *open += 1);
    spare::prepare(&link);
    tokio::spawn(async move {
        let end = drain(read, out).await;
        drop(gone);
        let _ = ended.send(end);
        // The connection and its place on it are held until here.
        release(permit, &link);
    });
    Ok(Pipes { input, pieces, end })
}

fn release(permit: OwnedSemaphorePermit, link: &Link) {
    link.open.send_modify(|open| *open -= 1);
    drop(permit);
}

/// Opens a session; where the server allows fewer than we would have, when one of ours has ended.
async fn session_in_turn(link: &Link) -> Result<Channel<Msg>, ChannelRefusal> {
    let mut open = link.open.subscribe();
    loop {
        open.mark_unchanged();
        let refused = match session(link).await {
            Err(refused @ ChannelRefusal::Refused(_)) => refused,
            other => return other,
        };
        // One session may be held for the whole run: only of a second is it sure that it ends.
        let moves = open.has_changed().unwrap_or(false) || *open.borrow() > 1;
        if !moves || open.changed().await.is_err() {
            return Err(refused);
        }
    }
}

async fn session(link: &Link) -> Result<Channel<Msg>, ChannelRefusal> {
    let mut pause = Duration::from_millis(50);
    for _ in 1..SESSION_TRIES {
        // It may have become the last that the server opens while this one was refused.
        if let Some(channel) = link.spare.take() {
            return Ok(channel);
        }
        match link.handle.channel_open_session().await {
            Err(russh::Error::ChannelOpenFailure(_)) => {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                pause *= 2;
            }
            other => return Ok(other?),
        }
    }
    Ok(link.handle.channel_open_session().await?)
}

async fn feed(
    write: ChannelWriteHalf<Msg>,
    mut bytes: mpsc::Receiver<Bytes>,
    channel_gone: oneshot::Receiver<()>,
) {
    let fed = async {
        while let Some(piece) = bytes.recv().await {
            if write.data_bytes(piece).await.is_err() {
                return;
            }
        }
        let _ = write.eof().await;
    };
    tokio::select! {
        () = fed => {}
        _ = channel_gone => {
            let _ = write.close().await;
        }
    }
}

async fn drain(mut read: ChannelReadHalf, pieces: mpsc::UnboundedSender<Piece>) -> End {
    let mut end = End::Lost;
    while let Some(message) = read.wait().await {
        // Nobody may be listening any more; the channel is drained all the same.
        match message {
            ChannelMsg::Data { data } => drop(pieces.send(Piece::Out(data))),
            ChannelMsg::ExtendedData { data, ext: 1 } => drop(pieces.send(Piece::Err(data))),
            ChannelMsg::ExitStatus { exit_status } => {
                end = End::Status(ExitStatus::Exit(exit_status.cast_signed()));
            }
            ChannelMsg::ExitSignal { signal_name, .. } => {
                end = End::Status(ExitStatus::Signal(signal(signal_name)));
            }
            ChannelMsg::Failure => return End::Refused,
            _ => {}
        }
    }
    end
}

fn signal(signal: Sig) -> String {
    match signal {
        Sig::Custom(name) => name,
        known => format!("{known:?}"),
    }
}

/// Opens a stream to a port, as the node dials it.
pub(super) async fn dial(
    link: &Arc<Link>,
    host: &str,
    port: u16,
) -> Result<Dialled, ChannelRefusal> {
    let opened = link
        .handle
        .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)
        .await?;
    let (read, write) = opened.split();
    let writer = Box::pin(write.make_writer());
    let (out, incoming) = mpsc::unbounded_channel();
    let (gone, channel_gone) = oneshot::channel();
    let link = Arc::clone(link);
    tokio::spawn(async move {
        drain_dialled(read, write, out).await;
        drop(gone);
        drop(link);
    });
    Ok(Dialled::new(incoming, writer, channel_gone))
}

async fn drain_dialled(
    mut read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    out: mpsc::UnboundedSender<Bytes>,
) {
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = out.closed() => break,
        };
        match message {
            Some(ChannelMsg::Data { data }) => drop(out.send(data)),
            // The peer may still read; that it writes no more is the end of what we read.
            Some(ChannelMsg::Eof) => {
                let _ = out.send(Bytes::new());
            }
            Some(_) => {}
            None => return,
        }
    }
    let _ = write.close().await;
    while read.wait().await.is_some() {}
}
