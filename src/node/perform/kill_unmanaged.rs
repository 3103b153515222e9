//! Ending what somebody else started and the manifest does not want: by pid, start and boot.

use crate::node::{Command, Node};
use crate::plan::Failure;
use crate::plan::effect::KillUnmanaged;

use super::OnPhase;
use super::account::{Stopped, follow};

/// Ends these processes and what they have started.
///
/// Done means seen: none of them lives, and the sockets on which they listened are closed. What
/// carries a mark by now is spared, and so is what is another user's.
///
/// # Errors
///
/// When one of them is to be spared, when one survives SIGKILL, or when something else holds one of
/// their sockets.
pub async fn kill_unmanaged(
    node: &Node,
    end: &KillUnmanaged,
    progress: OnPhase<'_>,
) -> Result<Stopped, Failure> {
    follow(node, &command(end), &end.address, progress).await
}

fn command(end: &KillUnmanaged) -> Command {
    let processes: Vec<_> = end
        .processes
        .iter()
        .map(|(pid, start)| format!("{pid}:{start}"))
        .collect();
    let ports: Vec<_> = end.ports.iter().map(u16::to_string).collect();
    let script = concat!(
        include_str!("../script/processes.sh"),
        include_str!("../script/ending.sh"),
        include_str!("../script/kill_unmanaged.sh")
    );
    Command::script(script)
        .with("r_boot", &end.boot_id)
        .with("r_processes", &processes.join(" "))
        .with("r_ports", &ports.join(" "))
        .with("r_ticks", &end.grace.as_millis().div_ceil(200).to_string())
}
