//! The wish that a run comes to its end.

use tokio::sync::watch;

/// Set when a run should come to an end: a measurement ends with what it has, other steps are
/// finished, and nothing more is begun. Clones are the same wish.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    wished: watch::Sender<bool>,
}

impl Interrupt {
    /// Wishes it.
    pub fn set(&self) {
        self.wished.send_replace(true);
    }

    /// Whether it is wished.
    pub fn is_set(&self) -> bool {
        *self.wished.borrow()
    }

    /// Returns when it is wished.
    pub fn wished(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut wished = self.wished.subscribe();
        async move {
            if wished.wait_for(|wished| *wished).await.is_err() {
                // Nobody is left who could wish it.
                std::future::pending::<()>().await;
            }
        }
    }
}
