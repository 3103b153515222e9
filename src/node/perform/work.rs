//! Doing something that takes minutes: under a lock, watched for signs of life.

use std::fmt::Write as _;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::node::{Command, ExitStatus, Line, Node, Work, quote_path};
use crate::plan::Failure;

use super::Progress;
use super::log::Tail;
use super::start::missing;

/// Does a piece of work to its end. One that stalls is ended, with all that it started, and begun
/// anew as often as it may be.
///
/// # Errors
///
/// When a secret is missing here, when the work fails, with the cause that its output names, or
/// when it has stalled too often.
pub async fn work(node: &Node, work: &Work, progress: Progress<'_>) -> Result<(), Failure> {
    progress(work.doing, "");
    for attempt in 1..=work.attempts.max(1) {
        match try_once(node, work, attempt, progress).await? {
            Ended::Done => return Ok(()),
            Ended::Failed(failure) => return Err(failure),
            Ended::Stalled(failure) if attempt >= work.attempts => return Err(failure),
            Ended::Stalled(_) => progress(work.doing, "it stalled: once more"),
        }
    }
    Ok(())
}

/// How one attempt ended.
enum Ended {
    Done,
    Failed(Failure),
    Stalled(Failure),
}

async fn try_once(
    node: &Node,
    work: &Work,
    attempt: u32,
    progress: Progress<'_>,
) -> Result<Ended, Failure> {
    let command = command(work, attempt)?;
    let (sender, mut lines) = mpsc::channel(256);
    let mut tail = Tail::new(work.read);
    let mut deadline = Instant::now() + work.patience;
    let status = {
        let running = node.stream(&command, sender);
        tokio::pin!(running);
        let mut status = None;
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(Line::Out(line) | Line::Err(line)) => {
                        deadline = Instant::now() + work.patience;
                        if let Some(phase) = tail.take(&line) {
                            progress(work.doing, &phase);
                        }
                    }
                    None => break,
                },
                ended = &mut running, if status.is_none() => status = Some(ended?),
                // To leave is to end it: nobody takes its lines any more.
                () = sleep_until(deadline) => return Ok(Ended::Stalled(stalled(work, tail))),
            }
        }
        match status {
            Some(status) => status,
            None => running.await?,
        }
    };
    Ok(if status.success() {
        Ended::Done
    } else {
        Ended::Failed(tail.failure(failed(work, &status)))
    })
}

fn failed(work: &Work, status: &ExitStatus) -> String {
    format!("{} failed: {status}", work.doing)
}

fn stalled(work: &Work, tail: Tail) -> Failure {
    tail.failure(format!(
        "{} stalled: nothing was heard of it for {:.0} s",
        work.doing,
        work.patience.as_secs_f64()
    ))
}

fn command(work: &Work, attempt: u32) -> Result<Command, Failure> {
    let mut script = format!(
        "r_lock={}\nr_attempt={attempt}\nr_do() {{\n",
        quote_path(&work.lock)
    );
    let mut secrets = Vec::new();
    for (name, source) in &work.secrets {
        let value = std::env::var(source).map_err(|_| missing(name, source))?;
        secrets.push((name, value));
    }
    let _ = writeln!(script, "{}\n}}", work.script.trim_end());
    script.push_str(include_str!("../script/work.sh"));
    let mut command = Command::script(script);
    for (name, value) in secrets {
        command = command.with_secret(name, &value);
    }
    Ok(command)
}
