//! How fast the way from another node is: what a copy of a model goes over, without its files.
//!
//! As many connections as a copy has bring bytes of the other end's memory, sealed as those of a copy
//! are. What comes is counted once they have found their pace, and thrown away.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::receive::{FETCHERS, dial};
use super::send::{ECHO, MEMORY};
use super::wire::Wire;
use super::{Error, Measure, Measured};

/// How long TCP may take to find its pace, before anything is counted.
const PACE: Duration = Duration::from_millis(500);

/// How long it is counted what comes.
const COUNTED: Duration = Duration::from_secs(2);

/// How often a word is sent there and back.
const ECHOES: usize = 21;

/// More than comes in that time: the connections are cut before.
const ENDLESS: u64 = 1 << 50;

/// Measures the way from the other end to this one.
///
/// # Errors
///
/// When the other end cannot be reached, or nothing comes from it.
pub fn measure(measure: &Measure) -> Result<Measured, Error> {
    let rtt_ms = there_and_back(measure).map_err(|error| broken(measure, &error))?;
    let came = Arc::new(AtomicU64::new(0));
    let open = || open(measure, &came).map_err(|error| broken(measure, &error));
    let wires = (0..FETCHERS).map(|_| open());
    let (wires, streams): (Vec<_>, Vec<_>) =
        wires.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let is_over = AtomicBool::new(false);
    let (bytes, took, broke) = thread::scope(|threads| {
        let is_over = &is_over;
        let draining: Vec<_> = wires
            .into_iter()
            .map(|wire| threads.spawn(move || drain(wire, is_over)))
            .collect();
        thread::sleep(PACE);
        let (began, before) = (Instant::now(), came.load(Ordering::Relaxed));
        thread::sleep(COUNTED);
        let (took, after) = (began.elapsed(), came.load(Ordering::Relaxed));
        is_over.store(true, Ordering::SeqCst);
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let mut drained = draining.into_iter().map(thread::ScopedJoinHandle::join);
        let broke = drained.find_map(|it| it.ok()?.err());
        (after.saturating_sub(before), took.as_secs_f64(), broke)
    });
    farewell(measure);
    if let Some(error) = broke {
        return Err(broken(measure, &error));
    }
    Ok(Measured {
        gbit_per_s: bytes as f64 * 8.0 / took / 1e9,
        rtt_ms,
        seconds: took,
        connections: FETCHERS,
    })
}

/// The median of what a word takes there and back, in ms.
fn there_and_back(measure: &Measure) -> io::Result<f64> {
    let stream = dial(&measure.host, measure.port)?;
    let mut wire = Wire::asking(stream, &measure.token, measure.trusted)?;
    let mut took = Vec::with_capacity(ECHOES);
    for _ in 0..ECHOES {
        let began = Instant::now();
        wire.say(ECHO)?;
        if wire.hear()?.as_deref() != Some(ECHO) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(took[ECHOES / 2])
}

/// A connection that counts what it brings, and the same to cut it by.
fn open(measure: &Measure, came: &Arc<AtomicU64>) -> io::Result<(Wire<Counted>, TcpStream)> {
    let stream = dial(&measure.host, measure.port)?;
    let cut = stream.try_clone()?;
    let counted = Counted {
        stream,
        came: Arc::clone(came),
    };
    let wire = Wire::asking(counted, &measure.token, measure.trusted)?;
    Ok((wire, cut))
}

/// Takes all that comes until the connection is cut. That it ends before is an error.
fn drain(mut wire: Wire<Counted>, is_over: &AtomicBool) -> io::Result<()> {
    let drained = wire.say(&format!("{MEMORY}{ENDLESS}")).and_then(|()| {
        while !wire.take(ENDLESS)?.is_empty() {}
        Err(io::ErrorKind::UnexpectedEof.into())
    });
    let is_over = is_over.load(Ordering::SeqCst);
    if is_over { Ok(()) } else { drained }
}

/// Without this the other end goes away by itself, a minute later.
fn farewell(measure: &Measure) {
    if let Ok(stream) = dial(&measure.host, measure.port)
        && let Ok(mut wire) = Wire::asking(stream, &measure.token, measure.trusted)
    {
        let _ = wire.say("done");
    }
}

fn broken(measure: &Measure, error: &io::Error) -> Error {
    let Measure { host, port, .. } = measure;
    Error::new(format!("{host} port {port} gave nothing to measure: {error}"))
        .hinted("see the `addresses` of both nodes, and what stands between them: a firewall, another network")
}

/// A connection that counts what it brings.
struct Counted {
    stream: TcpStream,
    came: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let came = self.stream.read(bytes)?;
        self.came.fetch_add(came as u64, Ordering::Relaxed);
        Ok(came)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
