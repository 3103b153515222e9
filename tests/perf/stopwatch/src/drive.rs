//! The load of a proxy's clients: one thread, raw HTTP over kept connections, and one line of JSON with
//! what came of it.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::clock::{now, timer, wake_at};
use crate::http::{Framing, framing, head_length, leading_number};

/// What is done.
pub enum Drive {
    /// So many clients, each of which asks again when it has its answer, for so many seconds.
    Closed { clients: usize, seconds: f64 },
    /// So many requests a second, whatever becomes of them, for so many seconds.
    Rate { a_second: f64, seconds: f64 },
    /// So many streams at once, of so many events.
    Streams { clients: usize, events: u64 },
    /// So many clients who all ask at the same time, once.
    Burst { clients: usize },
    /// So many clients, each of whom asks once and then stays, until this program's input ends.
    Idle { clients: usize },
}

const TIMER: u64 = u64::MAX;
/// Clients of a rate, connected before; more are when they are needed.
const AT_HAND: usize = 16;
/// So many failures are a proxy that does not work, and no measurement.
const TOO_MANY: u64 = 1000;

struct Driver<'a> {
    poll: OwnedFd,
    ports: &'a [u16],
    request: Vec<u8>,
    lanes: Vec<Lane>,
    piece: Box<[u8]>,
    requests: u64,
    failed: u64,
    took: Vec<u64>,
    transits: Vec<u64>,
}

struct Lane {
    stream: TcpStream,
    sent: u64,
    answer: Answer,
}

/// An answer, as far as it has come.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    framing: Option<Framing>,
}

pub fn drive(ports: &[u16], what: &Drive, body: &str) -> io::Result<()> {
    let mut driver = Driver::new(ports, body)?;
    let began = now();
    match *what {
        Drive::Closed { clients, seconds } => driver.closed(clients, seconds)?,
        Drive::Rate { a_second, seconds } => driver.rate(a_second, seconds)?,
        Drive::Streams { clients, .. } | Drive::Burst { clients } => driver.once(clients)?,
        Drive::Idle { clients } => {
            for number in 0..clients {
                driver.connect()?;
                driver.send(number)?;
                driver.wait_for(1)?;
            }
        }
    }
    driver.tell(now() - began);
    if let Drive::Idle { .. } = what {
        io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

impl<'a> Driver<'a> {
    fn new(ports: &'a [u16], body: &str) -> io::Result<Self> {
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nuser-agent: stopwatch\r\n\
             accept: application/json\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        Ok(Self {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ports,
            request: request.into_bytes(),
            lanes: Vec::new(),
            piece: vec![0; 256 * 1024].into(),
            requests: 0,
            failed: 0,
            took: Vec::new(),
            transits: Vec::new(),
        })
    }

    fn connect(&mut self) -> io::Result<()> {
        let number = self.lanes.len();
        let stream = self.connection(number)?;
        self.lanes.push(Lane { stream, sent: 0, answer: Answer::default() });
        Ok(())
    }

    fn connection(&self, number: usize) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.ports[number % self.ports.len()]))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
        Ok(stream)
    }

    fn send(&mut self, number: usize) -> io::Result<()> {
        let Self { lanes, request, .. } = self;
        let lane = &mut lanes[number];
        lane.answer = Answer::default();
        lane.sent = now();
        // What is larger than the socket's room is waited with: the proxy takes it at once.
        match lane.stream.write(request) {
            Ok(written) if written == request.len() => Ok(()),
            Ok(written) => {
                lane.stream.set_nonblocking(false)?;
                lane.stream.write_all(&request[written..])?;
                lane.stream.set_nonblocking(true)
            }
            Err(_) => self.fail(number),
        }
    }

    /// Asks again on a new connection.
    fn fail(&mut self, number: usize) -> io::Result<()> {
        self.failed += 1;
        if self.failed > TOO_MANY {
            let head = String::from_utf8_lossy(&self.lanes[number].answer.bytes).into_owned();
            return Err(io::Error::other(format!("more than {TOO_MANY} failed, the last with {head:?}")));
        }
        self.lanes[number].stream = self.connection(number)?;
        self.send(number)
    }

    fn closed(&mut self, clients: usize, seconds: f64) -> io::Result<()> {
        for number in 0..clients {
            self.connect()?;
            self.send(number)?;
        }
        let end = now() + (seconds * 1e9) as u64;
        let mut events = Vec::with_capacity(1024);
        while now() < end {
            for number in self.heard(&mut events)? {
                self.send(number)?;
            }
        }
        self.wait_for(clients)
    }

    fn rate(&mut self, a_second: f64, seconds: f64) -> io::Result<()> {
        let timer = timer()?;
        epoll::add(&self.poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let (all, every) = ((a_second * seconds) as u64, (1e9 / a_second) as u64);
        let mut free: Vec<usize> = (0..AT_HAND).collect();
        for _ in 0..AT_HAND {
            self.connect()?;
        }
        let (began, mut sent) = (now(), 0);
        let mut events = Vec::with_capacity(1024);
        while sent < all {
            while sent < all && began + every * sent <= now() {
                let number = match free.pop() {
                    Some(number) => number,
                    None => {
                        self.connect()?;
                        self.lanes.len() - 1
                    }
                };
                self.send(number)?;
                sent += 1;
            }
            wake_at(&timer, began + every * sent)?;
            free.extend(self.heard(&mut events)?);
            let _ = rustix::io::read(&timer, &mut [MaybeUninit::<u8>::uninit(); 8]);
        }
        self.wait_for(self.lanes.len() - free.len())
    }

    /// All are connected before the first of them asks.
    fn once(&mut self, clients: usize) -> io::Result<()> {
        for _ in 0..clients {
            self.connect()?;
        }
        for number in 0..clients {
            self.send(number)?;
        }
        self.wait_for(clients)
    }

    /// Waits until so many more answers are there.
    fn wait_for(&mut self, mut open: usize) -> io::Result<()> {
        let mut events = Vec::with_capacity(1024);
        while open > 0 {
            open -= self.heard(&mut events)?.len();
        }
        Ok(())
    }

    /// Reads what has come, and returns whose answers ended.
    fn heard(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<Vec<usize>> {
        let mut ended = Vec::new();
        epoll::wait(&self.poll, spare_capacity(events), None)?;
        for event in events.drain(..).filter(|event| event.data.u64() != TIMER) {
            let number = event.data.u64() as usize;
            let lane = &mut self.lanes[number];
            match lane.stream.read(&mut self.piece) {
                Ok(read) if read > 0 => {
                    let at = now();
                    match lane.answer.take(&self.piece[..read], at, &mut self.transits) {
                        Taken::Whole => {
                            self.requests += 1;
                            self.took.push(at - lane.sent);
                            ended.push(number);
                        }
                        Taken::Part => {}
                        Taken::NoAnswer => self.fail(number)?,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => self.fail(number)?,
            }
        }
        Ok(ended)
    }

    fn tell(&mut self, ran: u64) {
        let Self { requests, failed, took, transits, .. } = self;
        println!(
            r#"{{"requests":{requests},"failed":{failed},"seconds":{},"p50":{},"p99":{},"events":{},"transit_p50":{},"transit_p99":{}}}"#,
            ran as f64 / 1e9,
            quantile(took, 0.5),
            quantile(took, 0.99),
            transits.len(),
            quantile(transits, 0.5),
            quantile(transits, 0.99),
        );
    }
}

/// Microseconds.
fn quantile(of: &mut [u64], share: f64) -> f64 {
    of.sort_unstable();
    let at = (of.len() as f64 * share) as usize;
    of.get(at.min(of.len().saturating_sub(1))).map_or(0.0, |ns| *ns as f64 / 1e3)
}

enum Taken {
    Whole,
    Part,
    NoAnswer,
}

impl Answer {
    /// Takes what was read, and notes how old the events in it are.
    fn take(&mut self, read: &[u8], at: u64, transits: &mut Vec<u64>) -> Taken {
        self.bytes.extend_from_slice(read);
        if self.framing.is_none() {
            let Some(length) = head_length(&self.bytes) else {
                return Taken::Part;
            };
            let head = &self.bytes[..length];
            self.framing = framing(head).filter(|_| head.starts_with(b"HTTP/1.1 200"));
            if self.framing.is_none() {
                return Taken::NoAnswer;
            }
            self.bytes.drain(..length);
        }
        let is_whole = match self.framing {
            Some(Framing::Length(length)) => self.bytes.len() >= length,
            _ => {
                let is_whole = self.bytes.ends_with(b"\r\n0\r\n\r\n");
                self.note_events(at, transits);
                is_whole
            }
        };
        if is_whole { Taken::Whole } else { Taken::Part }
    }

    /// Keeps no more than what a later read may complete.
    fn note_events(&mut self, at: u64, transits: &mut Vec<u64>) {
        let mut from = 0;
        while let Some(end) = self.bytes[from..].windows(2).position(|it| it == b"\n\n") {
            let event = &self.bytes[from..from + end];
            let text = b"\"text\":\" ";
            if let Some(place) = event.windows(text.len()).position(|it| it == text)
                && let Some(written) = leading_number(&event[place + text.len()..])
            {
                transits.push(at.saturating_sub(written));
            }
            from += end + 2;
        }
        // The last bytes say that all is over, in whatever pieces they come.
        self.bytes.drain(..from.min(self.bytes.len()));
    }
}

/// The body of a request: its size, and where its `model` stands.
pub fn body(kind: &str, drive: &Drive) -> Option<String> {
    let end = match drive {
        Drive::Streams { events, .. } => format!(r#""max_tokens":{events},"stream":true"#),
        // As long as all of them take to ask.
        Drive::Burst { clients } => format!(r#""max_tokens":16,"seed":{}"#, 300 + clients / 4),
        _ => r#""max_tokens":16"#.to_owned(),
    };
    let words = |size: usize| "word ".repeat(size / 5);
    Some(match kind {
        "small" => format!(r#"{{"model":"m","prompt":"{}",{end}}}"#, words(2000)),
        "large" => format!(r#"{{"model":"m","prompt":"{}",{end}}}"#, words(200_000)),
        "escaped" => {
            let text = r#"a \"word\", caf\u00e9,\n and so on; "#.repeat(200_000 / 34);
            format!(r#"{{"prompt":"{text}",{end},"model":"m"}}"#)
        }
        _ => return None,
    })
}
