//! The least that a client can be.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::clock::{now, timer, wake_at};

/// So many requests, all at once, some at a time, or so many a second.
pub struct Load {
    requests: usize,
    at_once: usize,
    every_ns: Option<u64>,
}

impl Load {
    pub fn of(how: &str, much: f64, requests: usize) -> Option<Self> {
        let (at_once, every_ns) = match how {
            "batch" => (requests, None),
            "closed" => (much as usize, None),
            "rate" => (0, Some((1e9 / much) as u64)),
            _ => return None,
        };
        Some(Self { requests, at_once, every_ns })
    }
}

const TIMER: u64 = u64::MAX;

struct Lane {
    stream: TcpStream,
    sent: u64,
    /// Pieces of the answer: when each was read, and where it ends.
    reads: Vec<(u64, usize)>,
    bytes: Vec<u8>,
}

pub fn ask(port: u16, tokens: usize, load: &Load) -> io::Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut lanes = Vec::with_capacity(load.requests);
    for number in 0..load.requests {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
        // Little is reserved: pages that are never touched cost nothing.
        let (reads, bytes) = (Vec::with_capacity(tokens + 8), Vec::with_capacity(tokens * 400));
        lanes.push(Lane { stream, sent: 0, reads, bytes });
    }
    let timer = timer()?;
    epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
    follow(&poll, &timer, &mut lanes, tokens, load)?;
    lanes.iter().for_each(Lane::tell);
    Ok(())
}

fn follow(
    poll: &OwnedFd,
    timer: &OwnedFd,
    lanes: &mut [Lane],
    tokens: usize,
    load: &Load,
) -> io::Result<()> {
    let began = now() + 1_000_000;
    let (mut sent, mut ended) = (0, 0);
    let send = |lanes: &mut [Lane], sent: &mut usize| -> io::Result<()> {
        lanes[*sent].send(*sent, tokens)?;
        *sent += 1;
        Ok(())
    };
    while sent < load.at_once.min(load.requests) {
        send(lanes, &mut sent)?;
    }
    let mut events = Vec::with_capacity(1024);
    while ended < load.requests {
        if let Some(every) = load.every_ns {
            while sent < load.requests && began + every * sent as u64 <= now() {
                send(lanes, &mut sent)?;
            }
            if sent < load.requests {
                wake_at(timer, began + every * sent as u64)?;
            }
        }
        epoll::wait(poll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            match event.data.u64() {
                TIMER => {
                    let _ = rustix::io::read(timer, &mut [MaybeUninit::<u8>::uninit(); 8]);
                }
                number => {
                    if lanes[number as usize].read()? {
                        ended += 1;
                        if load.every_ns.is_none() && sent < load.requests {
                            send(lanes, &mut sent)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

impl Lane {
    fn send(&mut self, number: usize, tokens: usize) -> io::Result<()> {
        let body = format!(
            r#"{{"model":"stopwatch","prompt":"Tell.","max_tokens":{tokens},"stream":true,"stream_options":{{"include_usage":true,"continuous_usage_stats":true}}}}"#
        );
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             x-request-id: minimal-{number}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.sent = now();
        self.stream.write_all(request.as_bytes())
    }

    /// Whether the answer has come to its end.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16384];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                let at = now();
                self.bytes.extend_from_slice(&piece[..read]);
                self.reads.push((at, self.bytes.len()));
                Ok(self.bytes.ends_with(b"\r\n0\r\n\r\n"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When it was sent, and when each of its tokens had come.
    fn tell(&self) {
        let mut from = 0;
        let mut tokens = Vec::new();
        for (at, end) in &self.reads {
            // An event that a read cut is counted where its first bytes are: events are small, and
            // the server writes each at once.
            let found = self.bytes[from..*end].windows(9).filter(|it| it == b"\"text\":\" ");
            tokens.extend(found.map(|_| *at));
            from = *end;
        }
        println!("[{},{tokens:?}]", self.sent);
    }
}
