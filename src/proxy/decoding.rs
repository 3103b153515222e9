//! An answer whose prompt another instance has read, on its way to the client.

use bytes::Bytes;

use super::leases::Lease;
use super::usage::Usage;

/// What is to be done about such an answer.
#[derive(Debug)]
pub(super) struct Decoding {
    /// What the other holds, until the first event is there: then it was fetched.
    lease: Option<Lease>,
    /// What is told of the tokens that were used, where somebody wants to know it.
    usage: Option<Usage>,
}

impl Decoding {
    /// Of one that has not begun.
    pub(super) fn new(lease: Option<Lease>, usage: Option<Usage>) -> Self {
        Self { lease, usage }
    }

    /// Takes the next piece, and returns what goes on to the client. `has_event` says whether an event was
    /// whole by now, and `is_last` whether nothing follows.
    pub(super) fn pass(&mut self, piece: Bytes, has_event: bool, is_last: bool) -> Bytes {
        if has_event {
            self.lease = None;
        }
        let Some(usage) = &mut self.usage else {
            return piece;
        };
        let passed = usage.pass(piece);
        if !is_last {
            return passed;
        }
        let rest = usage.end();
        if rest.is_empty() {
            return passed;
        }
        [passed, rest].concat().into()
    }

    /// What is left when nothing comes any more.
    pub(super) fn end(&mut self) -> Bytes {
        self.lease = None;
        self.usage.as_mut().map(Usage::end).unwrap_or_default()
    }
}
