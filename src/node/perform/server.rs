//! A server that is asked several things.

use std::time::Duration;

use tokio::time::timeout;

use crate::node::{HttpAnswer, HttpConnection, HttpRequest, Node, NodeError};

/// A server that a node can reach, asked over one connection for as long as it keeps that open: over
/// SSH each new one costs a round trip.
pub(super) struct Server<'a> {
    node: &'a Node,
    host: &'a str,
    port: u16,
    /// What the last answer came over, where more can be asked over it.
    connection: Option<HttpConnection>,
}

impl<'a> Server<'a> {
    pub(super) fn new(node: &'a Node, host: &'a str, port: u16) -> Self {
        Self {
            node,
            host,
            port,
            connection: None,
        }
    }

    /// Goes on over a connection that is there already.
    pub(super) fn over(&mut self, connection: HttpConnection) {
        self.connection = Some(connection);
    }

    /// Asks it, and returns its answer whatever the status.
    pub(super) async fn http(
        &mut self,
        request: &HttpRequest,
        limit: Duration,
    ) -> Result<HttpAnswer, NodeError> {
        let kept = self.connection.take();
        let asked = timeout(limit, self.ask(kept, request)).await;
        asked.unwrap_or_else(|_| Err(self.node.timed_out(self.host, self.port, limit)))
    }

    async fn ask(
        &mut self,
        kept: Option<HttpConnection>,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, NodeError> {
        if let Some(mut connection) = kept
            && let Ok(answer) = connection.exchange(request).await
        {
            self.connection = Some(connection);
            return Ok(answer);
        }
        // There was none, or the server has closed it meanwhile.
        let mut connection = self.node.connect_http(self.host, self.port).await?;
        let answer = connection.exchange(request).await;
        let answer = answer.map_err(|why| self.node.no_answer(self.host, self.port, why))?;
        self.connection = Some(connection);
        Ok(answer)
    }
}
