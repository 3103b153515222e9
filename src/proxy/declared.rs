//! What a proxy serves by that nobody has to tell anything: it was declared where it was started.

use std::fmt;
use std::sync::Arc;

use super::control::Config;

/// Reads a declaration again, or says in words why it cannot be served by.
type Reader = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// A configuration that was declared where the proxy was started, and how it is read again.
#[derive(Clone)]
pub struct Declared {
    /// What was read first. Its generation says nothing.
    pub(super) config: Config,
    again: Option<Reader>,
}

impl Declared {
    /// What stays as it is for as long as the proxy runs.
    pub fn once(config: Config) -> Self {
        Self {
            config,
            again: None,
        }
    }

    /// What can be read again, and may be another then.
    pub fn read_by(
        config: Config,
        again: impl Fn() -> Result<Config, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            config,
            again: Some(Arc::new(again)),
        }
    }

    /// Reads it again. Nothing is returned where there is nothing to read.
    pub(super) async fn read_again(&self) -> Option<Result<Config, String>> {
        let again = Arc::clone(self.again.as_ref()?);
        let read = tokio::task::spawn_blocking(move || again()).await;
        Some(read.unwrap_or_else(|error| Err(error.to_string())))
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Declared").field(&self.config).finish()
    }
}
