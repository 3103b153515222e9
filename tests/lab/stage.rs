//! The stage: namespaces of its own for each scenario, which end with it whatever happens.

use std::any::type_name;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::hosts::Lab;

/// Set for the process that plays inside the namespaces.
const INSIDE: &str = "REPLICA_SCENARIO";

/// How long anything may take that comes about by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Plays a scenario on a lab that `lab up WORDS` makes.
///
/// The test runs itself once more, inside namespaces for processes, mounts and network: there is
/// no interface, port or process of the machine in reach, and the end of the first process there
/// is the end of all.
pub(super) fn scenario<F: FnOnce(&Lab)>(words: &str, play: F) {
    let name = name_of::<F>();
    if std::env::var_os(INSIDE).is_some() {
        match Lab::up(words) {
            Ok(lab) => play(&lab),
            Err(why) if why.contains("needs ") => skip(name, &why),
            Err(why) => panic!("the lab did not come up: {why}"),
        }
        return;
    }
    // Once, and here: inside, all would do it at the same time.
    super::laptop::program();
    let played = match command(name).output() {
        Ok(output) => output,
        Err(error) => return skip(name, &format!("needs setpriv and unshare: {error}")),
    };
    judge(name, &played);
}

/// Plays a scenario on hosts that boot a systemd of their own.
pub(super) fn booted<F: FnOnce(&Lab)>(words: &str, play: F) {
    match booted_root() {
        Ok(root) => scenario(&format!("{words} --booted {}", root.display()), play),
        Err(why) => skip(name_of::<F>(), &why),
    }
}

/// The system that they boot, which is made once.
fn booted_root() -> Result<PathBuf, String> {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("booted-root");
    // Inside there is no way to where it would be fetched from.
    if std::env::var_os(INSIDE).is_some() {
        return Ok(root);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/boot-root.sh");
    let made = Command::new("sh").arg(script).arg(&root).output();
    let made = made.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    made.status.success().then_some(root).ok_or(said)
}

/// `group::scenario`, from the name of the scenario's own closure.
fn name_of<F>() -> &'static str {
    let path = type_name::<F>();
    // The name of the test program comes first.
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    path.split("::{{").next().unwrap_or(path)
}

fn command(name: &str) -> Command {
    const NEW: &str = "unshare --net --mount --pid --fork --kill-child --mount-proc";
    let this = std::env::current_exe().expect("a test knows its own path");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab");
    // Ends with the thread that waits for it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if rustix::process::geteuid().is_root() {
        command.args(NEW.split(' '));
        command.args(["sh", "-euc", "ip link set lo up; exec tini -- \"$@\"", "sh"]);
    } else {
        command.arg("sh").arg(here.join("rootless.sh"));
    }
    command.arg(this);
    // Whether it is to be played, the outer one was told.
    command.args(["--exact", name, "--include-ignored"]);
    command.args(["--nocapture", "--test-threads", "1"]);
    command.env(INSIDE, name).env_remove("LAB_STATE");
    // What failed is in the words, not in the frames.
    command.env("RUST_BACKTRACE", "0");
    command
}

fn judge(name: &str, played: &Output) {
    let text = [played.stdout.as_slice(), &played.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if let Some(line) = text.lines().find(|line| line.starts_with("SKIPPED: ")) {
        loudly(line);
        return;
    }
    let refused = ["unshare failed", "not found", "Operation not permitted"];
    if !text.contains("running 1 test") && refused.iter().any(|words| text.contains(words)) {
        skip(name, text.trim());
        return;
    }
    assert!(
        played.status.success() && text.contains("1 passed"),
        "{name}: {}\n{text}",
        played.status
    );
}

/// Says that a scenario was not played.
pub(super) fn skip(name: &str, why: &str) {
    loudly(&format!("SKIPPED: {name}: {}", why.replace('\n', " ")));
}

/// Says something past the test harness, which keeps to itself what a passing test prints.
fn loudly(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits for the first answer to a question that is one.
pub(super) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "gave up waiting: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until nothing of ours is left on a host. The shell that held the lock goes a moment later.
pub(super) fn is_bare(lab: &Lab, host: &str) {
    let end = Instant::now() + PATIENCE;
    while !lab.files(host).is_empty() {
        assert!(Instant::now() < end, "{host}: {:?}", lab.files(host));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until something is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}
