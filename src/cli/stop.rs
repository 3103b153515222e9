//! How somebody ends what goes on until it is ended.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::Error;
use crate::quantity::Seconds;

/// The signals that end it. One that comes meanwhile counts as well.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits until somebody ends it.
    pub(super) async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whether somebody stops it before this time is over.
    pub(super) async fn comes_within(&mut self, pause: Seconds) -> bool {
        tokio::select! {
            biased;
            () = self.comes() => true,
            () = tokio::time::sleep(pause.duration()) => false,
        }
    }
}
