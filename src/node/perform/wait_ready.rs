//! Waiting until what was started serves, and is what was started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::logs::grammar;
use crate::node::{ALLOW_FORWARDING, Command, HttpAnswer, HttpRequest, Line, Node, quote_path};
use crate::plan::effect::{Check, Probe, WaitReady};
use crate::plan::{Failure, Part, Phase, Time};

use super::OnPhase;
use super::log::Tail;
use super::secret::secret;
use super::watch::{self, ProcessState, Reading};

/// What takes less is over before anybody wonders.
const WORTH_TELLING: Duration = Duration::from_secs(5);

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
/// its port; when the node's sshd lets nobody ask; and when its log has stood still for longer than
/// the patience.
pub async fn wait_ready(
    node: &Node,
    ready: &WaitReady,
    progress: OnPhase<'_>,
) -> Result<ReadyIn, Failure> {
    let believing = believe(node, ready, progress);
    let (believed, from_before) = tokio::select! {
        true = node.forbids(&ready.probe.host, ready.probe.port) => return Err(unanswerable(node)),
        believed = believing => believed?,
    };
    let recorded = node.run(&note(ready, believed.pid, from_before)).await?;
    if recorded.status.success() {
        return Ok(believed);
    }
    Err(Failure::new(format!(
        "it serves, which could not be noted on the node: {}",
        recorded.complaint()
    )))
}

fn unanswerable(node: &Node) -> Failure {
    Failure::new(format!(
        "it cannot be asked whether it is ready: {} forbids forwarding",
        node.name()
    ))
    .hinted(ALLOW_FORWARDING)
}

/// The script that notes that it serves: who looks later sees that it listens, and could
/// not tell that it never yielded a token. How old it is says how long loading takes, where it was
/// seen before it listened.
fn note(ready: &WaitReady, pid: u32, from_before: bool) -> Command {
    let record = quote_path(&ready.record());
    // Somebody may have tidied up under it.
    let folder = format!("mkdir -p -- \"$(dirname -- {record})\"\n");
    if !from_before {
        return Command::script(format!("{folder}: >>{record}"));
    }
    let look = include_str!("../script/processes.sh");
    // Starts are told in hundredths of a second since the boot.
    Command::script(format!(
        "{look}\n{folder}r_age=\nr_stat {pid} && read -r r_up r_idle </proc/uptime &&\n\
         r_age=$((${{r_up%.*}} - r_started / 100))\nprintf '%s\\n' \"$r_age\" >{record}"
    ))
}

/// What serves, and whether it was seen before it listened.
async fn believe(
    node: &Node,
    ready: &WaitReady,
    progress: OnPhase<'_>,
) -> Result<(ReadyIn, bool), Failure> {
    let began = Instant::now();
    let requests = requests(node, ready).await?;
    let trouble = Mutex::new(format!("nothing listens on port {}", ready.probe.port));
    let asking = ask(node, ready, &requests, progress, &trouble);
    let (sender, mut lines) = mpsc::channel(256);
    let command = watch::command(ready);
    let watching = node.stream(&command, sender);
    tokio::pin!(asking, watching);
    let mut startup = Startup {
        seen: ProcessState::Quiet,
        pid: 0,
        from_before: false,
        tail: Tail::new(grammar(ready.log_reader)),
        deadline: began + ready.patience,
        part: Part::default(),
        expected: ready.expected.filter(|it| *it >= WORTH_TELLING),
        began,
    };
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut watched = None;
    loop {
        tokio::select! {
            // The order matters: an answer counts only when nothing else was seen before it.
            biased;
            line = lines.recv() => match line {
                Some(line) => startup.take(line, ready, progress)?,
                None => return Err(startup.end(ready, watched)),
            },
            ended = &mut watching, if watched.is_none() => watched = Some(ended),
            () = &mut asking, if startup.seen == ProcessState::Listening => {
                let believed = ReadyIn { pid: startup.pid, took: began.elapsed() };
                return Ok((believed, startup.from_before));
            }
            _ = second.tick(), if startup.is_estimated() => progress(startup.phase()),
            () = sleep_until(startup.deadline) => {
                let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(startup.tail.failure(format!(
                    "it is not ready, and its log has stood still for {:.0} s: {trouble}",
                    ready.patience.as_secs_f64()
                )));
            }
        }
    }
}

/// What has been seen so far.
struct Startup {
    seen: ProcessState,
    pid: u32,
    /// Whether nobody listened yet when it was looked at first.
    from_before: bool,
    tail: Tail,
    deadline: Instant,
    /// How far it is, by its log.
    part: Part,
    expected: Option<Duration>,
    began: Instant,
}

impl Startup {
    fn take(
        &mut self,
        line: Line,
        ready: &WaitReady,
        progress: OnPhase<'_>,
    ) -> Result<(), Failure> {
        match line {
            Line::Err(line) => {
                self.deadline = Instant::now() + ready.patience;
                if let Some(part) = self.tail.take(&line) {
                    self.part = part;
                    progress(self.phase());
                }
            }
            Line::Out(line) => match watch::read(&line, ready.probe.port) {
                Some(Reading::Leader(pid)) => self.pid = pid,
                Some(Reading::State(seen)) => {
                    self.from_before |= seen == ProcessState::Quiet;
                    self.seen = seen;
                }
                Some(Reading::Intruder(words)) => return Err(Failure::new(words)),
                None => {}
            },
        }
        Ok(())
    }

    /// Whether it loads and it is known how long that takes.
    fn is_estimated(&self) -> bool {
        self.expected.is_some() && self.seen == ProcessState::Quiet
    }

    fn phase(&self) -> Phase {
        Phase {
            time: self.expected.map(|expected| Time {
                elapsed: self.began.elapsed(),
                expected,
            }),
            ..Phase::new("loading").at(self.part.clone())
        }
    }

    /// Why the watch is over.
    fn end(
        self,
        ready: &WaitReady,
        watched: Option<Result<crate::node::ExitStatus, crate::node::NodeError>>,
    ) -> Failure {
        match (self.seen, watched) {
            (ProcessState::Dead, _) => {
                let pid = self.pid;
                self.tail
                    .failure(format!("it died before it was ready (pid {pid})"))
            }
            (ProcessState::Gone, _) => self.tail.failure(format!(
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
    ready: &WaitReady,
    requests: &[HttpRequest],
    progress: OnPhase<'_>,
    trouble: &Mutex<String>,
) {
    for (check, request) in ready.probe.checks.iter().zip(requests) {
        progress(Phase::new("checking").at(check.shows.as_str()));
        let mut pause = Duration::from_millis(50);
        while let Err(reason) = ask_once(node, &ready.probe, check, request, ready.patience).await {
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                format!("{}: {reason}", check.shows);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

async fn ask_once(
    node: &Node,
    probe: &Probe,
    check: &Check,
    request: &HttpRequest,
    timeout: Duration,
) -> Result<(), String> {
    let answer = node
        .http(&probe.host, probe.port, request, timeout)
        .await
        .map_err(|error| error.to_string())?;
    answered_as_it_should(check, &answer)
}

/// What is wrong with an answer, if anything is.
pub(super) fn answered_as_it_should(check: &Check, answer: &HttpAnswer) -> Result<(), String> {
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

/// As much of a text as fits a line.
fn beginning(text: &str) -> String {
    let line: String = text.trim().chars().take(200).collect();
    line.replace('\n', " ")
}

async fn requests(node: &Node, ready: &WaitReady) -> Result<Vec<HttpRequest>, Failure> {
    let mut requests = Vec::new();
    for check in &ready.probe.checks {
        requests.push(request(node, check).await?);
    }
    Ok(requests)
}

pub(super) async fn request(node: &Node, check: &Check) -> Result<HttpRequest, Failure> {
    let request = match &check.body {
        Some(body) => HttpRequest::post(&check.path, body),
        None => HttpRequest::get(&check.path),
    };
    let Some(api_key) = &check.api_key else {
        return Ok(request);
    };
    let key = secret(node, api_key, &check.shows).await?;
    Ok(request.header("authorization", format!("Bearer {key}")))
}
