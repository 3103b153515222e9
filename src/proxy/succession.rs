//! A proxy that takes over from the one that runs, so that nobody is refused and no stream is cut.
//!
//! The successor asks over the control socket, and is given the configuration. Once its backends were
//! probed it says so, and is given the listening socket itself (`SCM_RIGHTS`, as haproxy's `expose-fd
//! listeners`): what waits to be accepted waits on. The one before accepts nothing more, gives up the
//! control socket, finishes what is in flight and ends. Until then it serves on, whatever becomes of the
//! successor, which listens nowhere.
//!
//! ```text
//! successor                                   predecessor
//! {"succeed": {"host", "port"}}      ->
//!                                    <-       {"kept", "is_there"}
//! "ready"                            ->
//!                                    <-       {"ended", "starts"}     and the listening socket
//!                                    <-       {"ended", "starts"}     once nothing is in flight there
//! ```

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::account::Told;
use super::pool::Pool;
use super::requests::Ledger;
use super::store::Kept;

/// What a successor says once it can serve.
const READY: &str = "ready";

/// How long the one before may take for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Where a proxy is to listen, as it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a successor asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    Succeed(Place),
}

/// What it is given.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    /// The configuration, where there is one.
    kept: Option<Kept>,
    /// Whether it is to listen where the one before does, and so by the same socket.
    is_there: bool,
}

/// How many requests of the one before have ended in which way.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ended {
    ended: BTreeMap<String, u64>,
    /// The same of each start of what it sends them to. One of an older version does not say.
    #[serde(default)]
    starts: Vec<Told>,
}

/// What a proxy counts of its requests: all of them, and those that went to each start.
#[derive(Debug, Clone)]
pub(super) struct Books {
    pub(super) ledger: Arc<Ledger>,
    pub(super) pool: Arc<Pool>,
}

impl Books {
    fn read(&self) -> Ended {
        Ended {
            ended: self.ledger.counts(),
            starts: self.pool.accounts(),
        }
    }

    /// Adds those of the one before that were none when it told `before`.
    fn add(&self, now: &Ended, before: &Ended) {
        self.ledger.add_since(&now.ended, &before.ended);
        self.pool.count_on(&now.starts, &before.starts);
    }
}

/// What a proxy hands over, and to whom it says that it did.
#[derive(Debug)]
pub(super) struct Estate {
    place: Place,
    /// The listening socket; nothing once it was handed over.
    listener: Mutex<Option<OwnedFd>>,
    books: Books,
    heirs: mpsc::Sender<Succeeded>,
}

/// What whoever runs a proxy hears when another has taken over.
#[derive(Debug)]
pub(super) struct Succeeded {
    released: oneshot::Sender<()>,
    last: LastWord,
}

/// What a successor is told last.
#[derive(Debug)]
pub(super) struct LastWord {
    over: oneshot::Sender<()>,
    /// Ends when all has been told.
    told: oneshot::Receiver<()>,
}

impl Succeeded {
    /// Says that nothing more is accepted and that the control socket is free.
    pub(super) fn released(self) -> LastWord {
        // A successor that is gone by now is told nothing.
        let _ = self.released.send(());
        self.last
    }
}

impl LastWord {
    /// Says that all has ended, and waits until the successor was told everything.
    pub(super) async fn over(self) {
        let _ = self.over.send(());
        let _ = self.told.await;
    }
}

impl Estate {
    /// The estate of a proxy that is to listen there, and where it is heard of when another took over.
    pub(super) fn new(place: Place, books: Books) -> (Self, mpsc::Receiver<Succeeded>) {
        let (heirs, succeeded) = mpsc::channel(1);
        let estate = Self {
            place,
            listener: Mutex::default(),
            books,
            heirs,
        };
        (estate, succeeded)
    }

    /// Adds the socket that it listens by.
    pub(super) fn listens(&self, listener: &TcpListener) -> io::Result<()> {
        *self.listener() = Some(listener.as_fd().try_clone_to_owned()?);
        Ok(())
    }

    /// Hands it over to who asks for it, and tells whoever runs the proxy once that one serves. What is
    /// `held` is let go then.
    ///
    /// # Errors
    ///
    /// When the successor goes away, or says something else.
    pub(super) async fn hand_over(
        &self,
        stream: UnixStream,
        place: &Place,
        kept: Option<Kept>,
        held: impl Send,
    ) -> io::Result<()> {
        let is_there = *place == self.place;
        let (read, mut write) = stream.into_split();
        write.write_all(&line(&Given { kept, is_there })?).await?;
        let mut lines = BufReader::new(read).lines();
        if lines.next_line().await?.as_deref() != Some(READY) {
            tracing::warn!("a successor went away before it could serve");
            return Ok(());
        }
        let (released, is_released) = oneshot::channel();
        let (over, is_over) = oneshot::channel();
        // Whoever runs the proxy waits for the end of this.
        let (_telling, told) = oneshot::channel();
        let last = LastWord { over, told };
        let heard = self.heirs.send(Succeeded { released, last }).await;
        if heard.is_err() || is_released.await.is_err() {
            return Ok(());
        }
        let listener = self.listener().take().filter(|_| is_there);
        let text = line(&self.books.read())?;
        let stream: &UnixStream = write.as_ref();
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                send(stream, &text, listener.as_ref())
            })
            .await?;
        write.write_all(&text[sent..]).await?;
        drop((listener, held));
        let _ = is_over.await;
        write.write_all(&line(&self.books.read())?).await
    }

    fn listener(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a successor has been given, before it serves.
#[derive(Debug)]
pub(super) struct Inheritance {
    stream: UnixStream,
    pub(super) kept: Option<Kept>,
    /// Whether it is given a socket to listen by.
    pub(super) has_listener: bool,
}

impl Inheritance {
    /// Asks the proxy at this control socket for its own; nothing where none answers there.
    ///
    /// # Errors
    ///
    /// When it answers something else, as one does that knows of no successors.
    pub(super) async fn ask(control: &Path, place: &Place) -> io::Result<Option<Self>> {
        let mut stream = match UnixStream::connect(control).await {
            Ok(stream) => stream,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                    _ => Err(error),
                };
            }
        };
        stream
            .write_all(&line(&Asked::Succeed(place.clone()))?)
            .await?;
        let Received { line: given, .. } = receive(&stream).await?;
        let Given { kept, is_there } = serde_json::from_slice(&given)?;
        Ok(Some(Self {
            stream,
            kept,
            has_listener: is_there,
        }))
    }

    /// Has the one before accept nothing more and give up its control socket, and is given its listening
    /// socket. What ends there from now on is counted here, when it tells.
    ///
    /// # Errors
    ///
    /// When it does not do so.
    pub(super) async fn take_over(self, books: Books) -> io::Result<Option<TcpListener>> {
        let mut stream = self.stream;
        stream.write_all(format!("{READY}\n").as_bytes()).await?;
        let Received {
            line,
            rest,
            listener,
        } = receive(&stream).await?;
        let before: Ended = serde_json::from_slice(&line)?;
        books.add(&before, &Ended::default());
        tokio::spawn(async move {
            let mut lines = BufReader::new(io::Cursor::new(rest).chain(stream)).lines();
            let last = lines.next_line().await.ok().flatten();
            let last = last.and_then(|it| serde_json::from_str::<Ended>(&it).ok());
            let Some(last) = last else {
                tracing::warn!("the proxy before did not say how its last requests ended");
                return;
            };
            books.add(&last, &before);
        });
        let Some(listener) = listener.map(std::net::TcpListener::from) else {
            return Ok(None);
        };
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener).map(Some)
    }
}

fn silent() -> io::Error {
    let seconds = ANSWER.as_secs();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the proxy before did not answer within {seconds} s"),
    )
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends the beginning of a text, and a socket with it. Returns how much of the text that was.
fn send(stream: &UnixStream, text: &[u8], listener: Option<&OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = listener.iter().map(|it| it.as_fd()).collect();
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let text = [IoSlice::new(text)];
    Ok(sendmsg(stream, &text, &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// What was received.
struct Received {
    line: Vec<u8>,
    /// What came after it already.
    rest: Vec<u8>,
    /// The socket that came with it.
    listener: Option<OwnedFd>,
}

/// Receives a line, and the socket that came with its beginning, if one did.
async fn receive(stream: &UnixStream) -> io::Result<Received> {
    let received = async {
        let (mut line, mut listener) = (Vec::new(), None);
        loop {
            let mut piece = [0; 4096];
            let (read, came) = stream
                .async_io(Interest::READABLE, || receive_some(stream, &mut piece))
                .await?;
            if read == 0 {
                let why = "the proxy before hung up";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            line.extend_from_slice(&piece[..read]);
            listener = listener.or(came);
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let rest = line.split_off(end + 1);
                return Ok(Received {
                    line,
                    rest,
                    listener,
                });
            }
        }
    };
    let received = tokio::time::timeout(ANSWER, received).await;
    received.map_err(|_| silent())?
}

fn receive_some(stream: &UnixStream, piece: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(piece)];
    let received = recvmsg(stream, &mut into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok((received.bytes, descriptors.flatten().next()))
}
