//! A node that can be spoken to: this machine, or one reached by SSH.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::name::NodeName;
use crate::net::Authority;

use super::command::Command;
use super::declared::Reach;
use super::frame::{Stdin, frame, marker};
use super::held::Held;
use super::http::{HttpAnswer, HttpConnection, HttpRequest};
use super::lines::Lines;
use super::local::LocalNode;
use super::outcome::{ExitStatus, Line, NodeError, Output};
use super::running::Running;
use super::ssh::{ConnectOptions, SshNode};
use super::stream::Stream;
use super::unreachable::Unreachable;

/// A node that can be spoken to. Clones share one connection.
///
/// A connection that is lost is not made anew behind the caller's back: a lock that it held is
/// gone with it, and so is the right to go on.
#[derive(Debug, Clone)]
pub enum Node {
    /// This machine.
    Local(LocalNode),
    /// Another one.
    Ssh(SshNode),
}

impl Node {
    /// Connects to a node, or says why it cannot be reached and what would help.
    pub async fn connect(
        name: &NodeName,
        reach: &Reach,
        options: &ConnectOptions,
    ) -> Result<Node, Unreachable> {
        match reach {
            Reach::Local => Ok(Node::Local(LocalNode::new(name))),
            Reach::Ssh { user, host, port } => {
                let node = SshNode::connect(name, user.as_deref(), host, *port, options).await?;
                Ok(Node::Ssh(node))
            }
        }
    }

    /// The node's name in the manifest.
    pub fn name(&self) -> &NodeName {
        match self {
            Node::Local(node) => &node.name,
            Node::Ssh(node) => node.name(),
        }
    }

    /// Whether the node is this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Node::Local(_))
    }

    /// Whether the connection still stands, as far as is known.
    pub fn is_connected(&self) -> bool {
        match self {
            Node::Local(_) => true,
            Node::Ssh(node) => node.is_connected(),
        }
    }

    /// Runs a command to its end and returns all that it wrote. A status other than 0 is an
    /// outcome, not an error.
    ///
    /// A command whose caller goes away runs on.
    ///
    /// # Errors
    ///
    /// [`NodeError::OutcomeUnknown`] when the connection is lost before the status came.
    pub async fn run(&self, command: &Command) -> Result<Output, NodeError> {
        let mut running = self.begin(command, Stdin::Closed).await?;
        running.close_input();
        running.gather().await
    }

    /// Runs a command and passes on its lines as they come. When the receiver is dropped, or the
    /// future, or the connection, the command is ended with everything in its process group.
    ///
    /// # Errors
    ///
    /// [`NodeError::OutcomeUnknown`] when the connection is lost before the status came.
    pub async fn stream(
        &self,
        command: &Command,
        lines: mpsc::Sender<Line>,
    ) -> Result<ExitStatus, NodeError> {
        let mut running = self.begin(command, Stdin::Lifeline).await?;
        let mut open = Lines::default();
        'reading: while let Some(piece) = tokio::select! {
            piece = running.next() => piece,
            () = lines.closed() => None,
        } {
            for line in open.take(&piece) {
                if lines.send(line).await.is_err() {
                    break 'reading;
                }
            }
        }
        for line in open.rest() {
            let _ = lines.send(line).await;
        }
        running.close_input();
        running.ended().await
    }

    /// Runs a command that stays until it is let go. Its standard input stays open for as long;
    /// the command is to end when that closes (`cat >/dev/null`).
    ///
    /// # Errors
    ///
    /// When it does not begin.
    pub async fn hold(&self, command: &Command) -> Result<Held, NodeError> {
        let mut running = self.begin(command, Stdin::Open).await?;
        let early = running.begun().await?;
        Ok(Held::new(running, &early))
    }

    /// Opens a stream to a server that the node can reach, as the node dials it.
    ///
    /// # Errors
    ///
    /// [`NodeError::NotDialled`] when nothing listens there.
    pub async fn dial(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, NodeError> {
        match self {
            Node::Local(node) => Ok(Box::new(node.dial(host, port).await?)),
            Node::Ssh(node) => Ok(Box::new(node.dial(host, port).await?)),
        }
    }

    /// Whether the node's sshd lets nobody through to this port, whoever listens there.
    pub async fn forbids(&self, host: &str, port: u16) -> bool {
        match self {
            Node::Local(_) => false,
            Node::Ssh(node) => {
                let dialled = node.dial(host, port).await;
                matches!(dialled, Err(NodeError::Forbidden { .. }))
            }
        }
    }

    /// Connects to an HTTP server that the node can reach.
    ///
    /// # Errors
    ///
    /// [`NodeError::NotDialled`] when nothing listens there.
    pub async fn connect_http(&self, host: &str, port: u16) -> Result<HttpConnection, NodeError> {
        let stream = self.dial(host, port).await?;
        let authority = Authority::new(host, port).to_string();
        HttpConnection::over(stream, authority)
            .await
            .map_err(|reason| self.no_answer(host, port, reason))
    }

    /// Asks an HTTP server that the node can reach, and returns its answer whatever the status.
    ///
    /// # Errors
    ///
    /// When there is no answer, or none within the time.
    pub async fn http(
        &self,
        host: &str,
        port: u16,
        request: &HttpRequest,
        timeout: Duration,
    ) -> Result<HttpAnswer, NodeError> {
        let request = request.clone().header("connection", "close");
        let asked = async {
            let mut connection = self.connect_http(host, port).await?;
            let answer = connection.exchange(&request).await;
            answer.map_err(|reason| self.no_answer(host, port, reason))
        };
        tokio::time::timeout(timeout, asked)
            .await
            .unwrap_or_else(|_| Err(self.timed_out(host, port, timeout)))
    }

    pub(super) fn timed_out(&self, host: &str, port: u16, after: Duration) -> NodeError {
        NodeError::TimedOut {
            node: self.name().clone(),
            host: host.to_owned(),
            port,
            after,
        }
    }

    pub(super) fn no_answer(&self, host: &str, port: u16, reason: String) -> NodeError {
        NodeError::NoAnswer {
            node: self.name().clone(),
            host: host.to_owned(),
            port,
            reason,
        }
    }

    /// Starts a shell and sends it a script.
    pub(super) async fn begin(
        &self,
        command: &Command,
        stdin: Stdin,
    ) -> Result<Running, NodeError> {
        let text = command.full_text();
        if text.contains('\0') {
            return Err(NodeError::HoldsNul {
                node: self.name().clone(),
            });
        }
        let pipes = match self {
            Node::Local(node) => node.open()?,
            Node::Ssh(node) => node.open().await?,
        };
        let marker = marker();
        let mut running = Running::new(self.name().clone(), pipes, &marker);
        // A shell that is gone already is told from its end, not from this.
        let _ = running
            .write(Bytes::from(frame(&text, &marker, stdin)))
            .await;
        Ok(running)
    }
}
