//! The end that has the files.
//!
//! A connection begins with a line that holds the token. Then come lines, each answered in turn:
//! `piece <file> <from> <length>` with so many bytes of that file of the listing, and `done` with the
//! end of all.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::{Error, Listing, Offer, snapshot};

/// How long nobody may be connected before this gives up: the other end is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest line of a request.
const LINE: u64 = 256;

/// An end that listens.
pub struct Offering {
    listener: TcpListener,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    listing: Listing,
    token: String,
    connected: AtomicUsize,
}

/// Lists a snapshot and begins to listen.
///
/// # Errors
///
/// When the snapshot is not whole, or the address is not one of this node.
pub fn offer(offer: &Offer) -> Result<Offering, Error> {
    let repo = Path::new(&offer.repo);
    let listing = snapshot::list(repo, offer.revision.as_deref())?;
    let listener = TcpListener::bind((offer.listen.as_str(), 0)).map_err(|error| {
        Error::new(format!("it cannot listen on {}: {error}", offer.listen))
            .hinted("is that address one of the node's own? `over` and the node's `addresses` say which is used")
    })?;
    Ok(Offering {
        listener,
        shared: Arc::new(Shared {
            folder: repo.join("snapshots").join(&listing.revision),
            token: offer.token.clone(),
            connected: AtomicUsize::new(0),
            listing,
        }),
    })
}

impl Offering {
    /// What is offered.
    pub fn listing(&self) -> &Listing {
        &self.shared.listing
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
            for stream in self.listener.incoming().flatten() {
                let (shared, done) = (Arc::clone(&self.shared), done.clone());
                shared.connected.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    // One that breaks off is told by the other end.
                    let _ = converse(&shared, &stream, &done);
                    shared.connected.fetch_sub(1, Ordering::SeqCst);
                });
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

fn converse(shared: &Shared, stream: &TcpStream, done: &Sender<()>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream);
    if next(&mut lines)?.as_deref() != Some(shared.token.as_str()) {
        return Ok(());
    }
    while let Some(line) = next(&mut lines)? {
        if line == "done" {
            let _ = done.send(());
            return Ok(());
        }
        let Some((file, from, length)) = piece(shared, &line) else {
            return Ok(());
        };
        let mut file = fs::File::open(file)?;
        file.seek(SeekFrom::Start(from))?;
        // On Linux this is `sendfile`.
        let mut socket = stream;
        if io::copy(&mut file.take(length), &mut socket)? != length {
            // It has become shorter: to break off is to say so.
            return Ok(());
        }
    }
    Ok(())
}

fn next(lines: &mut BufReader<&TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    lines.take(LINE).read_line(&mut line)?;
    Ok(line.strip_suffix('\n').map(str::to_owned))
}

/// Reads `piece <file> <from> <length>`.
fn piece(shared: &Shared, line: &str) -> Option<(PathBuf, u64, u64)> {
    let mut words = line.strip_prefix("piece ")?.split(' ');
    let file: usize = words.next()?.parse().ok()?;
    let file = shared.listing.files.get(file)?;
    let from = words.next()?.parse().ok()?;
    let length = words.next()?.parse().ok()?;
    Some((shared.folder.join(&file.path), from, length))
}
