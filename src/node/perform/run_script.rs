//! Doing something that takes minutes: under a lock, watched for signs of life.

use crate::logs::grammar;
use crate::node::{Command, Node, quote_path, variable};
use crate::plan::effect::RunScript;
use crate::plan::{Failure, Phase};

use super::OnPhase;
use super::secret::missing;
use super::supervised::{ScriptEnd, Supervised};

/// Does a piece of work to its end, and returns what it says that it came to. One that stalls is
/// ended, with all that it started, and begun anew as often as it may be.
///
/// # Errors
///
/// When a secret is missing here, when the work fails, with the cause that its output names, or
/// when it has stalled too often.
pub async fn run_script(
    node: &Node,
    work: &RunScript,
    progress: OnPhase<'_>,
) -> Result<String, Failure> {
    progress(Phase::new(&work.doing));
    let mut attempt = 1;
    loop {
        match try_once(node, work, attempt, progress).await? {
            ScriptEnd::Done(outcome) => return Ok(outcome),
            ScriptEnd::Failed(failure) => return Err(failure),
            ScriptEnd::Stalled(failure) if attempt >= work.attempts => return Err(failure),
            ScriptEnd::Stalled(_) => {
                progress(Phase::new(&work.doing).at("it stalled: once more"));
            }
        }
        attempt += 1;
    }
}

async fn try_once(
    node: &Node,
    work: &RunScript,
    attempt: u32,
    progress: OnPhase<'_>,
) -> Result<ScriptEnd, Failure> {
    let watched = Supervised {
        doing: &work.doing,
        patience: work.patience,
        read: grammar(work.log_reader),
    };
    watched.run(node, &command(work, attempt)?, progress).await
}

/// A script that does something while it holds the lock of a file.
pub(super) fn locked(lock: &str, script: &str) -> String {
    format!(
        "r_lock={}\nr_do() {{\n{}\n}}\n{}",
        quote_path(lock),
        script.trim_end(),
        include_str!("../script/run_script.sh")
    )
}

fn command(work: &RunScript, attempt: u32) -> Result<Command, Failure> {
    let mut secrets = Vec::new();
    for (name, source) in &work.secrets {
        let value = variable(source).ok_or_else(|| missing(name, source))?;
        secrets.push((name, value));
    }
    let script = locked(&work.lock, &work.script);
    let mut command = Command::script(script).with("r_attempt", &attempt.to_string());
    for (name, value) in secrets {
        command = command.with_secret(name, &value);
    }
    Ok(command)
}
