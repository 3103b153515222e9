//! All requests at once: every connection is open before the first is sent.

use super::{Course, Pacing, Stop};

/// Returns the course of `n` requests, all in flight together.
pub(super) fn course(n: u32) -> Course {
    Course {
        pacing: Pacing::Closed { in_flight: n },
        stop: Stop::After(n),
    }
}
