//! The first moment after a start with a kept configuration: no backend was seen yet, so who asks
//! waits for that instead of being refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::backend::{Backend, Condition};
use super::control::BackendState;

/// How long requests wait for the first probes at most.
const LONGEST: Duration = Duration::from_secs(3);

/// Whether requests are to wait yet.
#[derive(Debug, Default)]
pub(super) struct Opening(watch::Sender<bool>);

impl Opening {
    /// Has requests wait until each of these was probed once.
    pub(super) fn begin(&self, backends: Vec<Arc<Backend>>) {
        self.0.send_replace(true);
        let is_waiting = self.0.clone();
        tokio::spawn(async move {
            // What is not seen by then is not waited for.
            let _ = tokio::time::timeout(LONGEST, all_probed(&backends)).await;
            is_waiting.send_replace(false);
        });
    }

    /// Waits until it is over.
    pub(super) async fn is_over(&self) {
        if *self.0.borrow() {
            // It holds what it waits for, so the wait cannot fail.
            let _ = self.0.subscribe().wait_for(|is_waiting| !is_waiting).await;
        }
    }
}

async fn all_probed(backends: &[Arc<Backend>]) {
    let is_probed = |condition: &Condition| {
        condition.state != BackendState::Pending || condition.trouble.is_some()
    };
    for backend in backends {
        let _ = backend.watch().wait_for(is_probed).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::plan::Role;
    use crate::proxy::control;

    fn backend(name: &str) -> Arc<Backend> {
        let spec = control::Backend {
            name: name.to_owned(),
            authority: "127.0.0.1:1".to_owned(),
            role: Role::Both,
            nonce: Some("replica-1".to_owned()),
            key: None,
        };
        Arc::new(Backend::new(spec, Arc::default()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_until_all_were_probed() {
        let began = Instant::now();
        let opening = Opening::default();
        opening.is_over().await;
        let (up, down) = (backend("up"), backend("down"));
        opening.begin(vec![Arc::clone(&up), Arc::clone(&down)]);
        up.seen();
        let second = Duration::from_secs(1);
        let waits = tokio::time::timeout(second, opening.is_over());
        assert!(waits.await.is_err());
        down.eject("refused");
        opening.is_over().await;
        assert_eq!(began.elapsed(), second);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_last_for_what_gives_no_answer() {
        let began = Instant::now();
        let opening = Opening::default();
        opening.begin(vec![backend("silent")]);
        opening.is_over().await;
        assert_eq!(began.elapsed().as_secs(), LONGEST.as_secs());
    }
}
