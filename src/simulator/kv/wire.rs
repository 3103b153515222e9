//! What two simulated engines say to each other over a side channel: a line of JSON each. vLLM's own
//! is a message over ZeroMQ, and then RDMA; nobody else listens to either.

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::simulator::prefix_cache::BlockId;

/// The longest line: the blocks of a prompt of a million tokens are less.
const LONGEST: u64 = 16 << 20;

/// What the engine that pulls says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// Who are you?
    Who,
    /// What is in these blocks, up to these places?
    Read {
        engine: String,
        places: Vec<(BlockId, usize)>,
    },
    /// I have what I wanted of this request.
    Done { engine: String, request: String },
}

/// What the other says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// I am this engine.
    Me(Identity),
    /// This is in them.
    Traces(Vec<u64>),
    /// I know.
    Noted,
    /// That engine is not here.
    Another,
}

/// What must be known of an engine before anything is fetched from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) engine: String,
    /// Differs between engines whose blocks do not fit.
    pub(super) compatibility: String,
    pub(super) block_size: usize,
}

/// A connection between two engines.
pub(super) struct Line(BufReader<TcpStream>);

impl Line {
    pub(super) fn over(stream: TcpStream) -> Self {
        // Each line is waited for.
        let _ = stream.set_nodelay(true);
        Self(BufReader::new(stream))
    }

    /// Connects.
    pub(super) async fn open(host: &str, port: u16) -> std::io::Result<Self> {
        TcpStream::connect((host, port)).await.map(Self::over)
    }

    /// Says something.
    pub(super) async fn say(&mut self, what: &impl Serialize) -> std::io::Result<()> {
        let line = format!("{}\n", serde_json::to_string(what)?);
        self.0.get_mut().write_all(line.as_bytes()).await
    }

    /// Hears something; an error when the other has gone.
    pub(super) async fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> std::io::Result<T> {
        let mut line = String::new();
        (&mut self.0).take(LONGEST).read_line(&mut line).await?;
        serde_json::from_str(&line).map_err(|error| match error.classify() {
            Category::Eof => std::io::ErrorKind::UnexpectedEof.into(),
            _ => error.into(),
        })
    }

    /// Asks something.
    pub(super) async fn ask(&mut self, question: &Question) -> std::io::Result<Reply> {
        self.say(question).await?;
        self.hear().await
    }
}
