//! Waiting until what was started serves, and is what was started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::node::{ALLOW_FORWARDING, Command, HttpAnswer, HttpRequest, Node, quote_path};
use crate::plan::effect::{Check, WaitReady};
use crate::plan::{Failure, Phase};

use super::OnPhase;
use super::secret::secret;
use super::server::Server;
use super::startup::Startup;
use super::watch::{self, ProcessState};

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
/// At once when the process dies, with the cause that its log names; when it refuses a check for
/// good; when anybody else listens on its port; and when the node's sshd lets nobody ask. Later when
/// it named a cause and does nothing any more, and when its log has stood still for longer than the
/// patience.
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
/// seen before it listened; where the disk has no room for that, it goes without.
fn note(ready: &WaitReady, pid: u32, from_before: bool) -> Command {
    let record = quote_path(&ready.record());
    let again = quote_path(&ready.begun_again());
    // Somebody may have tidied up under it.
    let folder = format!(
        "umask 077; r_record={record}\nmkdir -p -- \"${{r_record%/*}}\"\nrm -f -- {again}\n"
    );
    if !from_before {
        return Command::script(format!("{folder}: >>{record}"));
    }
    let look = include_str!("../script/processes.sh");
    // Starts are told in hundredths of a second since the boot.
    Command::script(format!(
        "{look}\n{folder}r_age=\nr_stat {pid} && read -r r_up r_idle </proc/uptime &&\n\
         r_age=$((${{r_up%.*}} - r_started / 100))\nprintf '%s\\n' \"$r_age\" >{record} || : >>{record}"
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
    let mut startup = Startup::new(ready, began);
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
            answered = &mut asking, if startup.seen == ProcessState::Listening => {
                if let Err(refused) = answered {
                    return Err(refused.logged(startup.tail.lines()));
                }
                let believed = ReadyIn { pid: startup.pid, took: began.elapsed() };
                return Ok((believed, startup.from_before));
            }
            _ = second.tick(), if startup.is_estimated() => progress(startup.phase()),
            () = sleep_until(startup.deadline()) => {
                let trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                return Err(startup.stands_still(&trouble));
            }
        }
    }
}

/// Asks every check in its order until each was answered as it should be. An error is an answer that
/// will not become another.
async fn ask(
    node: &Node,
    ready: &WaitReady,
    requests: &[HttpRequest],
    progress: OnPhase<'_>,
    trouble: &Mutex<String>,
) -> Result<(), Failure> {
    let mut server = Server::new(node, &ready.probe.host, ready.probe.port);
    for (check, request) in ready.probe.checks.iter().zip(requests) {
        progress(Phase::new("checking").at(check.shows.as_str()));
        let mut pause = Duration::from_millis(50);
        while let Err(unfit) = ask_once(&mut server, check, request, ready.patience).await {
            let reason = format!("{}: {}", check.shows, unfit.reason);
            if unfit.is_final {
                let failure = Failure::new(format!("it can never be ready: {reason}"));
                return Err(Failure {
                    hint: check.refused_hint.clone(),
                    ..failure
                });
            }
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
    Ok(())
}

async fn ask_once(
    server: &mut Server<'_>,
    check: &Check,
    request: &HttpRequest,
    timeout: Duration,
) -> Result<(), Unfit> {
    let answer = server.http(request, timeout).await;
    let answer = answer.map_err(|error| Unfit {
        reason: error.to_string(),
        is_final: false,
    })?;
    answered_as_it_should(check, &answer)
}

/// What is wrong with an answer.
pub(super) struct Unfit {
    pub(super) reason: String,
    /// Whether the same request will be answered in the same way for ever.
    is_final: bool,
}

/// What is wrong with an answer, if anything is.
pub(super) fn answered_as_it_should(check: &Check, answer: &HttpAnswer) -> Result<(), Unfit> {
    let text = answer.text();
    let refused = refusal(answer);
    let reason = match &check.contains {
        _ if answer.status != 200 => format!("status {}: {}", answer.status, beginning(&text)),
        Some(_) if refused.is_some() => format!("it answers {}", beginning(&text)),
        Some(part) if !text.contains(part.as_str()) => {
            format!("the answer lacks `{part}`: {}", beginning(&text))
        }
        _ => return Ok(()),
    };
    Err(Unfit {
        reason,
        is_final: refused.is_some_and(is_for_good),
    })
}

/// The status by which a request was refused: vLLM 0.13 answers some with 200 and a body that says
/// 400.
fn refusal(answer: &HttpAnswer) -> Option<u64> {
    if answer.status != 200 {
        return Some(answer.status.into());
    }
    let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    body["error"]["code"].as_u64()
}

/// Whether a status says that the request itself is wrong, and not the moment: what serves already
/// and refuses what it should do will not do it later.
fn is_for_good(status: u64) -> bool {
    const OF_THE_MOMENT: [u64; 3] = [408, 425, 429];
    (400..500).contains(&status) && !OF_THE_MOMENT.contains(&status)
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
