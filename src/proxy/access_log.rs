//! The access log: a line of JSON for each request, at its end.
//!
//! No request waits for a disk: lines go through a channel of a bounded length to one thread that
//! writes them. Where that falls behind, lines are lost, counted, and told of in the proxy's log.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::log;

/// So many lines may wait to be written.
const WAITING: usize = 8192;

/// So long the end of the proxy waits for what is to be written yet.
const LAST_LINES: Duration = Duration::from_secs(2);

/// That lines were lost is told no more often than this.
const AGAIN: Duration = Duration::from_secs(10);

/// What stands for the standard output.
const STDOUT: &str = "-";

/// A request that is over.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// When its head was here.
    #[serde(serialize_with = "to_a_millisecond")]
    pub(super) time: Timestamp,
    pub(super) id: Option<String>,
    pub(super) client: String,
    pub(super) method: &'a str,
    /// Without its query, in which there may be anything.
    pub(super) path: &'a str,
    pub(super) status: Option<u16>,
    pub(super) instance: Option<&'a str>,
    /// Who has read the prompt for that one; only where it was to be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefill: Option<&'a str>,
    pub(super) attempts: u32,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// For a backend that was ready and had room; nothing where it did not have to wait.
    pub(super) queued_ms: Option<f64>,
    /// To the first byte of the answer's body.
    pub(super) first_byte_ms: Option<f64>,
    pub(super) total_ms: f64,
    pub(super) outcome: &'static str,
    pub(super) error: Option<&'static str>,
}

fn to_a_millisecond<S: serde::Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(&format_args!("{time:.3}"))
}

/// A file that lines are written to, for as long as this lives.
#[derive(Debug)]
pub(super) struct AccessLog {
    name: String,
    writer: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Open the file anew: the old one was moved away.
    Reopen,
    /// Say when all is written.
    Flush(SyncSender<()>),
}

impl AccessLog {
    /// Opens a file to go on in, or the standard output where it is called `-`.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let sink = Sink::open(name)?;
        let (writer, lines) = sync_channel(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let writing = Writing {
            name: name.to_owned(),
            sink,
            lost: Arc::clone(&lost),
            told: 0,
            told_at: None,
        };
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writing.run(&lines))?;
        Ok(Self {
            name: name.to_owned(),
            writer,
            lost,
        })
    }

    /// Whether it can be opened.
    pub(super) fn check(name: &str) -> io::Result<()> {
        Sink::open(name).map(drop)
    }

    /// What it was opened by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has a line written, or loses it.
    pub(super) fn write(&self, line: &Line<'_>) {
        let Ok(mut bytes) = serde_json::to_vec(line) else {
            return;
        };
        bytes.push(b'\n');
        if self.writer.try_send(Message::Line(bytes)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the file opened anew.
    pub(super) fn reopen(&self) {
        if self.writer.try_send(Message::Reopen).is_err() {
            tracing::warn!(log = self.name, "too busy to be opened anew: ask again");
        }
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits a while until all that it has is written.
    pub(super) async fn finish(self: Arc<Self>) {
        let waiting = tokio::task::spawn_blocking(move || {
            let (done, is_done) = sync_channel(1);
            if self.writer.try_send(Message::Flush(done)).is_ok() {
                let _ = is_done.recv_timeout(LAST_LINES);
            }
        });
        let _ = waiting.await;
    }
}

/// The thread that writes.
struct Writing {
    name: String,
    sink: Sink,
    lost: Arc<AtomicU64>,
    /// As many lost lines were told of, and when.
    told: u64,
    told_at: Option<Instant>,
}

impl Writing {
    fn run(mut self, lines: &Receiver<Message>) {
        while let Ok(first) = lines.recv() {
            self.take(first);
            loop {
                match lines.try_recv() {
                    Ok(next) => self.take(next),
                    // Nothing more comes at once: what is there may be read.
                    Err(TryRecvError::Empty) => break self.flush(),
                    Err(TryRecvError::Disconnected) => return self.flush(),
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(bytes) => {
                if let Err(error) = self.sink.0.write_all(&bytes) {
                    self.lose(&error);
                }
            }
            Message::Reopen => {
                self.flush();
                match Sink::open(&self.name) {
                    Ok(sink) => self.sink = sink,
                    Err(error) => self.lose(&error),
                }
            }
            Message::Flush(done) => {
                self.flush();
                let _ = done.send(());
            }
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.sink.0.flush() {
            self.lose(&error);
        }
        let lost = self.lost.load(Ordering::Relaxed);
        let is_quiet = self.told_at.is_none_or(|at| at.elapsed() >= AGAIN);
        if lost > self.told && is_quiet {
            let (lines, log) = (lost - self.told, &self.name);
            tracing::warn!(lines, log, "lines of the access log were lost");
            self.told = lost;
            self.told_at = Some(Instant::now());
        }
    }

    fn lose(&mut self, error: &io::Error) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, log = self.name, "the access log cannot be written");
    }
}

/// Where the lines go.
struct Sink(BufWriter<Box<dyn Write + Send>>);

impl Sink {
    fn open(name: &str) -> io::Result<Self> {
        let to: Box<dyn Write + Send> = if name == STDOUT {
            Box::new(log::standard_output())
        } else {
            Box::new(append(Path::new(name))?)
        };
        Ok(Self(BufWriter::with_capacity(64 * 1024, to)))
    }
}

fn append(path: &Path) -> io::Result<File> {
    // Who asked what and when is nobody else's; of a file that is there, whoever made it has decided.
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path)
}
