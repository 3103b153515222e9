//! A stream of bytes to a server.

use tokio::io::{AsyncRead, AsyncWrite};

/// A two-way stream of bytes to a server that a node can reach.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
