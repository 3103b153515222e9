//! The thread that sends: a runtime of its own, on which nothing else runs.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::counts::Counts;
use crate::plan::{Failure, Phase};
use crate::results::tidy;

/// How much of a core the thread that asks has used, from a moment on.
#[derive(Debug)]
pub(super) struct Effort {
    began: Instant,
    used: Duration,
}

impl Effort {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            used: used(),
        }
    }

    /// Between 0 and 1, until now.
    pub(super) fn share(&self) -> Option<f64> {
        let wall = self.began.elapsed().as_secs_f64();
        let used = used().saturating_sub(self.used).as_secs_f64();
        (wall > 0.0).then(|| tidy(used / wall))
    }
}

/// The time of a processor that this thread has had.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// Runs a future on a thread and a runtime of its own. Dropping the receiver ends it.
pub(super) fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<oneshot::Receiver<T>, Failure> {
    let failed = |error| Failure::new(format!("cannot start the load generator: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let (mut done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            let seen = runtime.block_on(async {
                tokio::select! {
                    seen = work => Some(seen),
                    () = done.closed() => None,
                }
            });
            if let Some(seen) = seen {
                let _ = done.send(seen);
            }
        })
        .map_err(failed)?;
    Ok(outcome)
}

/// Waits for what a thread brings home, and tells how far it is meanwhile.
pub(super) async fn watched<T>(
    mut work: oneshot::Receiver<Result<T, Failure>>,
    counts: &Counts,
    tell: &mut (impl FnMut(Phase) + Send),
) -> Result<T, Failure> {
    let mut tick = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            seen = &mut work => {
                return seen.map_err(|_| Failure::new("the load generator stopped without a word"))?;
            }
            _ = tick.tick() => tell(counts.phase()),
        }
    }
}
