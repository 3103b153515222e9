//! Ending a process and everything that it started, and believing it only when it was seen.

use std::time::Duration;

use crate::node::{Command, Node};
use crate::plan::Failure;
use crate::plan::effect::Stop;

use super::OnPhase;
use super::account::{Stopped, follow};

/// Ends everything whose mark begins so, with all that is in its sessions.
///
/// Done means seen: no such process lives, and nothing listens on its ports.
///
/// # Errors
///
/// When a process survives SIGKILL, or something else listens on a port that must be free.
pub async fn stop(node: &Node, stop: &Stop, progress: OnPhase<'_>) -> Result<Stopped, Failure> {
    follow(node, &command(stop), &stop.address, progress).await
}

/// A time in fifths of a second.
fn ticks(grace: Duration) -> String {
    grace.as_millis().div_ceil(200).to_string()
}

fn command(stop: &Stop) -> Command {
    let ports: Vec<_> = stop.ports.iter().map(u16::to_string).collect();
    let script = concat!(
        include_str!("../script/processes.sh"),
        include_str!("../script/units.sh"),
        include_str!("../script/ending.sh"),
        include_str!("../script/stop.sh")
    );
    Command::script(script)
        .with("r_prefix", &stop.mark_prefix)
        .with("r_ports", &ports.join(" "))
        .with("r_ticks", &stop.grace.map(ticks).unwrap_or_default())
}
