//! One connection to a backend, and one exchange on it.
//!
//! There is no task behind a connection, and no channel: whoever waits for an answer moves the bytes
//! itself. A connection knows whether it was written to and whether anything came back: on these two
//! facts rests what may be sent again.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::backend::Backend;
use super::headers::OfConnection;
use super::outbound::{Outbound, Sending, Unsent};
use super::patience::{Patience, Waited};
use super::sockets;
use crate::net::{Decoder, Framing, Malformed, Taken};

/// Bounds what is read ahead of a slow client, for each stream; a head must fit as well.
pub(super) const BUFFER: usize = 64 * 1024;

/// As much is read at once, to begin with.
const READ: usize = 8 * 1024;

/// How the `Content-Type` of a stream of events begins.
const EVENTS: &[u8] = b"text/event-stream";

/// A head may have so many fields.
const FIELDS: usize = 100;

/// A connection to a backend. Dropped, it closes at once, whatever was going on.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    sending: Sending,
    /// What was read and not handed on.
    unread: BytesMut,
    body: Decoder,
    /// As many bytes at the beginning of `unread` are of the body.
    ready: usize,
    traffic: Traffic,
    /// As much is read at once.
    step: usize,
    /// Whether the server means to keep it.
    is_kept: bool,
    /// Bounds the wait for what is to come. It stays with the connection, and so does its timer.
    patience: Patience,
    /// What the last head that came says to the client, until it is told. It is large, and a connection
    /// lies where it is, while a reply goes through many hands.
    headers: HeaderMap,
    /// Room for the fields of a head, between one and the next.
    fields: Vec<Field>,
}

/// What went over a connection since its last request began.
#[derive(Debug, Default, Clone, Copy)]
struct Traffic {
    sent: bool,
    answered: bool,
}

/// The head of an answer, but for its fields: those stay with the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Whether its body is a stream of events.
    pub(super) is_stream: bool,
}

/// Why an exchange has no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// Some bytes of the request went out.
    pub(super) sent: bool,
    /// Some bytes came back, though no whole head.
    pub(super) answered: bool,
    pub(super) why: Why,
}

/// What happened instead of an answer, or of the rest of one.
#[derive(Debug)]
pub(super) enum Why {
    /// The connection broke, or what came is no answer.
    Broken(String),
    /// It was silent for so long.
    Silent(Duration),
    /// It was taken out meanwhile, and stayed silent.
    TakenOut,
    /// The client broke off while it was sending.
    ClientGone,
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Malformed> for Why {
    fn from(Malformed(why): Malformed) -> Self {
        Self::Broken(why)
    }
}

impl Connection {
    /// Connects. It is boxed, as it goes from hand to hand: to an answer, and back to the idle ones.
    pub(super) async fn open(authority: &str, within: Duration) -> io::Result<Box<Self>> {
        let connecting = TcpStream::connect(authority);
        let stream = tokio::time::timeout(within, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
        sockets::tune(&stream);
        Ok(Box::new(Self {
            stream,
            sending: Sending::default(),
            unread: BytesMut::new(),
            body: Decoder::new(Framing::Empty),
            ready: 0,
            traffic: Traffic::default(),
            step: READ,
            is_kept: true,
            patience: Patience::new(within),
            headers: HeaderMap::new(),
            fields: Vec::new(),
        }))
    }

    /// Has whoever runs this be woken by what comes on it, and no longer whoever opened it.
    pub(super) fn moved_here(self: Box<Self>) -> io::Result<Box<Self>> {
        let this = *self;
        Ok(Box::new(Self {
            stream: TcpStream::from_std(this.stream.into_std()?)?,
            patience: Patience::new(this.patience.bound()),
            ..this
        }))
    }

    /// Whether another request may be sent over it: all of the last one was, all of its answer came
    /// and nothing else, and the server has not closed it.
    ///
    /// What comes unasked would be taken for the next answer.
    pub(super) fn is_reusable(&self) -> bool {
        let is_over = self.sending.is_over() && self.body.is_whole() && self.unread.is_empty();
        let is_silent = || {
            let read = self.stream.try_read(&mut [0]);
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        self.is_kept && is_over && is_silent()
    }

    /// Sends a client's request from this moment on and waits for the head of its answer; for it, and for
    /// each piece of the rest, no longer than the bound.
    pub(super) fn exchange(
        &mut self,
        outbound: &mut Outbound<'_>,
        backend: &Backend,
        bound: Duration,
        now: Instant,
    ) -> impl Future<Output = Result<Head, NoAnswer>> {
        self.sending.begin(outbound, backend);
        let has_body = outbound.method() != hyper::Method::HEAD;
        self.patience.begin(bound, now);
        self.answer(backend, has_body)
    }

    /// Asks something of the proxy's own.
    pub(super) async fn get(
        &mut self,
        path: &str,
        backend: &Backend,
        key: Option<&HeaderValue>,
        bound: Duration,
    ) -> Result<Head, NoAnswer> {
        self.sending.begin_own(path, backend, key);
        self.patience.begin(bound, Instant::now());
        self.answer(backend, true).await
    }

    async fn answer(&mut self, backend: &Backend, has_body: bool) -> Result<Head, NoAnswer> {
        self.traffic = Traffic::default();
        let mut refused = None;
        let answer = poll_fn(|cx| {
            match self.poll_send(cx) {
                Poll::Ready(Err(Unsent::ClientGone)) => return Poll::Ready(Err(Why::ClientGone)),
                // What cannot be sent to the end may have been answered all the same.
                Poll::Ready(Err(Unsent::Refused(error))) => refused = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            match self.poll_head(cx, has_body) {
                Poll::Ready(head) => Poll::Ready(head.map_err(|why| match refused.take() {
                    Some(error) => error.into(),
                    None => why,
                })),
                Poll::Pending if self.sending.waits_for_client() => {
                    self.patience.rest();
                    Poll::Pending
                }
                Poll::Pending => self.wait(cx, backend).map(Err),
            }
        });
        let answer = answer.await;
        self.patience.rest();
        answer.map_err(|why| NoAnswer {
            sent: self.traffic.sent,
            answered: self.traffic.answered,
            why,
        })
    }

    /// Nothing came yet. Ready with why nothing more is waited for.
    fn wait(&mut self, cx: &mut Context<'_>, backend: &Backend) -> Poll<Why> {
        match self.patience.wait(cx) {
            Waited::Over => Poll::Ready(Why::Silent(self.patience.bound())),
            Waited::LookUp if backend.is_out() => Poll::Ready(Why::TakenOut),
            Waited::On | Waited::LookUp => Poll::Pending,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.sending.is_over() {
            return Poll::Ready(Ok(()));
        }
        let traffic = &mut self.traffic;
        self.sending
            .poll(&mut self.stream, cx, || traffic.sent = true)
    }

    /// Reads on until a head is there. Interim ones (1xx) are passed over.
    fn poll_head(&mut self, cx: &mut Context<'_>, has_body: bool) -> Poll<Result<Head, Why>> {
        loop {
            if !self.unread.is_empty()
                && let Some(head) = self.take_head(has_body)?
            {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_read(cx))? == 0 {
                let why = if self.traffic.answered {
                    "it closed the connection in the midst of its answer"
                } else {
                    "it closed the connection without an answer"
                };
                return Poll::Ready(Err(Why::Broken(why.to_owned())));
            }
        }
    }

    fn take_head(&mut self, has_body: bool) -> Result<Option<Head>, Malformed> {
        loop {
            // Room that is not cleared first: the fields of a head are few.
            let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
            let mut answer = httparse::Response::new(&mut []);
            let parsing = httparse::ParserConfig::default();
            let parsing =
                parsing.parse_response_with_uninit_headers(&mut answer, &self.unread, &mut fields);
            let length = match parsing {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if self.unread.len() >= BUFFER => {
                    return Err(Malformed("the head of its answer has no end".to_owned()));
                }
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(error) => return Err(Malformed(format!("its answer is no HTTP/1.1: {error}"))),
            };
            let parsed = Parsed::of(&answer, &self.unread, std::mem::take(&mut self.fields))?;
            let head = self.unread.split_to(length).freeze();
            match parsed.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(Malformed(
                        "it switches protocols, and nobody asked".to_owned(),
                    ));
                }
                interim if interim.is_informational() => {
                    if self.unread.is_empty() {
                        return Ok(None);
                    }
                }
                _ => {
                    let framing = if has_body {
                        parsed.framing
                    } else {
                        Framing::Empty
                    };
                    self.body = Decoder::new(framing);
                    self.ready = 0;
                    self.is_kept = parsed.is_kept && framing != Framing::UntilClosed;
                    let status = parsed.status;
                    let is_stream = parsed.is_stream;
                    self.headers = parsed.headers(&head, &mut self.fields)?;
                    return Ok(Some(Head { status, is_stream }));
                }
            }
        }
    }

    /// What the head says to the client, to be changed.
    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// What the head says to the client.
    pub(super) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The next piece of the body, or its end, as long as it is worth waiting for. Goes on sending
    /// meanwhile, where the answer came before the request was whole.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        backend: &Backend,
    ) -> Poll<Option<Result<Bytes, Why>>> {
        match self.poll_piece(cx) {
            Poll::Ready(piece) => {
                self.patience.rest();
                Poll::Ready(piece)
            }
            Poll::Pending => self.wait(cx, backend).map(|why| Some(Err(why))),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Why>>> {
        if let Poll::Ready(Err(_)) = self.poll_send(cx) {
            // The answer is there; what it was to is over.
            self.sending = Sending::default();
            self.is_kept = false;
        }
        loop {
            if self.ready == 0 && !self.unread.is_empty() {
                self.take_framing()?;
            }
            if self.ready > 0 {
                let data = self.unread.split_to(self.ready).freeze();
                self.ready = 0;
                // So that the end is known with the last piece. What is wrong behind that is told when it is
                // asked for: the piece itself is good.
                let _ = self.take_framing();
                return Poll::Ready(Some(Ok(data)));
            }
            if self.body.is_whole() {
                return Poll::Ready(None);
            }
            if ready!(self.poll_read(cx))? == 0 {
                let why = "it closed the connection before its answer was whole";
                let short = || Err(Why::Broken(why.to_owned()));
                return Poll::Ready((!self.body.close()).then(short));
            }
        }
    }

    /// Whether all of the body was handed on.
    pub(super) fn is_at_end(&self) -> bool {
        self.ready == 0 && self.body.is_whole()
    }

    /// As many bytes of the body as are to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.body.left().map(|left| left + self.ready as u64)
    }

    fn take_framing(&mut self) -> Result<(), Malformed> {
        if self.unread.is_empty() || self.body.is_whole() {
            return Ok(());
        }
        let Taken { framing, data } = self.body.take(&self.unread)?;
        self.unread.advance(framing);
        self.ready = data;
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.unread.len() >= BUFFER {
            return Poll::Ready(Err(io::Error::other("more came than there is room for")));
        }
        if self.unread.capacity() - self.unread.len() < self.step / 4 {
            self.unread.reserve(self.step);
        }
        let read = ready!(pin!(self.stream.read_buf(&mut self.unread)).poll(cx))?;
        if self.unread.len() == self.unread.capacity() {
            self.step = (self.step * 2).min(BUFFER);
        }
        self.traffic.answered |= read > 0;
        Poll::Ready(Ok(read))
    }
}

/// The name of a field, and where its value stands.
type Field = (HeaderName, Range<usize>);

/// A head, by where its parts stand.
struct Parsed {
    status: StatusCode,
    fields: Vec<Field>,
    /// What `Connection` names.
    of_connection: OfConnection,
    framing: Framing,
    is_stream: bool,
    is_kept: bool,
}

impl Parsed {
    /// Reads it into this room for fields.
    fn of(
        answer: &httparse::Response<'_, '_>,
        bytes: &[u8],
        mut fields: Vec<Field>,
    ) -> Result<Self, Malformed> {
        let malformed = |what: &str| Malformed(format!("its answer has {what}"));
        let status = StatusCode::from_u16(answer.code.unwrap_or_default())
            .map_err(|_| malformed("no status"))?;
        let is_newest = answer.version == Some(1);
        let (mut closes, mut keeps, mut is_stream) = (false, false, false);
        let mut of_connection = OfConnection::default();
        for field in answer.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes())
                .map_err(|_| malformed("a field with no name"))?;
            if name == header::CONNECTION {
                closes |= names(field.value, b"close");
                keeps |= names(field.value, b"keep-alive");
                of_connection.add(field.value);
            }
            let is_chunked = || field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            if name == header::TRANSFER_ENCODING && !is_chunked() {
                return Err(malformed("a transfer coding that nobody asked for"));
            }
            is_stream |= name == header::CONTENT_TYPE && field.value.starts_with(EVENTS);
            fields.push((name, place(field.value, bytes)));
        }
        let read = answer.headers.iter().map(|it| (it.name, it.value));
        Ok(Self {
            status,
            fields,
            of_connection,
            framing: Framing::of(status.as_u16(), read)?,
            is_stream,
            is_kept: !closes && (is_newest || keeps),
        })
    }

    /// What of it is for the client. The room for its fields is given back.
    fn headers(mut self, bytes: &Bytes, room: &mut Vec<Field>) -> Result<HeaderMap, Malformed> {
        let mut headers = HeaderMap::with_capacity(self.fields.len() + 3);
        // Its chunks say how long it is (RFC 9112, section 6.3), and one length is enough.
        let mut has_length = self.framing == Framing::Chunked;
        let is_passed = |(name, _): &Field| self.of_connection.lets_down(name);
        for (name, place) in self.fields.drain(..).filter(is_passed) {
            if name == header::CONTENT_LENGTH && std::mem::replace(&mut has_length, true) {
                continue;
            }
            let value = HeaderValue::from_maybe_shared(bytes.slice(place))
                .map_err(|_| Malformed(format!("its answer's `{name}` is no field")))?;
            headers.append(name, value);
        }
        *room = self.fields;
        Ok(headers)
    }
}

/// Whether a list of words is this one, or has it.
fn names(list: &[u8], word: &[u8]) -> bool {
    let mut words = list.split(|byte| *byte == b',');
    words.any(|it| it.trim_ascii().eq_ignore_ascii_case(word))
}

/// Where a part of `bytes` stands in them.
fn place(part: &[u8], bytes: &[u8]) -> Range<usize> {
    let from = part.as_ptr().addr() - bytes.as_ptr().addr();
    from..from + part.len()
}
