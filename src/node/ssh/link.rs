//! A connection: hop by hop, retried only for as long as nobody has logged in.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, Handle};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::node::unreachable::Obstacle;

use super::channel::{self, ChannelRefusal};
use super::config::{self, Settings};
use super::doors::Doors;
use super::host_key::{Fault, Guard, HostCheck};
use super::login::login;
use super::spare::Spare;
use super::target::Target;
use super::wire::Wire;

/// Sessions on one connection; OpenSSH allows ten (`MaxSessions`).
const SESSIONS: usize = 8;
/// Handshakes that are tried: a busy server resets some of them (`MaxStartups`).
const TRIES: u32 = 3;
/// An agent may ask its owner to confirm.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Jump hosts behind jump hosts; more is a circle.
const DEEPEST: usize = 8;

/// How nodes are connected to. Clones share their jump hosts' connections, and come to one sshd in turn.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The SSH configuration to use instead of `~/.ssh/config`: `ssh -F`.
    pub ssh_config: Option<PathBuf>,
    /// How long connecting, and then the handshake, may take; `ConnectTimeout` outweighs it.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before it is asked whether it lives; after three such
    /// questions without an answer it is lost.
    pub keepalive: Duration,
    /// The connections to jump hosts.
    pub bastions: Bastions,
    /// How many connections to one sshd are on their way.
    pub doors: Doors,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            ssh_config: None,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(5),
            bastions: Bastions::default(),
            doors: Doors::default(),
        }
    }
}

/// Connections to jump hosts, each made once and shared by all nodes behind it.
#[derive(Debug, Clone, Default)]
pub struct Bastions(Arc<Mutex<HashMap<Hop, Bastion>>>);

/// A jump host with the hops that lead to it.
type Hop = (Target, Vec<Target>);
type Bastion = Arc<OnceCell<Result<Arc<Link>, Obstacle>>>;

/// A connection that is logged in.
pub(super) struct Link {
    pub(super) handle: Handle<Guard>,
    sessions: Arc<Semaphore>,
    /// How many sessions are open.
    pub(super) open: watch::Sender<usize>,
    /// A session that waits for the next script.
    pub(super) spare: Spare,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn is_open(&self) -> bool {
        !self.handle.is_closed()
    }

    pub(super) async fn session_permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.sessions)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}

/// Connects to a host as the configuration says.
pub(super) async fn connect(
    target: &Target,
    options: &ConnectOptions,
) -> Result<Arc<Link>, Obstacle> {
    reach(target.clone(), None, options.clone(), 0).await
}

type Reaching = Pin<Box<dyn Future<Output = Result<Arc<Link>, Obstacle>> + Send>>;

/// Connects to a host, by the given hops or by those that its own configuration names.
fn reach(
    target: Target,
    given: Option<Vec<Target>>,
    options: ConnectOptions,
    depth: usize,
) -> Reaching {
    Box::pin(async move {
        let settings = config::resolve(&target, options.ssh_config.as_deref()).await?;
        let mut hops = given.unwrap_or_else(|| settings.jumps.clone());
        // `Host *` with a ProxyJump covers the jump host too; it is not its own jump host.
        if hops.last().is_some_and(|hop| hop.host == target.host) {
            hops.clear();
        }
        let via = match hops.pop() {
            None => None,
            Some(_) if depth == DEEPEST => {
                return Err(Obstacle::Configuration {
                    host: target.host,
                    reason: "its ProxyJump goes in circles".to_owned(),
                });
            }
            Some(hop) => Some(bastion(hop, hops, &options, depth).await?),
        };
        establish(&target, &settings, via, &options).await
    })
}

/// The connection to a jump host, which all who come at the same time share.
async fn bastion(
    hop: Target,
    before: Vec<Target>,
    options: &ConnectOptions,
    depth: usize,
) -> Result<Arc<Link>, Obstacle> {
    let name = hop.host.clone();
    let key = (hop, before);
    loop {
        let cell = Arc::clone(options.bastions.lock().entry(key.clone()).or_default());
        let mut fresh = false;
        let result = cell
            .get_or_init(|| {
                fresh = true;
                let (hop, before) = key.clone();
                // The first of a chain is reached as its own configuration says.
                let given = (!before.is_empty()).then_some(before);
                reach(hop, given, options.clone(), depth + 1)
            })
            .await
            .clone();
        let usable = result.as_ref().is_ok_and(|link| link.is_open());
        if !usable {
            // The next to come tries anew.
            let mut all = options.bastions.lock();
            if all.get(&key).is_some_and(|held| Arc::ptr_eq(held, &cell)) {
                all.remove(&key);
            }
        }
        match result {
            Ok(_) if !usable && !fresh => {}
            Ok(link) => return Ok(link),
            Err(obstacle) => {
                return Err(Obstacle::Hop {
                    hop: name,
                    obstacle: Box::new(obstacle),
                });
            }
        }
    }
}

impl Bastions {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Hop, Bastion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn establish(
    target: &Target,
    settings: &Settings,
    via: Option<Arc<Link>>,
    options: &ConnectOptions,
) -> Result<Arc<Link>, Obstacle> {
    let check = Arc::new(HostCheck::new(target, settings, via.is_none()));
    let config = Arc::new(client::Config {
        nodelay: true,
        keepalive_interval: Some(options.keepalive),
        keepalive_max: 3,
        preferred: check.preferred(),
        ..client::Config::default()
    });
    let dialling = Dialling {
        settings,
        via,
        config,
        check,
        patience: settings.connect_timeout.unwrap_or(options.connect_timeout),
    };
    // Until it is logged in.
    let _door = options.doors.pass(&settings.host, settings.port).await;
    let mut handle = dialling.handshake_with_retries().await?;
    match timeout(LOGIN_TIMEOUT, login(&mut handle, settings)).await {
        Ok(result) => result?,
        Err(_) => return Err(dialling.silent("did not decide about the login", LOGIN_TIMEOUT)),
    }
    Ok(Arc::new(Link {
        handle,
        sessions: Arc::new(Semaphore::new(SESSIONS)),
        open: watch::Sender::new(0),
        spare: Spare::default(),
    }))
}

/// One host, about to be connected to.
struct Dialling<'a> {
    settings: &'a Settings,
    via: Option<Arc<Link>>,
    config: Arc<client::Config>,
    check: Arc<HostCheck>,
    patience: Duration,
}

/// How one handshake failed.
enum Failed {
    /// It will fail again.
    ForGood(Obstacle),
    /// Another may go better.
    ForNow(String),
    /// It took too long.
    Silent,
}

impl Dialling<'_> {
    async fn handshake_with_retries(&self) -> Result<Handle<Guard>, Obstacle> {
        let deadline = Instant::now() + 2 * self.patience;
        let mut pause = Duration::from_millis(250);
        let mut tries = 1;
        loop {
            let failed = match self.handshake().await {
                Ok(handle) => return Ok(handle),
                Err(failed) => failed,
            };
            if let Failed::ForGood(obstacle) = failed {
                return Err(obstacle);
            }
            if tries == TRIES || Instant::now() >= deadline {
                return Err(match failed {
                    Failed::ForNow(error) => Obstacle::Dropped {
                        host: self.settings.host.clone(),
                        port: self.settings.port,
                        tries,
                        error,
                    },
                    _ => self.silent("sent no SSH greeting", self.patience),
                });
            }
            // Many clients that were refused at once must not come back at once.
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause *= 2;
            tries += 1;
        }
    }

    async fn handshake(&self) -> Result<Handle<Guard>, Failed> {
        let wire = self.wire().await?;
        let guard = Guard {
            check: Arc::clone(&self.check),
        };
        let shaken = client::connect_stream(Arc::clone(&self.config), wire, guard);
        match timeout(self.patience, shaken).await {
            Ok(Ok(handle)) => Ok(handle),
            Ok(Err(fault)) => Err(self.judge(fault)),
            Err(_) => Err(Failed::Silent),
        }
    }

    async fn wire(&self) -> Result<Wire, Failed> {
        let (host, port) = (&self.settings.host, self.settings.port);
        let Some(via) = &self.via else {
            return Ok(Wire::tcp(self.tcp().await.map_err(Failed::ForGood)?));
        };
        match timeout(self.patience, channel::dial(via, host, port)).await {
            Ok(Ok(stream)) => Ok(Wire::hop(stream)),
            Ok(Err(refusal)) if refusal.is_of_forwarding() => {
                Err(Failed::ForGood(Obstacle::Forbidden {
                    host: host.clone(),
                    port,
                }))
            }
            Ok(Err(ChannelRefusal::Refused(_))) => Err(Failed::ForGood(Obstacle::Refused {
                host: host.clone(),
                port,
            })),
            Ok(Err(ChannelRefusal::Lost)) => {
                Err(Failed::ForGood(self.no_route("the jump host hung up")))
            }
            Err(_) => Err(Failed::ForGood(
                self.silent("gave no answer", self.patience),
            )),
        }
    }

    /// Connects to the first address of the host that answers.
    async fn tcp(&self) -> Result<TcpStream, Obstacle> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let no_such_host = |error: String| Obstacle::NoSuchHost {
            host: host.to_owned(),
            error,
        };
        let looked_up = timeout(self.patience, tokio::net::lookup_host((host, port)));
        let addresses = match looked_up.await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(no_such_host(error.to_string())),
            Err(_) => return Err(no_such_host("the resolver gave no answer".to_owned())),
        };
        let mut obstacle = no_such_host("it has no address".to_owned());
        for address in addresses {
            match timeout(self.patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    obstacle = Obstacle::Refused {
                        host: host.to_owned(),
                        port,
                    };
                }
                Ok(Err(error)) => obstacle = self.no_route(&error.to_string()),
                Err(_) => obstacle = self.silent("gave no answer", self.patience),
            }
        }
        Err(obstacle)
    }

    fn judge(&self, fault: Fault) -> Failed {
        match fault {
            Fault::Key(obstacle) => Failed::ForGood(obstacle),
            Fault::Ssh(error) if passing(&error) => Failed::ForNow(error.to_string()),
            Fault::Ssh(error) => Failed::ForGood(Obstacle::Protocol {
                host: self.settings.host.clone(),
                port: self.settings.port,
                error: error.to_string(),
            }),
        }
    }

    fn no_route(&self, error: &str) -> Obstacle {
        Obstacle::NoRoute {
            host: self.settings.host.clone(),
            port: self.settings.port,
            error: error.to_owned(),
        }
    }

    fn silent(&self, silent: &'static str, after: Duration) -> Obstacle {
        Obstacle::TimedOut {
            host: self.settings.host.clone(),
            port: self.settings.port,
            silent,
            after,
        }
    }
}

/// Whether a handshake that ended so may go better the next time.
fn passing(error: &russh::Error) -> bool {
    match error {
        russh::Error::IO(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
        ),
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::ConnectionTimeout
        | russh::Error::KeepaliveTimeout
        | russh::Error::SendError
        | russh::Error::RecvError => true,
        _ => false,
    }
}
