//! Waiting until what was started serves, and is what was started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::node::{Check, Command, HttpRequest, Line, Node, Ready, quote_path};
use crate::plan::Failure;

use super::Progress;
use super::log::Tail;
use super::start::missing;
use super::watch::{self, Seen, Sight};

/// A process that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyIn {
    /// Its process id.
    pub pid: u32,
    /// How long it was waited for.
    pub took: Duration,
}

/// Waits until a process is believed to serve: one socket listens on its port, it belongs to the
/// session that carries the mark, and every check is answered as it should be, in order.
///
/// # Errors
///
/// At once when the process dies, with the cause that its log names; when anybody else listens on
/// its port; and when its log has stood still for longer than the patience.
pub async fn ready(node: &Node, ready: &Ready, progress: Progress<'_>) -> Result<ReadyIn, Failure> {
    let believed = believe(node, ready, progress).await?;
    // Who looks later sees that it listens, and could not tell that it never yielded a token.
    let record = format!(": >{}", quote_path(&ready.record()));
    let recorded = node.run(&Command::script(record)).await?;
    if recorded.status.success() {
        return Ok(believed);
    }
    Err(Failure::new(format!(
        "it serves, which could not be noted on the node: {}",
        recorded.complaint()
    )))
}

async fn believe(node: &Node, ready: &Ready, progress: Progress<'_>) -> Result<ReadyIn, Failure> {
    let began = Instant::now();
    let requests = requests(ready)?;
    let trouble = Mutex::new(format!("nothing listens on port {}", ready.port));
    let asking = ask(node, ready, &requests, progress, &trouble);
    let (sender, mut lines) = mpsc::channel(256);
    let command = watch::command(ready);
    let watching = node.stream(&command, sender);
    tokio::pin!(asking, watching);
    let mut sight = Watched {
        seen: Seen::Quiet,
        pid: 0,
        tail: Tail::new(ready.read_log),
        deadline: began + ready.patience,
    };
    let mut watched = None;
    loop {
        tokio::select! {
            // The order matters: an answer counts only when nothing else was seen before it.
            biased;
            line = lines.recv() => match line {
                Some(line) => sight.take(line, ready, progress)?,
                None => return Err(sight.end(ready, watched)),
            },
            ended = &mut watching, if watched.is_none() => watched = Some(ended),
            () = &mut asking, if sight.seen == Seen::Listening => {
                return Ok(ReadyIn { pid: sight.pid, took: began.elapsed() });
            }
            () = sleep_until(sight.deadline) => {
                let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(sight.tail.failure(format!(
                    "it is not ready, and its log has stood still for {:.0} s: {trouble}",
                    ready.patience.as_secs_f64()
                )));
            }
        }
    }
}

/// What has been seen so far.
struct Watched {
    seen: Seen,
    pid: u32,
    tail: Tail,
    deadline: Instant,
}

impl Watched {
    fn take(&mut self, line: Line, ready: &Ready, progress: Progress<'_>) -> Result<(), Failure> {
        match line {
            Line::Err(line) => {
                self.deadline = Instant::now() + ready.patience;
                if let Some(phase) = self.tail.take(&line) {
                    progress("loading", &phase);
                }
            }
            Line::Out(line) => match watch::read(&line, ready.port) {
                Some(Sight::Leader(pid)) => self.pid = pid,
                Some(Sight::Seen(seen)) => self.seen = seen,
                Some(Sight::Intruder(words)) => return Err(Failure::new(words)),
                None => {}
            },
        }
        Ok(())
    }

    /// Returns why the watch is over.
    fn end(
        self,
        ready: &Ready,
        watched: Option<Result<crate::node::ExitStatus, crate::node::NodeError>>,
    ) -> Failure {
        match (self.seen, watched) {
            (Seen::Dead, _) => {
                let pid = self.pid;
                self.tail
                    .failure(format!("it died before it was ready (pid {pid})"))
            }
            (Seen::Gone, _) => self.tail.failure(format!(
                "no process of `{}` is running any more",
                ready.address
            )),
            (_, Some(Err(error))) => error.into(),
            (_, Some(Ok(status))) => Failure::new(format!("the watch over it ended: {status}")),
            (_, None) => Failure::new("the watch over it ended"),
        }
    }
}

/// Asks every check in its order until each was answered as it should be.
async fn ask(
    node: &Node,
    ready: &Ready,
    requests: &[HttpRequest],
    progress: Progress<'_>,
    trouble: &Mutex<String>,
) {
    for (check, request) in ready.checks.iter().zip(requests) {
        progress("checking", check.shows);
        let mut pause = Duration::from_millis(50);
        while let Err(reason) = ask_once(node, ready, check, request).await {
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                format!("{}: {reason}", check.shows);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

async fn ask_once(
    node: &Node,
    ready: &Ready,
    check: &Check,
    request: &HttpRequest,
) -> Result<(), String> {
    let answer = node
        .http(&ready.host, ready.port, request, ready.patience)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!(
            "status {}: {}",
            answer.status,
            beginning(&answer.text())
        ));
    }
    match &check.contains {
        Some(text) if !answer.text().contains(text.as_str()) => Err(format!(
            "the answer lacks `{text}`: {}",
            beginning(&answer.text())
        )),
        _ => Ok(()),
    }
}

/// Returns as much of a text as fits a line.
fn beginning(text: &str) -> String {
    let line: String = text.trim().chars().take(200).collect();
    line.replace('\n', " ")
}

fn requests(ready: &Ready) -> Result<Vec<HttpRequest>, Failure> {
    ready.checks.iter().map(request).collect()
}

fn request(check: &Check) -> Result<HttpRequest, Failure> {
    let request = match &check.body {
        Some(body) => HttpRequest::post(&check.path, body),
        None => HttpRequest::get(&check.path),
    };
    match &check.api_key_env {
        Some(source) => {
            let key = std::env::var(source).map_err(|_| missing(check.shows, source))?;
            Ok(request.header("authorization", format!("Bearer {key}")))
        }
        None => Ok(request),
    }
}
