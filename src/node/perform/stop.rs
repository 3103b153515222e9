//! Ending a process and everything that it started, and believing it only when it was seen.

use tokio::sync::mpsc;

use crate::node::{Command, Line, Node, Stop};
use crate::plan::Failure;

use super::Progress;

/// What was ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Every process that was found, in the order it was; none where nothing ran.
    pub ended: Vec<Ended>,
}

impl Stopped {
    /// Returns how many had to be killed: they did not end by themselves within the grace.
    pub fn killed(&self) -> usize {
        self.ended.iter().filter(|process| process.killed).count()
    }
}

/// One process that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its process id.
    pub pid: u32,
    /// Its name, as the kernel knows it.
    pub command: String,
    /// Whether it took SIGKILL.
    pub killed: bool,
}

/// Ends everything whose mark begins so, with all that is in its sessions.
///
/// Done means seen: no such process lives, and nothing listens on its ports.
///
/// # Errors
///
/// When a process survives SIGKILL, or something else listens on a port that must be free.
pub async fn stop(node: &Node, stop: &Stop, progress: Progress<'_>) -> Result<Stopped, Failure> {
    let (sender, mut lines) = mpsc::channel(64);
    let command = command(stop);
    let mut account = Account::default();
    let heard = async {
        while let Some(line) = lines.recv().await {
            account.hear(line, progress);
        }
    };
    let (status, ()) = tokio::join!(node.stream(&command, sender), heard);
    let status = status?;
    account.verdict(stop, &status.to_string())
}

fn command(stop: &Stop) -> Command {
    let ports: Vec<_> = stop.ports.iter().map(u16::to_string).collect();
    let script = concat!(
        include_str!("../script/processes.sh"),
        include_str!("../script/stop.sh")
    );
    Command::script(script)
        .with("r_prefix", &stop.mark_prefix)
        .with("r_ports", &ports.join(" "))
        .with("r_ticks", &stop.grace.as_millis().div_ceil(200).to_string())
}

/// What the script has said so far.
#[derive(Debug, Default)]
struct Account {
    stopped: Stopped,
    stuck: Vec<String>,
    taken: Vec<String>,
    complaint: Option<String>,
    done: bool,
}

impl Account {
    fn hear(&mut self, line: Line, progress: Progress<'_>) {
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
                progress("stopping", &format!("pid {pid} ({name})"));
                self.stopped.ended.push(Ended {
                    pid: pid.parse().unwrap_or_default(),
                    command: name.to_owned(),
                    killed: false,
                });
            }
            ["waiting", count] => progress("stopping", &format!("{count} still running")),
            ["killed", pid, name] => {
                progress("killing", &format!("pid {pid} ({name})"));
                let pid: u32 = pid.parse().unwrap_or_default();
                for process in &mut self.stopped.ended {
                    process.killed |= process.pid == pid;
                }
            }
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

    fn verdict(self, stop: &Stop, status: &str) -> Result<Stopped, Failure> {
        if !self.stuck.is_empty() {
            return Err(Failure::new(format!(
                "{} survived SIGKILL: the machine needs a reboot",
                self.stuck.join(", ")
            ))
            .hinted("a process that hangs in a driver cannot be ended in any other way"));
        }
        if !self.taken.is_empty() {
            return Err(Failure::new(self.taken.join("; ")));
        }
        if !self.done {
            let said = self.complaint.as_deref().unwrap_or(status);
            return Err(Failure::new(format!(
                "`{}` was not stopped: {said}",
                stop.address
            )));
        }
        Ok(self.stopped)
    }
}
