//! Connections that are open before the requests that take them.
//!
//! Each carries one request. One that the server has closed meanwhile, before a byte was sent over it,
//! is put away and another is made; what was sent is never sent again.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::drive::Transport;

/// A stock of connections.
pub(super) struct Stock<T: Transport> {
    transport: Arc<T>,
    /// How many it holds when it is full.
    size: usize,
    /// The oldest first.
    held: VecDeque<Held<T::Connection>>,
}

/// A connection of the stock.
pub(super) enum Held<C> {
    /// It is being made.
    Opening(JoinHandle<C>),
    /// It is there.
    Open(C),
}

impl<C> Held<C> {
    /// The connection, once it is there; nothing where what made it was ended with its runtime.
    pub(super) async fn ready(self) -> Option<C> {
        match self {
            Self::Opening(opening) => opening.await.ok(),
            Self::Open(connection) => Some(connection),
        }
    }
}

impl<T: Transport> Stock<T> {
    /// An empty one that holds so many.
    pub(super) fn of(transport: Arc<T>, size: u32) -> Self {
        Self {
            transport,
            size: size as usize,
            held: VecDeque::new(),
        }
    }

    /// Begins to make what it lacks, and no more than there are requests left for.
    pub(super) fn fill(&mut self, left: Option<u32>) {
        let wanted = left.map_or(self.size, |left| self.size.min(left as usize));
        while self.held.len() < wanted {
            let transport = Arc::clone(&self.transport);
            let opening = tokio::spawn(async move { transport.open().await });
            self.held.push_back(Held::Opening(opening));
        }
    }

    /// Waits until all of it is there.
    pub(super) async fn filled(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.held.extend(held.ready().await.map(Held::Open));
        }
    }

    /// Takes the oldest connection, unless it went bad.
    pub(super) fn take(&mut self) -> Option<Held<T::Connection>> {
        let is_good = |held: &Held<T::Connection>| match held {
            Held::Opening(_) => true,
            Held::Open(connection) => self.transport.is_good(connection),
        };
        std::iter::from_fn(|| self.held.pop_front()).find(is_good)
    }
}
