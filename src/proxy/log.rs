//! The proxy's log: lines on stderr, which its supervisor keeps.

use std::io;

use tracing_subscriber::EnvFilter;

/// Begins to log. `REPLICA_LOG` says how much, as in `debug` or `replica=debug,hyper=info`.
///
/// A second beginner in the same process, as in tests, changes nothing.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("REPLICA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

/// Where the access log goes that is to be read as it is written.
pub(super) fn standard_output() -> io::Stdout {
    io::stdout()
}
