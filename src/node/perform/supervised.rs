//! A command that runs for long, watched for signs of life.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::logs::Grammar;
use crate::node::{Command, Line, Node};
use crate::plan::{Failure, Phase};

use super::OnPhase;
use super::log::Tail;

/// What is watched for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Supervised<'a> {
    /// What is being done, in one word.
    pub(super) doing: &'a str,
    /// How long it may write nothing before it counts as stalled.
    pub(super) patience: Duration,
    /// Reads one line: a part to show, what it came to, or the cause, should it fail.
    pub(super) read: Grammar,
}

/// How it ended.
pub(super) enum ScriptEnd {
    /// With what it says that it came to; it may say nothing.
    Done(String),
    Failed(Failure),
    Stalled(Failure),
}

impl Supervised<'_> {
    /// Runs a command to its end, or until it is silent for too long: then it is ended, with all
    /// that it started.
    pub(super) async fn run(
        self,
        node: &Node,
        command: &Command,
        progress: OnPhase<'_>,
    ) -> Result<ScriptEnd, Failure> {
        let (sender, mut lines) = mpsc::channel(256);
        let mut tail = Tail::new(self.read);
        let mut deadline = Instant::now() + self.patience;
        let running = node.stream(command, sender);
        tokio::pin!(running);
        let (mut status, mut count) = (None, None);
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    Some(Line::Out(line) | Line::Err(line)) => {
                        deadline = Instant::now() + self.patience;
                        if let Some(mut part) = tail.take(&line) {
                            // How much has come is told now and then, and holds until it is more.
                            count = part.count.or(count);
                            part.count = count;
                            progress(Phase::new(self.doing).at(part));
                        }
                    }
                    None => break,
                },
                ended = &mut running, if status.is_none() => status = Some(ended?),
                // To leave is to end it: nobody takes its lines any more.
                () = sleep_until(deadline) => {
                    return Ok(ScriptEnd::Stalled(tail.failure(format!(
                        "{} stalled: nothing was heard of it for {:.0} s",
                        self.doing,
                        self.patience.as_secs_f64()
                    ))));
                }
            }
        }
        let status = match status {
            Some(status) => status,
            None => running.await?,
        };
        Ok(if status.success() {
            ScriptEnd::Done(tail.outcome())
        } else {
            ScriptEnd::Failed(tail.failure(format!("{} failed: {status}", self.doing)))
        })
    }
}
