//! The sending part on a node: one line says what is to be sent, and lines say what comes of it.
//!
//! Whoever gives the order shows life by a line every [`BEAT`], gives the word to begin by the line
//! [`BEGIN`], and asks for an early end by the line [`STOP`]. When its end of the input closes, or
//! nothing was heard of it for [`SILENCE`], all ends at
//! once: no load is sent for somebody who is gone. Both ends are the same binary, so that the form of
//! the lines is nobody else's.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, Lines};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::send::{Errand, Sent, Teller, Told, send, telling};
use crate::plan::Failure;

/// How often whoever gave the order shows life.
pub const BEAT: Duration = Duration::from_secs(3);

/// How long nothing may be heard of it.
pub const SILENCE: Duration = Duration::from_secs(25);

/// The line that gives the word to begin.
const BEGIN: &str = "begin";

/// The line that asks for an early end.
const STOP: &str = "stop";

/// What a node is told to send. It travels on a standard input, and nowhere else: keys are in it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Order {
    errand: Errand,
    /// The API keys, by the addresses that they are shown to.
    keys: BTreeMap<String, String>,
}

/// What a node says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// On the way.
    Told(Told),
    /// At last: what came of it.
    Sent(Box<Sent>),
    /// At last: why nothing did.
    Failed(Failure),
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Order");
        shown.field("errand", &self.errand).finish_non_exhaustive()
    }
}

impl Order {
    /// An order to run an errand, with the keys that are needed for it.
    pub fn new(errand: Errand, keys: BTreeMap<String, String>) -> Self {
        Self { errand, keys }
    }

    /// Sends from this machine what it says.
    ///
    /// # Errors
    ///
    /// As [`send`].
    pub async fn carry_out(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        told: Teller,
    ) -> Result<Sent, Failure> {
        send(self.errand, &self.keys, stop, told).await
    }

    /// It as a line, with its end.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON, which cannot be.
    pub fn line(&self) -> Result<String, Failure> {
        let line = serde_json::to_string(self).map_err(|error| Failure::bug(error.to_string()))?;
        Ok(line + "\n")
    }

    /// The line that shows life.
    pub fn beat() -> &'static str {
        "\n"
    }

    /// The line that gives the word to begin.
    pub fn begin() -> String {
        format!("{BEGIN}\n")
    }

    /// The line that asks for an early end.
    pub fn stop() -> String {
        format!("{STOP}\n")
    }
}

impl Said {
    /// Reads a line; nothing where it is none of these.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("what is said is JSON");
        line.push(b'\n');
        line
    }
}

/// Does what one line of the input orders, and says what comes of it. Returns whether all was said: not
/// where whoever ordered it is gone.
pub async fn serve(
    input: impl AsyncBufRead + Unpin + Send,
    mut output: impl AsyncWrite + Unpin + Send,
) -> bool {
    let mut lines = input.lines();
    let Ok(Some(line)) = lines.next_line().await else {
        return false;
    };
    let (stop, stopped) = oneshot::channel();
    let (begin, begun) = oneshot::channel();
    let wishes = Wishes {
        begin: Some(begin),
        stop: Some(stop),
    };
    tokio::select! {
        is_said = obey(&line, (begun, stopped), &mut output) => is_said,
        () = gone(&mut lines, wishes) => false,
    }
}

/// What whoever gave the order may wish for, each once.
struct Wishes {
    begin: Option<oneshot::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// Returns once whoever gave the order is gone; passes its wishes on.
async fn gone(lines: &mut Lines<impl AsyncBufRead + Unpin>, mut wishes: Wishes) {
    while let Ok(Ok(Some(line))) = timeout(SILENCE, lines.next_line()).await {
        let wished = match line.as_str() {
            BEGIN => wishes.begin.take(),
            STOP => wishes.stop.take(),
            _ => None,
        };
        if let Some(wished) = wished {
            let _ = wished.send(());
        }
    }
}

async fn obey(
    line: &str,
    (begun, stopped): (oneshot::Receiver<()>, oneshot::Receiver<()>),
    output: &mut (impl AsyncWrite + Unpin),
) -> bool {
    let Ok(order) = serde_json::from_str::<Order>(line) else {
        // Why not is not repeated: what stands there may be a key.
        let failure = Failure::bug("the load generator cannot read what it is to send");
        return say(output, &Said::Failed(failure)).await;
    };
    let (teller, mut hearer) = telling();
    let order = Order {
        errand: order.errand.unpacked(),
        ..order
    };
    let mut sending = pin!(order.carry_out(wished(stopped), teller));
    let mut begun = pin!(wished(begun));
    let mut has_begun = false;
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            Some(it) = hearer.hear() => if !say(output, &Said::Told(it)).await {
                return false;
            },
            () = &mut begun, if !has_begun => {
                has_begun = true;
                hearer.begin();
            }
        }
    };
    while let Some(it) = hearer.heard() {
        if !say(output, &Said::Told(it)).await {
            return false;
        }
    }
    let last = match sent {
        Ok(sent) => Said::Sent(Box::new(sent)),
        Err(failure) => Said::Failed(failure),
    };
    say(output, &last).await
}

/// Comes where it is wished for.
async fn wished(wish: oneshot::Receiver<()>) {
    if wish.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Says something, and returns whether somebody took it.
async fn say(output: &mut (impl AsyncWrite + Unpin), said: &Said) -> bool {
    let line = said.line();
    output.write_all(&line).await.is_ok() && output.flush().await.is_ok()
}
