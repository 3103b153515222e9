//! The `EngineCore` process: a child that looks and dies like vLLM's.
//!
//! It computes nothing: it loads (that is, it waits and logs), says that it is ready, and exists.
//! What matters is how it looks from outside, as captured from 0.13.0: its title and environment
//! are overwritten, it stays in its parent's session, and it survives its parent's SIGKILL.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::loading::{self, Plan};
use super::log::Log;

/// The hidden command that `main` hands to [`engine_core`].
pub const ENGINE_CORE_COMMAND: &str = "simulate-engine-core";

const TITLE: &str = "VLLM::EngineCore";
const READY: &[u8] = b"ready\n";

/// Is the engine's process: runs until it is terminated.
///
/// Its standard input is a socket to the API server, over which it is told what to load.
pub fn engine_core() -> ExitCode {
    // Both look at the environment, so they come before it is overwritten.
    let keeps_environment = std::env::var_os("SPT_NOENV").is_some();
    let log = Log::engine_core();
    if let Err(error) = rename(keeps_environment) {
        log.warning(
            "system_utils.py:173",
            &format!("cannot set the process title: {error}"),
        );
    }
    let Ok((plan, mut socket)) = told() else {
        return ExitCode::FAILURE;
    };
    if let Err(cause) = loading::load(&plan, &log) {
        report(&log, &cause);
        return ExitCode::FAILURE;
    }
    // When nobody reads it, the API server is gone; its engine stays all the same.
    let _ = socket.write_all(READY);
    loop {
        std::thread::park();
    }
}

/// Overwrites what `/proc/PID/cmdline`, `environ` and `comm` show, as setproctitle does.
fn rename(keeps_environment: bool) -> std::io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let [arguments, environment] = areas(&stat).ok_or(std::io::ErrorKind::InvalidData)?;
    let memory = std::fs::OpenOptions::new()
        .write(true)
        .open("/proc/self/mem")?;
    let mut title = vec![0; (arguments.end - arguments.start) as usize];
    let length = TITLE.len().min(title.len().saturating_sub(1));
    title[..length].copy_from_slice(&TITLE.as_bytes()[..length]);
    memory.write_all_at(&title, arguments.start)?;
    if !keeps_environment {
        let blank = vec![0; (environment.end - environment.start) as usize];
        memory.write_all_at(&blank, environment.start)?;
    }
    std::fs::write("/proc/self/comm", TITLE)
}

/// Where arguments and environment lie: fields 48 to 51 of `/proc/PID/stat`, see proc(5).
fn areas(stat: &str) -> Option<[std::ops::Range<u64>; 2]> {
    // The name in parentheses may hold spaces; the field after it is number 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let numbers: Vec<u64> = fields
        .split_whitespace()
        .skip(45)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    match numbers[..] {
        [a, b, c, d] if a < b && c <= d => Some([a..b, c..d]),
        _ => None,
    }
}

fn told() -> std::io::Result<(Plan, UnixStream)> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(socket.try_clone()?).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, socket))
}

fn report(log: &Log, cause: &str) {
    let traceback = [
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        "  File \"/usr/lib/python3/dist-packages/vllm/v1/engine/core.py\", line 857, in run_engine_core",
        "    engine_core = EngineCoreProc(*args, **kwargs)",
        "  File \"/usr/lib/python3/dist-packages/vllm/v1/worker/gpu_worker.py\", line 247, in init_device",
        "    raise ValueError(",
    ];
    log.error(
        "core.py:866",
        &format!("{}\nValueError: {cause}", traceback.join("\n")),
    );
    log.stderr(&format!(
        "Process EngineCore_DP0:\n{}\nValueError: {cause}",
        traceback[1..].join("\n")
    ));
}

/// The API server's hold on the engine's process.
#[derive(Debug)]
pub(super) struct EngineProcess {
    child: Child,
    socket: tokio::net::UnixStream,
}

impl EngineProcess {
    /// Starts the process and tells it what to load.
    pub(super) fn start(plan: &Plan) -> std::io::Result<Self> {
        let (mut ours, theirs) = UnixStream::pair()?;
        let child = command()?
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        ours.write_all(format!("{}\n", serde_json::to_string(plan)?).as_bytes())?;
        ours.set_nonblocking(true)?;
        Ok(Self {
            child,
            socket: tokio::net::UnixStream::from_std(ours)?,
        })
    }

    /// Waits until the model is loaded; false when the process ended instead.
    pub(super) async fn ready(&mut self) -> bool {
        let mut said = [0; READY.len()];
        self.socket
            .read_exact(&mut said)
            .await
            .is_ok_and(|_| said == READY)
    }

    /// Waits until the process has ended.
    pub(super) async fn ended(&mut self) {
        // An error would mean that it is no longer our child: ended, too.
        let _ = self.child.wait().await;
    }

    /// Terminates the process, as vLLM does on its way out, and waits for its end.
    pub(super) async fn stop(&mut self) {
        // Not yet waited for, so the number cannot belong to anyone else.
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        self.ended().await;
    }
}

#[cfg(not(test))]
fn command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ENGINE_CORE_COMMAND);
    Ok(command)
}

/// The test binary has no commands: the child is one of its tests, which calls [`engine_core`].
#[cfg(test)]
fn command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(super::tests::entry::ENGINE_CORE)
        .env(super::tests::entry::ENGINE_CORE_VARIABLE, "1");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_found_behind_a_name_with_spaces_and_parentheses() {
        let fields: Vec<_> = (3..=52).map(|number: u64| number.to_string()).collect();
        let stat = format!("7 (a ) b) {}", fields.join(" "));
        assert_eq!(areas(&stat), Some([48..49, 50..51]));
        assert_eq!(areas("7 (a) S 1"), None);
    }
}
