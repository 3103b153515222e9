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
mod account;
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
mod read_ahead;
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
mod succession;
mod suspicion;
mod target;
#[cfg(test)]
mod tests;
mod tokens;
mod top_level;
mod upload;
mod upstream;
mod usage;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
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
use server::Going;
use succession::{Books, Estate, Inheritance, Place, Succeeded};
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
    /// Whether it takes over from the proxy that it is told things over the same socket, where one runs.
    pub succeeds: bool,
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
    succeeded: mpsc::Receiver<Succeeded>,
}

impl Proxy {
    /// Takes the port and the control socket, and loads what was kept. A successor has them from the
    /// one before, once its backends were probed.
    pub async fn bind(options: Options) -> Result<Self, ProxyError> {
        let fd_limit = sockets::raise_fd_limit();
        let before = inheritance(&options).await?;
        let mut listener = match &before {
            Some(before) if before.has_listener => None,
            _ => Some(listen(&options).await?),
        };
        // After the port: of two proxies with the same options, the second is stopped there.
        let mut socket = match &before {
            Some(_) => None,
            None => control_socket(&options).await?,
        };
        let (front, workers) = front(&options, fd_limit)?;
        let books = Books {
            ledger: Arc::clone(&front.ledger),
            pool: Arc::clone(&front.pool),
        };
        let (estate, succeeded) = Estate::new(options.place(), books.clone());
        let control = Control::new(Arc::clone(&front), &options, fd_limit, estate);
        let kept = before.as_ref().and_then(|before| before.kept.clone());
        control.begin(kept).await?;
        if let Some(before) = before {
            // Until its backends were probed, the one before serves better.
            front.opening.is_over().await;
            let taken = before.take_over(books).await;
            let taken = taken.map_err(|error| options.cannot_be_controlled(error))?;
            listener = listener.or(taken);
            socket = control_socket(&options).await?;
        }
        let listening = listener.ok_or_else(|| io::Error::other("the proxy before gave no socket"));
        let listening = listening.and_then(|listener| {
            control.estate.listens(&listener)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) = listening.map_err(|error| options.cannot_listen(error))?;
        tracing::info!(%address, fd_limit, "listening");
        Ok(Self {
            listener,
            address,
            socket,
            front,
            control: Arc::new(control),
            limits: options.limits,
            workers,
            succeeded,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the first of `stops` comes, or another proxy takes over, and then finishes what is in
    /// flight, unless a second one comes.
    pub async fn serve(mut self, mut stops: mpsc::Receiver<()>) {
        let (going, heard) = watch::channel(Going::On);
        let front = Arc::clone(&self.front);
        let clients = server::serve(self.listener, self.workers, front, self.limits, heard);
        let mut clients = std::pin::pin!(clients);
        let (socket, socket_file) = self.socket.unzip();
        let succeeded = tokio::select! {
            () = &mut clients => None,
            () = control::server::serve(socket, self.control) => None,
            _ = stops.recv() => None,
            Some(succeeded) = self.succeeded.recv() => Some(succeeded),
        };
        // Before the port is free: a successor makes a socket of its own.
        drop(socket_file);
        let (why, steps) = match succeeded {
            Some(_) => (
                "another proxy has taken over",
                &[Going::Parting, Going::Stopping][..],
            ),
            None => ("stopping", &[Going::Stopping][..]),
        };
        tracing::info!("{why}: finishing what is in flight");
        let last = succeeded.map(Succeeded::released);
        // Each word takes it one step further; the last one does not wait.
        let mut steps = steps.iter();
        loop {
            let Some(step) = steps.next() else {
                tracing::warn!("stopping at once");
                break;
            };
            going.send_replace(*step);
            tokio::select! {
                () = &mut clients => break,
                _ = stops.recv() => {}
            }
        }
        let requests = self.front.ledger.read();
        if let Some(log) = self.front.pool.access_log() {
            log.finish().await;
        }
        if let Some(last) = last {
            last.over().await;
        }
        tracing::info!(?requests, "stopped");
    }
}

impl Options {
    fn place(&self) -> Place {
        Place {
            host: self.host.clone(),
            port: self.port,
        }
    }

    fn cannot_listen(&self, error: io::Error) -> ProxyError {
        ProxyError::Listen {
            address: format!("{}:{}", self.host, self.port),
            error,
        }
    }

    fn cannot_be_controlled(&self, error: io::Error) -> ProxyError {
        ProxyError::Control {
            path: self.control.clone().unwrap_or_default(),
            error,
        }
    }
}

/// What the proxy before hands over, where there is one to be succeeded.
async fn inheritance(options: &Options) -> Result<Option<Inheritance>, ProxyError> {
    let Some(control) = options.control.as_deref().filter(|_| options.succeeds) else {
        return Ok(None);
    };
    let asked = Inheritance::ask(control, &options.place()).await;
    asked.map_err(|error| options.cannot_be_controlled(error))
}

async fn control_socket(
    options: &Options,
) -> Result<Option<(UnixListener, SocketFile)>, ProxyError> {
    let Some(path) = &options.control else {
        return Ok(None);
    };
    let bound = control::socket::bind(path).await;
    bound
        .map(Some)
        .map_err(|error| options.cannot_be_controlled(error))
}

async fn listen(options: &Options) -> Result<TcpListener, ProxyError> {
    let bound = TcpListener::bind((&*options.host, options.port)).await;
    bound.map_err(|error| options.cannot_listen(error))
}

/// What answers requests, and the threads that it does so on.
fn front(options: &Options, fd_limit: u64) -> Result<(Arc<Front>, Workers), ProxyError> {
    let refused = |error: io::Error| ProxyError::System(error.to_string());
    let prober = Prober::new().map_err(|error| ProxyError::System(error.to_string()))?;
    let workers = options
        .workers
        .unwrap_or_else(|| workers::as_many_as(fd_limit));
    let workers = Workers::start(workers).map_err(refused)?;
    let files = fd_limit.saturating_sub(workers.files());
    let clients = Clients::within(files, options.limits.clients);
    let front = Arc::new(Front {
        pool: Arc::new(Pool::new(prober)),
        ledger: Arc::default(),
        retries: Arc::default(),
        opening: Opening::default(),
        uploads: Uploads::new(options.limits.clone()),
        clients: Arc::new(clients),
        own: Arc::default(),
        drains: Arc::default(),
    });
    Ok((front, workers))
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
