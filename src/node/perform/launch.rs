//! Starting a process that outlives the connection, marked, and exactly once.

use std::fmt::Write as _;

use crate::logs::grammar;
use crate::node::{Command, Node, quote, quote_path};
use crate::plan::Failure;
use crate::plan::effect::Launch;

use super::log::Tail;

/// A process that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its process id, which is its session's too.
    pub pid: u32,
    /// When it started, in ticks since the boot: with the pid, its identity until the next boot.
    pub start_time: u64,
    /// Whether it ran already, so that nothing was started.
    pub already: bool,
}

/// Starts a process, unless one with exactly its mark lives.
///
/// # Errors
///
/// When a secret is missing here, when the program cannot be run, or when what an earlier process
/// of the same mark left behind still lives.
pub async fn launch(node: &Node, launch: &Launch) -> Result<Started, Failure> {
    let output = node.run(&command(launch)?).await?;
    let text = output.text();
    let mut lines = text.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (word, first, second) = (words.next(), words.next(), words.next());
    let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
    match (word, number(first), number(second)) {
        (Some(word @ ("started" | "running")), Some(pid), Some(start_time)) => Ok(Started {
            pid: pid as u32,
            start_time,
            already: word == "running",
        }),
        (Some("left"), Some(pid), _) => Err(Failure::new(format!(
            "what an earlier `{}` started still lives (pid {pid}), while itself is gone",
            launch.address
        ))
        .hinted("apply again: it is ended first")),
        (Some("failed"), Some(status), _) => {
            let mut tail = Tail::new(grammar(launch.log_reader));
            lines.for_each(|line| drop(tail.take(line)));
            let program = launch.argv.first().map_or("", String::as_str);
            Err(tail.failure(format!("`{program}` ended at once with status {status}")))
        }
        _ => Err(Failure::new(format!(
            "`{}` was not started: {}",
            launch.address,
            output.complaint()
        ))),
    }
}

/// The script that starts a process.
fn command(launch: &Launch) -> Result<Command, Failure> {
    let mut script = String::from(include_str!("../script/bare.sh"));
    let _ = writeln!(
        script,
        "r_mark={}\nr_folder={}\nr_log={}",
        quote(&launch.mark),
        quote_path(&launch.folder),
        quote_path(&launch.log)
    );
    let words: Vec<_> = launch.argv.iter().map(|word| quote_path(word)).collect();
    // The words come first: `~` is the node's home even where the environment says otherwise.
    let _ = writeln!(script, "r_begin() {{\nset -- {}", words.join(" "));
    if !launch.path.is_empty() {
        let folders: Vec<_> = launch
            .path
            .iter()
            .map(|folder| quote_path(folder))
            .collect();
        let _ = writeln!(script, "export PATH={}:\"$PATH\"", folders.join(":"));
    }
    let own = [
        ("REPLICA_MARK", launch.mark.as_str()),
        ("REPLICA_SPEC", launch.spec.as_str()),
        // vLLM writes its title over its environment, and so over the mark, unless told not to.
        ("SPT_NOENV", "1"),
    ];
    let declared = launch.env.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    for (name, value) in declared.chain(own) {
        let _ = writeln!(script, "export {}={}", variable(name)?, quote(value));
    }
    let mut secrets = Vec::new();
    for (name, source) in &launch.secret_env {
        let value = std::env::var(source).map_err(|_| missing(name, source))?;
        let carrier = format!("r_secret_{}", variable(name)?);
        let _ = writeln!(script, "export {name}=\"${carrier}\"");
        secrets.push((carrier, value));
    }
    script.push_str("exec \"$r_setsid\" \"$@\"\n}\n");
    script.push_str(include_str!("../script/processes.sh"));
    script.push_str(include_str!("../script/launch.sh"));
    let mut command = Command::script(script);
    for (carrier, value) in secrets {
        command = command.with_secret(&carrier, &value);
    }
    Ok(command)
}

/// A name that a shell takes for a variable's.
fn variable(name: &str) -> Result<&str, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(name);
    }
    Err(Failure::new(format!(
        "`{name}` cannot be a variable's name"
    )))
}

pub(super) fn missing(wanted: &str, source: &str) -> Failure {
    Failure::new(format!(
        "`{wanted}` takes its value from `{source}` of this machine's environment, which is not set"
    ))
    .hinted(format!("export {source}=… and run the same again"))
}
