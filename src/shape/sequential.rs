//! One request after another: each is sent when the one before it has ended.

use super::{Course, Pacing, Stop};

/// Returns the course of `n` requests, one at a time.
pub(super) fn course(n: u32) -> Course {
    Course {
        pacing: Pacing::Closed { in_flight: 1 },
        stop: Stop::After(n),
    }
}
