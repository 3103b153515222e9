//! What is seen of a process that is coming up: whether it lives and works, and who listens on its
//! port.

use crate::node::{Command, quote_path};
use crate::plan::effect::WaitReady;

/// The script that watches a process.
pub(super) fn command(ready: &WaitReady) -> Command {
    let script = format!(
        "r_log={}\n{}{}",
        quote_path(&ready.log),
        include_str!("../script/processes.sh"),
        include_str!("../script/watch.sh")
    );
    Command::script(script)
        .with("r_mark", &ready.mark)
        .with("r_port", &ready.probe.port.to_string())
}

/// What the script said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// Nothing yet, or nobody listens.
    Quiet,
    /// One socket listens, and a process of ours holds it.
    Listening,
    /// The process is dead.
    Dead {
        /// Whether the kernel has killed something meanwhile because memory ran out.
        out_of_memory: bool,
    },
    /// There is no such process.
    Gone,
}

/// One reading of a line of the script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The process has this id.
    Leader(u32),
    /// It stands so.
    State(ProcessState),
    /// Whether its session does nothing, for some seconds already.
    Idle(bool),
    /// Somebody else is on its port, in words.
    Intruder(String),
}

/// Reads a line of the script. A process that is to be taken over from is nobody.
pub(super) fn read(line: &str, port: u16, predecessor: Option<u32>) -> Option<Reading> {
    let mut words = line.split(' ');
    match words.next()? {
        "leader" => Some(Reading::Leader(words.next()?.parse().ok()?)),
        "idle" => Some(Reading::Idle(true)),
        "busy" => Some(Reading::Idle(false)),
        "dead" => Some(Reading::State(ProcessState::Dead {
            out_of_memory: words.next().is_some(),
        })),
        "gone" => Some(Reading::State(ProcessState::Gone)),
        "port" => {
            let is_predecessor = |word: &&str| {
                let pid = word.split('/').nth(1).and_then(|pid| pid.parse().ok());
                word.starts_with("other/") && pid.is_some() && pid == predecessor
            };
            let words = words.filter(|word| !is_predecessor(word));
            let holders: Vec<_> = words.map(holder).collect();
            Some(match &holders[..] {
                [] => Reading::State(ProcessState::Quiet),
                [Ok(())] => Reading::State(ProcessState::Listening),
                [Err(other)] => {
                    Reading::Intruder(format!("port {port} is held by {other}, which is not ours"))
                }
                all => Reading::Intruder(crowd(port, all)),
            })
        }
        _ => None,
    }
}

/// Reads `ours/PID` or `other/PID/UID/NAME`: who the other one is, in words.
fn holder(word: &str) -> Result<(), String> {
    let parts: Vec<_> = word.splitn(4, '/').collect();
    match parts[..] {
        ["ours", _] => Ok(()),
        ["other", "-", uid, _] => Err(format!(
            "a process of user {uid} that cannot be looked into"
        )),
        ["other", pid, uid, name] => Err(format!("pid {pid} ({name}, user {uid})")),
        _ => Err("an unknown process".to_owned()),
    }
}

fn crowd(port: u16, holders: &[Result<(), String>]) -> String {
    let others: Vec<_> = holders
        .iter()
        .filter_map(|holder| holder.as_ref().err().cloned())
        .collect();
    if others.is_empty() {
        return format!(
            "{} sockets of its own listen on port {port}: requests would go to either",
            holders.len()
        );
    }
    format!(
        "port {port} is shared with {}: requests would go to either",
        others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_read_for_what_it_means() {
        let dead = |out_of_memory| Some(Reading::State(ProcessState::Dead { out_of_memory }));
        let intruder = |words: &str| Some(Reading::Intruder(words.to_owned()));
        let cases = [
            ("leader 42", Some(Reading::Leader(42))),
            ("port", Some(Reading::State(ProcessState::Quiet))),
            (
                "port ours/42",
                Some(Reading::State(ProcessState::Listening)),
            ),
            ("dead", dead(false)),
            ("dead out-of-memory", dead(true)),
            ("gone", Some(Reading::State(ProcessState::Gone))),
            ("idle", Some(Reading::Idle(true))),
            ("busy", Some(Reading::Idle(false))),
            ("", None),
            (
                "port other/7/1000/python3",
                intruder("port 80 is held by pid 7 (python3, user 1000), which is not ours"),
            ),
            (
                "port ours/42 other/-/0/?",
                intruder(
                    "port 80 is shared with a process of user 0 that cannot be looked into: requests would go to either",
                ),
            ),
            (
                "port ours/42 ours/43",
                intruder("2 sockets of its own listen on port 80: requests would go to either"),
            ),
        ];
        for (line, want) in cases {
            assert_eq!(read(line, 80, None), want, "{line}");
        }
        let beside = |line| read(line, 80, Some(7));
        let before = beside("port other/7/1000/replica");
        assert_eq!(before, Some(Reading::State(ProcessState::Quiet)));
        let after = beside("port ours/42");
        assert_eq!(after, Some(Reading::State(ProcessState::Listening)));
        assert!(matches!(
            beside("port other/8/1000/replica"),
            Some(Reading::Intruder(_))
        ));
    }
}
