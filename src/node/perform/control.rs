//! Saying something to a running process of ours, through its control socket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::node::{Command, Line, Node, quote, quote_path};
use crate::plan::effect::ProxyControl;
use crate::plan::{Count, Failure, Part, Phase};
use crate::proxy::control::{Reply, Status};

use super::OnPhase;

/// The name of the socket in its folder. It is spoken to from there: a socket's path may not be
/// longer than 107 bytes.
const SOCKET: &str = "proxy.sock";

/// Tells the proxy whose socket is in a folder, and waits until it is done.
///
/// # Errors
///
/// When it refuses, cannot be spoken to, or takes longer than it may.
pub async fn control(
    node: &Node,
    control: &ProxyControl,
    progress: OnPhase<'_>,
) -> Result<Status, Failure> {
    let command = command(control)?;
    let waits_for = Mutex::new(None);
    let heard = |waiting: Waiting| {
        progress(waiting.phase());
        *waits_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
    };
    let telling = converse(node, &command, &heard);
    let Some(limit) = control.timeout else {
        return telling.await;
    };
    if let Ok(told) = tokio::time::timeout(limit, telling).await {
        return told;
    }
    let waits_for = waits_for
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Err(not_done(limit, waits_for))
}

/// What hears for what the proxy waits.
type OnWaiting<'a> = &'a (dyn Fn(Waiting) + Send + Sync);

/// What the proxy says that it waits for.
struct Waiting {
    what: String,
    in_flight: u64,
}

impl Waiting {
    fn phase(&self) -> Phase {
        Phase::new("waiting").at(Part {
            name: self.what.clone(),
            count: (self.in_flight > 0).then_some(Count::InFlight(self.in_flight)),
        })
    }
}

fn not_done(limit: Duration, waits_for: Option<Waiting>) -> Failure {
    let within = format!("the proxy was not done within {:.0} s", limit.as_secs_f64());
    let Some(Waiting { what, in_flight }) = waits_for else {
        return Failure::new(within);
    };
    let failure = Failure::new(format!("{within}: {what}"));
    if in_flight == 0 {
        return failure;
    }
    failure.hinted(
        "no request was cut off, and what was to be drained serves on; apply again when they have \
         ended, or give them longer (`drain` of the proxy's `timeouts`)",
    )
}

fn command(control: &ProxyControl) -> Result<Command, Failure> {
    let request = serde_json::to_string(&control.request)
        .map_err(|error| Failure::new(format!("the request cannot be written: {error}")))?;
    Ok(Command::script(format!(
        "cd -- {} || exit\nr_request={}\nset -- {} proxy-control {SOCKET}\n{}",
        quote_path(&control.folder),
        quote(&request),
        quote_path(&control.program),
        include_str!("../script/control.sh")
    )))
}

async fn converse(node: &Node, command: &Command, heard: OnWaiting<'_>) -> Result<Status, Failure> {
    let (sender, mut lines) = mpsc::channel(16);
    let listening = async {
        let mut talk = Vec::new();
        while let Some(line) = lines.recv().await {
            if let Some(verdict) = hear(line, &mut talk, heard) {
                return Ok(verdict);
            }
        }
        Err(talk)
    };
    let streaming = node.stream(command, sender);
    tokio::pin!(listening, streaming);
    let (status, said) = tokio::select! {
        said = &mut listening => (None, said),
        status = &mut streaming => (Some(status), listening.await),
    };
    let talk = match said {
        Ok(verdict) => return verdict,
        Err(talk) => talk,
    };
    let status = match status {
        Some(status) => status?,
        None => streaming.await?,
    };
    Err(Failure::new(format!("the proxy gave no answer ({status})")).logged(talk))
}

/// Reads one line of the answer, and returns the last word if it is that.
fn hear(
    line: Line,
    talk: &mut Vec<String>,
    heard: OnWaiting<'_>,
) -> Option<Result<Status, Failure>> {
    let line = match line {
        Line::Out(line) => line,
        Line::Err(line) => {
            talk.push(line);
            return None;
        }
    };
    match serde_json::from_str(&line) {
        Ok(Reply::Waiting { what, in_flight }) => {
            heard(Waiting { what, in_flight });
            None
        }
        Ok(Reply::Done(status)) => Some(Ok(*status)),
        Ok(Reply::Refused { message }) => {
            Some(Err(Failure::new(format!("the proxy refuses: {message}"))))
        }
        Err(_) => {
            talk.push(line);
            None
        }
    }
}
