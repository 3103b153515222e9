//! The end that lacks the files.
//!
//! Two sorts of threads share a [`Desk`]. Keepers take one file each: they open what there is of it,
//! lay its missing pieces out, and read what arrives once, in order, for its digest. Fetchers bring
//! pieces, of all files that are laid out in turn, each over a connection of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{cmp, fs};

use super::digest::Hasher;
use super::part::{ENDING, Part, bounds, pieces};
use super::wire::Wire;
use super::{Error, Fetch, File, Moved, snapshot};

/// How many files are under way at once.
const KEEPERS: usize = 4;

/// How many connections there are: a fast network is not filled by one.
pub(super) const FETCHERS: usize = 8;

/// How long the other end may say nothing: as long as a disk may take for the next bytes.
const SILENCE: Duration = Duration::from_secs(15);

/// How often it is told how far this has come.
const TICK: Duration = Duration::from_millis(500);

const BUFFER: usize = 1 << 20;

/// Fetches what is missing of a snapshot, and makes it whole. What is there already is believed
/// after its digest was taken, not before.
///
/// # Errors
///
/// When the other end goes away, the disk is full, or a file is not what it is called. All that
/// arrived is kept for the next time, but for a file that is wrong.
pub fn fetch(fetch: &Fetch, tell: &dyn Fn(Moved)) -> Result<(), Error> {
    snapshot::check(&fetch.listing)?;
    let repo = Path::new(&fetch.repo);
    let blobs = repo.join("blobs");
    fs::create_dir_all(&blobs).map_err(|error| Error::of_file(blobs.display(), &error))?;
    let desk = Desk::new(fetch, blobs);
    thread::scope(|threads| {
        for _ in 0..KEEPERS {
            threads.spawn(|| desk.keep_files());
        }
        for _ in 0..FETCHERS {
            threads.spawn(|| desk.fetch_pieces(fetch));
        }
        desk.watch(tell);
    });
    desk.outcome()?;
    snapshot::make(repo, &fetch.listing, fetch.names_main)?;
    // Without this it goes away by itself, a minute later.
    if let Ok(mut peer) = connect(fetch) {
        let _ = peer.say("done");
    }
    Ok(())
}

/// What the threads share.
struct Desk {
    blobs: PathBuf,
    of: u64,
    /// The bytes whose digest was taken.
    done: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The files that nobody keeps yet, each with its number in the listing.
    waiting: VecDeque<(usize, File)>,
    /// The files of which pieces are wanted; the next piece is brought of the first.
    open: VecDeque<Arc<Open>>,
    /// How many files are not whole yet.
    left: usize,
    failure: Option<Error>,
}

/// A file of which pieces are wanted.
struct Open {
    number: usize,
    size: u64,
    part: Part,
    pieces: Mutex<Pieces>,
}

struct Pieces {
    wanted: VecDeque<u64>,
    there: Vec<bool>,
}

impl Desk {
    fn new(fetch: &Fetch, blobs: PathBuf) -> Self {
        let files = fetch.listing.files.iter().enumerate();
        // Two paths may be one blob.
        let unique: BTreeMap<_, _> = files
            .map(|(number, file)| (file.digest.clone(), (number, file.clone())))
            .collect();
        let mut waiting: Vec<_> = unique.into_values().collect();
        // The large ones first, so that none of them is alone at the end.
        waiting.sort_by_key(|(number, file)| (cmp::Reverse(file.size), *number));
        Self {
            blobs,
            of: waiting.iter().map(|(_, file)| file.size).sum(),
            done: AtomicU64::new(0),
            state: Mutex::new(State {
                left: waiting.len(),
                waiting: waiting.into(),
                open: VecDeque::new(),
                failure: None,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` has something, or until all has come to its end.
    fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.failure.is_some() || state.left == 0 {
                return None;
            }
            if let Some(found) = ready(&mut state) {
                return Some(found);
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fail(&self, error: Error) {
        self.state().failure.get_or_insert(error);
        self.changed.notify_all();
    }

    fn outcome(self) -> Result<(), Error> {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }

    /// Tells how far it has come until it has come to its end.
    fn watch(&self, tell: &dyn Fn(Moved)) {
        let (mut then, mut before, mut rate) = (Instant::now(), 0, 0.0);
        loop {
            let state = self.state();
            if state.failure.is_some() || state.left == 0 {
                return;
            }
            drop(self.changed.wait_timeout(state, TICK));
            let (now, done) = (Instant::now(), self.done.load(Ordering::Relaxed));
            let passed = now - then;
            if passed < TICK || done == before {
                continue;
            }
            let latest = done.saturating_sub(before) as f64 / passed.as_secs_f64();
            rate = if before == 0 {
                latest
            } else {
                0.7 * rate + 0.3 * latest
            };
            (then, before) = (now, done);
            tell(Moved {
                done,
                of: self.of,
                per_second: rate as u64,
            });
        }
    }
}

/// What keepers do.
impl Desk {
    fn keep_files(&self) {
        while let Some((number, file)) = self.next_file() {
            match self.keep(number, &file) {
                Ok(true) => {
                    self.state().left -= 1;
                    self.changed.notify_all();
                }
                Ok(false) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    fn next_file(&self) -> Option<(usize, File)> {
        let mut state = self.state();
        let is_over = state.failure.is_some();
        state.waiting.pop_front().filter(|_| !is_over)
    }

    /// Makes one file whole. Returns whether it is: not so when all has come to its end.
    fn keep(&self, number: usize, file: &File) -> Result<bool, Error> {
        let target = self.blobs.join(&file.digest);
        let failed = |error: io::Error| Error::of_file(format!("`{}`", file.path), &error);
        if self.is_there(&target, file).map_err(failed)? {
            return Ok(true);
        }
        let path = self.blobs.join(format!("{}.{ENDING}", file.digest));
        loop {
            let (part, there) = Part::open(&path, file.size).map_err(failed)?;
            let is_resumed = there.contains(&true);
            let Some((part, digest)) = self.gather(number, file, part, there).map_err(failed)?
            else {
                return Ok(false);
            };
            if digest == file.digest {
                part.place(&target).map_err(failed)?;
                return Ok(true);
            }
            part.discard().map_err(failed)?;
            self.done.fetch_sub(file.size, Ordering::Relaxed);
            // What was left of an earlier copy may be what is wrong.
            if !is_resumed {
                return Err(Error::new(format!(
                    "`{}` arrived with another digest: {digest} instead of {}; it was removed",
                    file.path, file.digest
                ))
                .hinted(
                    "it is damaged where it came from: remove its blob there, and apply again",
                ));
            }
        }
    }

    /// Whether a blob is there and is what it is called.
    fn is_there(&self, blob: &Path, file: &File) -> io::Result<bool> {
        let mut blob = match fs::File::open(blob) {
            Ok(blob) if blob.metadata()?.len() == file.size => blob,
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut hasher = Hasher::like(&file.digest, file.size);
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match blob.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            self.done.fetch_add(length as u64, Ordering::Relaxed);
        }
        let is_right = hasher.finish() == file.digest;
        if !is_right {
            self.done.fetch_sub(file.size, Ordering::Relaxed);
        }
        Ok(is_right)
    }

    /// Lays the missing pieces of a file out, and takes the digest of it all as it comes.
    fn gather(
        &self,
        number: usize,
        file: &File,
        part: Part,
        there: Vec<bool>,
    ) -> io::Result<Option<(Part, String)>> {
        let wanted = (0..).zip(&there).filter(|(_, there)| !**there);
        let open = Arc::new(Open {
            number,
            size: file.size,
            part,
            pieces: Mutex::new(Pieces {
                wanted: wanted.map(|(piece, _)| piece).collect(),
                there,
            }),
        });
        self.state().open.push_back(Arc::clone(&open));
        self.changed.notify_all();
        let mut hasher = Hasher::like(&file.digest, file.size);
        let mut buffer = vec![0; BUFFER];
        for piece in 0..pieces(file.size) {
            if self.wait(|_| open.has(piece).then_some(())).is_none() {
                return Ok(None);
            }
            let (mut at, mut length) = bounds(piece, file.size);
            while length > 0 {
                let some = &mut buffer[..length.min(BUFFER as u64) as usize];
                open.part.read(some, at)?;
                hasher.update(some);
                at += some.len() as u64;
                length -= some.len() as u64;
                self.done.fetch_add(some.len() as u64, Ordering::Relaxed);
            }
        }
        self.state().open.retain(|other| !Arc::ptr_eq(other, &open));
        // Whoever brought the last piece lets go of it at once.
        let mut open = open;
        let part = loop {
            match Arc::try_unwrap(open) {
                Ok(open) => break open.part,
                Err(shared) => open = shared,
            }
            thread::yield_now();
        };
        Ok(Some((part, hasher.finish())))
    }
}

impl Open {
    fn pieces(&self) -> MutexGuard<'_, Pieces> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, piece: u64) -> bool {
        self.pieces().there[piece as usize]
    }
}

/// What fetchers do.
impl Desk {
    fn fetch_pieces(&self, fetch: &Fetch) {
        let mut peer = None;
        while let Some((open, piece)) = self.next_piece() {
            if let Err(error) = bring(fetch, &mut peer, &open, piece) {
                return self.fail(error);
            }
            open.pieces().there[piece as usize] = true;
            drop(open);
            // Under the lock: else a keeper that is about to wait would not hear of it.
            drop(self.state());
            self.changed.notify_all();
        }
    }

    /// Takes the next piece of the file whose turn it is.
    fn next_piece(&self) -> Option<(Arc<Open>, u64)> {
        self.wait(|state| {
            for _ in 0..state.open.len() {
                state.open.rotate_left(1);
                let open = state.open.back()?;
                if let Some(piece) = open.pieces().wanted.pop_front() {
                    return Some((Arc::clone(open), piece));
                }
            }
            None
        })
    }
}

/// Brings one piece. A connection that breaks is made anew, once.
fn bring(
    fetch: &Fetch,
    peer: &mut Option<Wire<TcpStream>>,
    open: &Open,
    piece: u64,
) -> Result<(), Error> {
    let is_first = peer.is_none();
    for is_last in [is_first, true] {
        let asked = match peer.take() {
            Some(stream) => Ok(stream),
            None => connect(fetch),
        };
        let brought = asked.and_then(|mut wire| {
            ask(&mut wire, open, piece)?;
            Ok(wire)
        });
        match brought {
            Ok(wire) => {
                *peer = Some(wire);
                return Ok(());
            }
            Err(Broken::Here(error)) => {
                let path = &fetch.listing.files[open.number].path;
                return Err(Error::of_file(format!("`{path}`"), &error));
            }
            Err(Broken::Way(error)) if is_first => return Err(unreachable(fetch, &error)),
            // One that was silent for as long would be silent once more.
            Err(Broken::Way(error) | Broken::There(error)) if is_last || is_silence(&error) => {
                return Err(broke(fetch, &error));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// What broke while a piece was on its way.
enum Broken {
    /// There is no way to the other end.
    Way(io::Error),
    There(io::Error),
    Here(io::Error),
}

fn unreachable(fetch: &Fetch, error: &io::Error) -> Error {
    let Fetch { host, port, .. } = fetch;
    Error::new(format!("{host} port {port} cannot be reached: {error}")).hinted(
        "the node that lacks the model dials the one that has it: see their `addresses` and what \
         stands between them, or name another network with `over`; what was copied is kept",
    )
}

fn is_silence(error: &io::Error) -> bool {
    // A socket whose time is over says either.
    let kinds = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];
    kinds.contains(&error.kind())
}

fn broke(fetch: &Fetch, error: &io::Error) -> Error {
    let Fetch { host, port, .. } = fetch;
    let broken = if is_silence(error) {
        format!(
            "{host} port {port} sent nothing for {} s",
            SILENCE.as_secs()
        )
    } else {
        format!("the connection to {host} port {port} broke: {error}")
    };
    Error::new(broken)
        .hinted("apply again once it is there: what was copied is kept, and not copied twice")
}

fn ask(wire: &mut Wire<TcpStream>, open: &Open, piece: u64) -> Result<(), Broken> {
    let (mut at, mut length) = bounds(piece, open.size);
    let line = format!("piece {} {at} {length}", open.number);
    wire.say(&line).map_err(Broken::There)?;
    while length > 0 {
        let came = wire.take(length).map_err(Broken::There)?;
        if came.is_empty() {
            return Err(Broken::There(io::ErrorKind::UnexpectedEof.into()));
        }
        open.part.write(came, at).map_err(Broken::Here)?;
        at += came.len() as u64;
        length -= came.len() as u64;
    }
    open.part.mark(piece).map_err(Broken::Here)
}

fn connect(fetch: &Fetch) -> Result<Wire<TcpStream>, Broken> {
    let stream = dial(&fetch.host, fetch.port).map_err(Broken::Way)?;
    let wire = Wire::asking(stream, &fetch.token, fetch.trusted);
    wire.map_err(Broken::There)
}

/// Connects to the other end.
pub(super) fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, SILENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE))?;
                stream.set_write_timeout(Some(SILENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
