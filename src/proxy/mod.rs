//! The data plane: requests in, one instance chosen, bytes out as they come.
//!
//! # The life of a request
//!
//! `server` accepts it, `conform`, `target` and `paths` say what it means, `upload` holds its body,
//! an `exchange` has the `fleet` choose a `backend` by a `policy` and sends it over one of the
//! backend's `connections`, and `body` passes the answer on frame by frame. What the request
//! holds is released when the answer's body is dropped, whether it ended, broke, or was cut.
//!
//! # What must never be
//!
//! Who does not show a key where one is declared gets no answer, and no backend is shown it. A
//! backend that was not seen with its nonce gets no request, unless it was declared to have none. A
//! request of which a byte was sent goes to no second backend before the first was seen to outlive
//! it. A stream that broke never looks like one that ended. Health never ends a drain.

mod access_log;
mod alone;
mod answer;
mod attempt;
mod backend;
mod beginnings;
mod body;
mod budget;
mod canary;
pub(crate) mod choice;
mod clients;
mod conform;
mod connections;
pub mod control;
mod counts;
mod decimal;
mod declared;
mod decoding;
mod error;
mod error_body;
mod escapes;
mod event;
mod exchange;
mod fingerprint;
mod fleet;
mod gate;
mod handoff;
mod handoffs;
mod headers;
mod health;
mod history;
mod http2;
mod keys;
mod kv_cache;
mod leases;
mod limits;
mod log;
mod metrics;
mod models;
mod nonces;
mod occupancy;
mod opening;
mod outbound;
mod pairs;
mod part;
mod paths;
mod patience;
mod poison;
pub mod policy;
mod pool;
mod proof;
mod queue;
mod record;
mod request_view;
mod requests;
mod retry;
mod reused;
mod route;
mod seldom;
mod server;
mod server_timing;
mod share;
mod sieve;
mod sockets;
mod store;
mod suspicion;
mod target;
#[cfg(test)]
mod tests;
mod top_level;
mod upload;
mod upstream;
mod usage;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

pub use alone::{Alone, Server, Waits};
use clients::Clients;
use control::server::Control;
use control::socket::SocketFile;
pub use declared::Declared;
use health::Prober;
pub use limits::Limits;
use opening::Opening;
use pool::Pool;
use route::Front;
use store::Store;
use upload::Uploads;
use workers::Workers;

/// Where a proxy listens, and what it keeps.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address or name that it listens on.
    pub host: String,
    /// The port that it listens on; 0 for any that is free.
    pub port: u16,
    /// The unix socket that it is told things over, if it is to be. A relative path keeps below the
    /// limit of 107 bytes that the kernel sets.
    pub control: Option<PathBuf>,
    /// The file that its last configuration is kept in, if it is to be.
    pub state: Option<PathBuf>,
    /// What it serves by from its start, where that is declared: what was kept is older.
    pub declared: Option<Declared>,
    /// What clients may take of it.
    pub limits: Limits,
    /// How many threads serve clients; nothing for one for each core.
    pub workers: Option<usize>,
}

/// Why a proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on `{address}`: {error}")]
    Listen {
        /// What was asked for.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The control socket cannot be made.
    #[error("cannot be controlled over `{path}`: {error}")]
    Control {
        /// The socket's path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It cannot serve by what was declared.
    #[error("cannot serve by what was declared: {0}")]
    Declared(String),
    /// The kept configuration cannot be read, or is none.
    #[error("cannot use the configuration kept in `{path}`: {why}")]
    State {
        /// The file's path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refuses what every process needs.
    #[error("cannot start: {0}")]
    System(String),
}

/// Runs a proxy until it is told to stop by SIGTERM or SIGINT: then it accepts nothing more,
/// finishes what is in flight, and returns. A second signal does not wait. SIGHUP has it read again
/// what it was declared by.
///
/// `listens` hears of the address as soon as there is one.
pub async fn run(options: Options, listens: impl FnOnce(SocketAddr)) -> Result<(), ProxyError> {
    log::start();
    let stops = stop_signals()?;
    let mut hangups = listen_for(SignalKind::hangup())?;
    let proxy = Proxy::bind(options).await?;
    listens(proxy.address());
    let control = Arc::clone(&proxy.control);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            control.hung_up().await;
        }
    });
    proxy.serve(stops).await;
    Ok(())
}

/// A proxy that has its sockets, and does not serve yet.
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    address: SocketAddr,
    socket: Option<(UnixListener, SocketFile)>,
    front: Arc<Front>,
    control: Arc<Control>,
    limits: Limits,
    workers: Workers,
}

impl Proxy {
    /// Takes the port and the control socket, and loads what was kept.
    pub async fn bind(options: Options) -> Result<Self, ProxyError> {
        let fd_limit = sockets::raise_fd_limit();
        let (listener, address) = listen(&options.host, options.port).await?;
        // After the port: of two proxies with the same options, the second is stopped there.
        let socket = match &options.control {
            Some(path) => Some(control_socket(path).await?),
            None => None,
        };
        let prober = Prober::new().map_err(|error| ProxyError::System(error.to_string()))?;
        let workers = options
            .workers
            .unwrap_or_else(|| workers::as_many_as(fd_limit));
        let workers = Workers::start(workers);
        let workers = workers.map_err(|error| ProxyError::System(error.to_string()))?;
        let files = fd_limit.saturating_sub(workers.files());
        let clients = Arc::new(Clients::within(files, options.limits.clients));
        let front = Arc::new(Front {
            pool: Arc::new(Pool::new(prober)),
            ledger: Arc::default(),
            retries: Arc::default(),
            opening: Opening::default(),
            uploads: Uploads::new(options.limits.clone()),
            clients,
            own: Arc::default(),
            drains: Arc::default(),
        });
        let store = Store::new(options.state);
        let declared = options.declared;
        let control = Arc::new(Control::new(Arc::clone(&front), store, declared, fd_limit));
        control.begin().await?;
        tracing::info!(%address, fd_limit, "listening");
        Ok(Self {
            listener,
            address,
            socket,
            front,
            control,
            limits: options.limits,
            workers,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the first of `stops` comes, and then finishes what is in flight, unless a
    /// second one comes.
    pub async fn serve(self, mut stops: mpsc::Receiver<()>) {
        let (stopping, stopped) = watch::channel(false);
        let front = Arc::clone(&self.front);
        let clients = server::serve(self.listener, self.workers, front, self.limits, stopped);
        let mut clients = std::pin::pin!(clients);
        let (socket, socket_file) = self.socket.unzip();
        tokio::select! {
            () = &mut clients => {}
            () = control::server::serve(socket, self.control) => {}
            _ = stops.recv() => tracing::info!("stopping: finishing what is in flight"),
        }
        // Before the port is free: a successor makes a socket of its own.
        drop(socket_file);
        stopping.send_replace(true);
        tokio::select! {
            () = &mut clients => {}
            _ = stops.recv() => tracing::warn!("stopping at once"),
        }
        let requests = self.front.ledger.read();
        if let Some(log) = self.front.pool.access_log() {
            log.finish().await;
        }
        tracing::info!(?requests, "stopped");
    }
}

async fn control_socket(path: &Path) -> Result<(UnixListener, SocketFile), ProxyError> {
    let bound = control::socket::bind(path).await;
    bound.map_err(|error| ProxyError::Control {
        path: path.to_owned(),
        error,
    })
}

async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), ProxyError> {
    let bound = async {
        let listener = TcpListener::bind((host, port)).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error| ProxyError::Listen {
        address: format!("{host}:{port}"),
        error,
    })
}

/// What tells of each SIGTERM and SIGINT.
fn stop_signals() -> Result<mpsc::Receiver<()>, ProxyError> {
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let (teller, stops) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if teller.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(stops)
}

fn listen_for(kind: SignalKind) -> Result<Signal, ProxyError> {
    signal(kind).map_err(|error| ProxyError::System(error.to_string()))
}
