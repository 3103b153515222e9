//! The end that has the files.
//!
//! Whoever asks has to know the token first. Then come lines, each answered in turn:
//! `piece <file> <from> <length>` with so many bytes of that file of the listing, `memory <length>` with
//! so many of none, `echo` with itself, and `done` with the end of all.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Seek as _, SeekFrom};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::wire::Wire;
use super::{Error, Listing, Offer, snapshot};

/// How long nobody may be connected before this gives up: the other end is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long somebody may be connected without the token: the other end sends it at once.
const WORD: Duration = Duration::from_secs(5);

/// How many may be. Each has a thread and a descriptor; one more takes the place of the oldest.
const STRANGERS: usize = 64;

/// What is answered with itself.
pub(super) const ECHO: &str = "echo";

/// What is answered with so many bytes of memory as stand behind it.
pub(super) const MEMORY: &str = "memory ";

/// How long nobody is let in when the system lets nobody in.
const PAUSE: Duration = Duration::from_millis(100);

/// An end that listens.
pub struct Offering {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    stock: Option<Stock>,
    token: String,
    is_trusted: bool,
    connected: AtomicUsize,
    /// Those who have not shown the token, oldest first.
    strangers: Mutex<VecDeque<Arc<TcpStream>>>,
}

/// A snapshot that is handed out.
struct Stock {
    folder: PathBuf,
    listing: Listing,
}

impl Stock {
    fn of(repo: &Path, revision: Option<&str>) -> Result<Self, Error> {
        let listing = snapshot::list(repo, revision)?;
        Ok(Self {
            folder: repo.join("snapshots").join(&listing.revision),
            listing,
        })
    }

    /// Reads `piece <file> <from> <length>`.
    fn piece(&self, line: &str) -> Option<(PathBuf, u64, u64)> {
        let mut words = line.strip_prefix("piece ")?.split(' ');
        let file: usize = words.next()?.parse().ok()?;
        let file = self.listing.files.get(file)?;
        let from = words.next()?.parse().ok()?;
        let length = words.next()?.parse().ok()?;
        Some((self.folder.join(&file.path), from, length))
    }
}

/// Lists a snapshot, where one is named, and begins to listen.
///
/// # Errors
///
/// When the snapshot is not whole, or the address is not one of this node.
pub fn offer(offer: &Offer) -> Result<Offering, Error> {
    let revision = offer.revision.as_deref();
    let repo = offer.repo.as_deref().map(Path::new);
    let stock = repo.map(|repo| Stock::of(repo, revision)).transpose()?;
    let listener = TcpListener::bind((offer.listen.as_str(), 0)).map_err(|error| {
        Error::new(format!("it cannot listen on {}: {error}", offer.listen))
            .hinted("is that address one of the node's own? `over` and the node's `addresses` say which is used")
    })?;
    Ok(Offering {
        listener,
        shared: Arc::new(Shared {
            stock,
            token: offer.token.clone(),
            is_trusted: offer.trusted,
            connected: AtomicUsize::new(0),
            strangers: Mutex::default(),
        }),
    })
}

impl Offering {
    /// The snapshot that is offered, where it is one.
    pub fn listing(&self) -> Option<&Listing> {
        self.shared.stock.as_ref().map(|stock| &stock.listing)
    }

    /// The port that it listens on.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Hands out what is asked for, until the other end is done or has been away for too long.
    ///
    /// # Errors
    ///
    /// When the other end did not come, or did not come again.
    pub fn serve(self) -> Result<(), Error> {
        let (done, is_done) = mpsc::channel();
        let shared = Arc::clone(&self.shared);
        // It ends with the process.
        thread::spawn(move || {
            for stream in self.listener.incoming() {
                let Ok(stream) = stream.map(Arc::new) else {
                    // There are too many descriptors, for now.
                    thread::sleep(PAUSE);
                    continue;
                };
                let (shared, done) = (Arc::clone(&self.shared), done.clone());
                shared.let_in(&stream);
                let conversing = thread::Builder::new().spawn(move || {
                    // One that breaks off is told by the other end.
                    let _ = shared.converse(&stream, &done);
                    shared.forget(&stream);
                });
                if conversing.is_err() {
                    // There are too many threads, for now.
                    thread::sleep(PAUSE);
                }
            }
        });
        loop {
            match is_done.recv_timeout(PATIENCE) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if shared.connected.load(Ordering::SeqCst) > 0 => {}
                Err(_) => {
                    return Err(Error::new(format!(
                        "nobody came for the files within {} s",
                        PATIENCE.as_secs()
                    )));
                }
            }
        }
    }
}

impl Shared {
    fn strangers(&self) -> MutexGuard<'_, VecDeque<Arc<TcpStream>>> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one who has shown nothing yet, and hangs up on the oldest where there are too many.
    fn let_in(&self, stream: &Arc<TcpStream>) {
        let mut strangers = self.strangers();
        strangers.push_back(Arc::clone(stream));
        if strangers.len() > STRANGERS
            && let Some(oldest) = strangers.pop_front()
        {
            let _ = oldest.shutdown(Shutdown::Both);
        }
    }

    fn forget(&self, stream: &Arc<TcpStream>) {
        self.strangers().retain(|other| !Arc::ptr_eq(other, stream));
    }

    fn converse(&self, stream: &Arc<TcpStream>, done: &Sender<()>) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WORD))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let wire = Wire::answering(stream.as_ref(), &self.token, self.is_trusted)?;
        let Some(mut wire) = wire else {
            return Ok(());
        };
        self.forget(stream);
        stream.set_read_timeout(Some(PATIENCE))?;
        self.connected.fetch_add(1, Ordering::SeqCst);
        let handed_out = self.hand_out(&mut wire, done);
        self.connected.fetch_sub(1, Ordering::SeqCst);
        handed_out
    }

    fn hand_out(&self, wire: &mut Wire<&TcpStream>, done: &Sender<()>) -> io::Result<()> {
        while let Some(line) = wire.hear()? {
            if line == "done" {
                let _ = done.send(());
                return Ok(());
            }
            if line == ECHO {
                wire.say(ECHO)?;
                continue;
            }
            if let Some(length) = line.strip_prefix(MEMORY) {
                let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                wire.give_memory(length)?;
                continue;
            }
            let piece = self.stock.as_ref().and_then(|stock| stock.piece(&line));
            let Some((file, from, length)) = piece else {
                return Ok(());
            };
            let mut file = fs::File::open(file)?;
            file.seek(SeekFrom::Start(from))?;
            wire.give(file, length)?;
        }
        Ok(())
    }
}
