//! What is said while processes come to their end, and what that comes to.

use tokio::sync::mpsc;

use crate::node::{Command, Line, Node};
use crate::plan::{Address, Count, Failure, Phase};

use super::OnPhase;

/// What was ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Every process that was found, in the order it was; none where nothing ran.
    pub ended: Vec<EndedProcess>,
}

impl Stopped {
    /// How many had to be killed: they did not end by themselves within the grace.
    pub fn killed(&self) -> usize {
        self.ended.iter().filter(|process| process.killed).count()
    }
}

/// One process that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedProcess {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the kernel knows it.
    pub command: String,
    /// Whether it took SIGKILL.
    pub killed: bool,
}

/// Runs a script that ends processes, and hears what it says of them.
pub(super) async fn follow(
    node: &Node,
    command: &Command,
    address: &Address,
    progress: OnPhase<'_>,
) -> Result<Stopped, Failure> {
    let (sender, mut lines) = mpsc::channel(64);
    let mut log = StopLog::default();
    let heard = async {
        while let Some(line) = lines.recv().await {
            log.hear(line, progress);
        }
    };
    let (status, ()) = tokio::join!(node.stream(command, sender), heard);
    let status = status?;
    log.verdict(address, &status.to_string())
}

/// What a script has said so far.
#[derive(Debug, Default)]
struct StopLog {
    stopped: Stopped,
    spared: Vec<String>,
    stuck: Vec<String>,
    taken: Vec<String>,
    complaint: Option<String>,
    done: bool,
}

impl StopLog {
    fn hear(&mut self, line: Line, progress: OnPhase<'_>) {
        let line = match line {
            Line::Out(line) => line,
            Line::Err(line) => {
                self.complaint = Some(line);
                return;
            }
        };
        let words: Vec<_> = line.split('\t').collect();
        match words[..] {
            ["ours", pid, name] => {
                progress(Phase::new("stopping").at(format!("pid {pid} ({name})")));
                self.stopped.ended.push(EndedProcess {
                    pid: pid.parse().unwrap_or_default(),
                    command: name.to_owned(),
                    killed: false,
                });
            }
            ["waiting", count] => progress(Phase {
                part: count
                    .parse()
                    .map(|it| Count::Running(it).into())
                    .unwrap_or_default(),
                ..Phase::new("stopping")
            }),
            ["killed", pid, name] => {
                progress(Phase::new("killing").at(format!("pid {pid} ({name})")));
                let pid: u32 = pid.parse().unwrap_or_default();
                for process in &mut self.stopped.ended {
                    process.killed |= process.pid == pid;
                }
            }
            ["spared", pid, name] => self.spared.push(format!("pid {pid} ({name})")),
            ["stuck", pid, state, name] => {
                self.stuck
                    .push(format!("pid {pid} ({name}, state {state})"));
            }
            ["taken", port, "-", uid, _] => self.taken.push(format!(
                "port {port} is held by a process of user {uid} that cannot be looked into"
            )),
            ["taken", port, pid, uid, name] => self.taken.push(format!(
                "port {port} is held by pid {pid} ({name}, user {uid}), which is not ours"
            )),
            ["done"] => self.done = true,
            _ => {}
        }
    }

    fn verdict(self, address: &Address, status: &str) -> Result<Stopped, Failure> {
        if !self.stuck.is_empty() {
            return Err(Failure::new(format!(
                "{} survived SIGKILL: the machine needs a reboot",
                self.stuck.join(", ")
            ))
            .hinted("a process that hangs in a driver cannot be ended in any other way"));
        }
        if !self.spared.is_empty() {
            return Err(Failure::new(format!(
                "{} is left alone: it carries a mark of replica, or is not this user's",
                self.spared.join(", ")
            ))
            .hinted("run the same again: it looks at the node anew before it does anything"));
        }
        if !self.taken.is_empty() {
            return Err(Failure::new(self.taken.join("; ")));
        }
        if !self.done {
            let said = self.complaint.as_deref().unwrap_or(status);
            return Err(Failure::new(format!("`{address}` was not stopped: {said}")));
        }
        Ok(self.stopped)
    }
}
