//! Saying something to a running process of ours, through its control socket.

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
    let telling = converse(node, &command, progress);
    match control.timeout {
        None => telling.await,
        Some(limit) => tokio::time::timeout(limit, telling)
            .await
            .unwrap_or_else(|_| {
                Err(Failure::new(format!(
                    "the proxy was not done within {:.0} s",
                    limit.as_secs_f64()
                )))
            }),
    }
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

async fn converse(
    node: &Node,
    command: &Command,
    progress: OnPhase<'_>,
) -> Result<Status, Failure> {
    let (sender, mut lines) = mpsc::channel(16);
    let listening = async {
        let mut talk = Vec::new();
        while let Some(line) = lines.recv().await {
            if let Some(verdict) = hear(line, &mut talk, progress) {
                return Ok(verdict);
            }
        }
        Err(talk)
    };
    let streaming = node.stream(command, sender);
    tokio::pin!(listening, streaming);
    let (status, heard) = tokio::select! {
        heard = &mut listening => (None, heard),
        status = &mut streaming => (Some(status), listening.await),
    };
    let talk = match heard {
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
    progress: OnPhase<'_>,
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
            progress(Phase::new("waiting").at(Part {
                name: what,
                count: (in_flight > 0).then_some(Count::InFlight(in_flight)),
            }));
            None
        }
        Ok(Reply::Done(status)) => Some(Ok(status)),
        Ok(Reply::Refused { message }) => {
            Some(Err(Failure::new(format!("the proxy refuses: {message}"))))
        }
        Err(_) => {
            talk.push(line);
            None
        }
    }
}
