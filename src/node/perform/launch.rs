//! Starting a process that outlives the connection, marked, and exactly once.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::logs::grammar;
use crate::node::{Command, Node, quote, quote_path, variable as here};
use crate::plan::Failure;
use crate::plan::effect::{Launch, Secret, Supervisor};

use super::log::Tail;
use super::secret::{make_node_key, missing};
use super::unit::unit_files;

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
    let secrets = Secrets::had(node, launch).await?;
    let output = node.run(&command(launch, &secrets)?).await?;
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

/// The secrets of a process, and its specification with their digests.
struct Secrets {
    values: Vec<(String, String)>,
    spec: String,
}

impl Secrets {
    /// Each secret with the variable that it is in until it is exported.
    fn carriers(&self) -> impl Iterator<Item = (String, &str)> {
        let values = self.values.iter();
        values.map(|(name, value)| (carrier(name), value.as_str()))
    }

    /// The same as a file for a shell to read: nothing where there are none.
    fn file(&self) -> String {
        let assignments = self.carriers();
        let lines = assignments.map(|(carrier, value)| format!("{carrier}={}", quote(value)));
        lines.collect::<Vec<_>>().join("\n")
    }

    async fn had(node: &Node, launch: &Launch) -> Result<Self, Failure> {
        // Where one is missing here, nothing is left on the node.
        let here = of_this_machine(&launch.secret_env)?;
        if launch.secret_env.is_empty() {
            return Ok(Self {
                values: Vec::new(),
                spec: launch.spec.clone(),
            });
        }
        let node_key = make_node_key(node, &launch.node_key, Some(&launch.log)).await?;
        let mut spec: Value = serde_json::from_str(&launch.spec)
            .map_err(|error| Failure::bug(format!("the specification is no JSON: {error}")))?;
        let mut values = here;
        for (name, secret) in &launch.secret_env {
            let digest = match secret {
                Secret::Variable(_) => node_key.digest(name, &values[name]),
                Secret::ServerKey(key) => {
                    values.insert(name.clone(), node_key.server_key(&key.nonce));
                    node_key.own_digest()
                }
            };
            spec["env"][name] = digest.into();
        }
        Ok(Self {
            values: values.into_iter().collect(),
            spec: spec.to_string(),
        })
    }
}

/// The secrets that are in variables of this machine.
fn of_this_machine(
    secrets: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    for (name, secret) in secrets {
        if let Secret::Variable(source) = secret {
            let value = here(source).ok_or_else(|| missing(name, source))?;
            values.insert(name.clone(), value);
        }
    }
    Ok(values)
}

/// The script that starts a process, and hands it to what is to look after it.
fn command(launch: &Launch, had: &Secrets) -> Result<Command, Failure> {
    let begin = begin(launch, had)?;
    let mut script = format!(
        "{}r_mark={}\nr_folder={}\nr_log={}\nr_prefix={}\nr_beside={}\n{}{}{}",
        include_str!("../script/bare.sh"),
        quote(&launch.mark),
        quote_path(&launch.folder),
        quote_path(&launch.log),
        quote(&launch.mark_prefix),
        if launch.is_beside { "yes" } else { "" },
        include_str!("../script/processes.sh"),
        include_str!("../script/units.sh"),
        include_str!("../script/launch.sh"),
    );
    match &launch.supervisor {
        Supervisor::Session => {
            script.push_str(&log_keeper());
            script.push_str(&begin);
            script.push_str(include_str!("../script/launch_session.sh"));
            let carriers = had.carriers();
            let command = Command::script(script);
            Ok(carriers.fold(command, |command, (carrier, value)| {
                command.with_secret(&carrier, value)
            }))
        }
        Supervisor::Systemd(unit) => {
            script.push_str(&unit_files(launch, unit, &begin));
            script.push_str(include_str!("../script/launch_unit.sh"));
            Ok(Command::script(script).with_secret("r_secrets", &had.file()))
        }
    }
}

/// How long a log may become, in bytes, how many of its beginning and of its end are kept then (what a server
/// says of itself while it loads, and what it said last), and how many seconds pass between two looks.
const LIMITS: [u32; 4] = [64 << 20, 1 << 20, 32 << 20, 5];

/// The function that keeps a log short, and what it takes.
pub(super) fn log_keeper() -> String {
    let limits = LIMITS.map(|limit| limit.to_string());
    format!(
        "r_limits='{}'\nr_pruner={}\n{}",
        limits.join(" "),
        quote(include_str!("../script/prune_log.sh")),
        include_str!("../script/log_keeper.sh")
    )
}

/// The function that becomes the process, in a shell that has `r_setsid`, or nothing in it, and the
/// secrets in their carriers.
fn begin(launch: &Launch, had: &Secrets) -> Result<String, Failure> {
    let words: Vec<_> = launch.argv.iter().map(|word| quote_path(word)).collect();
    // The words come first: `~` is the node's home even where the environment says otherwise.
    let mut script = format!("r_begin() {{\nset -- {}\n", words.join(" "));
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
        ("REPLICA_SPEC", had.spec.as_str()),
        // vLLM writes its title over its environment, and so over the mark, unless told not to.
        ("SPT_NOENV", "1"),
    ];
    let declared = launch.env.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    for (name, value) in declared.chain(own) {
        let _ = writeln!(script, "export {}={}", variable(name)?, quote(value));
    }
    for (name, _) in &had.values {
        let carrier = carrier(variable(name)?);
        let _ = writeln!(script, "export {name}=\"${carrier}\"");
    }
    script.push_str("exec ${r_setsid:+\"$r_setsid\"} \"$@\"\n}\n");
    Ok(script)
}

/// The variable of a shell that a secret is in until it is exported.
fn carrier(name: &str) -> String {
    format!("r_secret_{name}")
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
