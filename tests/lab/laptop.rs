//! The laptop: a manifest, and `replica` as its user runs it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::hosts::Lab;

/// How long one command may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(240);

/// Two simulated servers and a proxy, each on its own host.
pub(super) const DEMO: &str = "\
topology: demo
nodes:
  controller: {ssh: controller, addresses: {lan: 10.77.0.10}}
  spark-01: {ssh: spark-01, addresses: {lan: 10.77.0.11}}
  spark-02: {ssh: spark-02, addresses: {lan: 10.77.0.12}}
engines:
  demo: {simulate: {profile: fast}}
instances:
  a: {node: spark-01, port: 8100, engine: demo, model: demo}
  b: {node: spark-02, port: 8200, engine: demo, model: demo}
proxy: {node: controller, port: 8192}
";

/// A user's machine, with its own home, and a folder with a manifest.
pub(super) struct Laptop {
    home: PathBuf,
    folder: PathBuf,
    ssh_config: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Laptop {
    /// The laptop beside a lab, with a manifest in the current folder.
    pub(super) fn with(lab: &Lab, manifest: &str) -> Self {
        Self::named("laptop", lab, manifest)
    }

    /// One of several laptops.
    pub(super) fn named(name: &str, lab: &Lab, manifest: &str) -> Self {
        let home = lab.folder().join(name);
        let laptop = Self {
            folder: home.join("work"),
            home,
            ssh_config: lab.file("ssh_config"),
            program: program().to_owned(),
            environment: Vec::new(),
        };
        fs::create_dir_all(&laptop.folder).expect("the folder is ours");
        laptop.declares(manifest);
        laptop
    }

    /// Its home.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The folder with the manifest.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Uses another SSH configuration.
    pub(super) fn with_ssh_config(mut self, text: &str) -> Self {
        self.ssh_config = self.home.join("ssh_config");
        fs::write(&self.ssh_config, text).expect("the folder is ours");
        self
    }

    /// The same laptop with a newer `replica`: another build, by the id that linkers give.
    pub(super) fn of_another_build(self) -> Self {
        const NOTE: &[u8] = b"\x03\0\0\0GNU\0";
        let newer = self.home.join("replica");
        let mut binary = fs::read(&self.program).expect("the binary can be read");
        let note = binary.windows(NOTE.len()).position(|bytes| bytes == NOTE);
        binary[note.expect("linkers write a build id") + NOTE.len()] ^= 1;
        fs::write(&newer, binary).expect("the folder is ours");
        fs::set_permissions(&newer, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        Self {
            program: newer,
            ..self
        }
    }

    /// Sets a variable of the environment.
    pub(super) fn exports(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes the manifest anew.
    pub(super) fn declares(&self, manifest: &str) {
        fs::write(self.folder.join("topology.yaml"), manifest).expect("the folder is ours");
    }

    /// `replica` with these words, with nothing on its standard input.
    pub(super) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words.split(' '))
            .arg("--ssh-config")
            .arg(&self.ssh_config)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("USER", "tester")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Starts `replica` with these words.
    pub(super) fn starts(&self, words: &str) -> Running {
        let mut command = self.command(words);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("replica can be run");
        let out = gather(child.stdout.take().expect("it is a pipe"));
        let err = gather(child.stderr.take().expect("it is a pipe"));
        Running {
            words: words.to_owned(),
            child,
            out,
            err,
        }
    }

    /// Runs `replica` with these words to its end.
    pub(super) fn replica(&self, words: &str) -> Done {
        self.starts(words).ends()
    }

    /// Makes it as declared, and expects that to work.
    pub(super) fn applies(&self) -> Done {
        self.replica("apply -y").exits(0)
    }

    /// The plan as its document.
    pub(super) fn plan(&self) -> Value {
        self.replica("plan --json").json()
    }

    /// Expects that there is nothing to do.
    pub(super) fn is_converged(&self) {
        self.replica("plan --detailed-exitcode").exits(0);
    }
}

/// The binary without what only a debugger reads: it is uploaded often.
pub(super) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = PathBuf::from(env!("CARGO_BIN_EXE_replica"));
        let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("replica");
        let age = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
        if age(&kept) > age(&built) {
            return kept;
        }
        let fresh = kept.with_extension(std::process::id().to_string());
        let stripped = Command::new("strip")
            .arg("-o")
            .arg(&fresh)
            .arg(&built)
            .status();
        match stripped {
            Ok(status) if status.success() && fs::rename(&fresh, &kept).is_ok() => kept,
            _ => built,
        }
    })
}

fn gather(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A `replica` that runs.
pub(super) struct Running {
    words: String,
    child: Child,
    out: JoinHandle<String>,
    err: JoinHandle<String>,
}

impl Running {
    /// Kills it as a power cut would.
    pub(super) fn dies(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is our child");
    }

    /// Waits for its end.
    pub(super) fn ends(self) -> Done {
        self.ends_within(PATIENCE)
    }

    /// The same, of one that may take so long.
    pub(super) fn ends_within(mut self, patience: Duration) -> Done {
        let end = Instant::now() + patience;
        let mut hung = false;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if Instant::now() > end && !hung {
                hung = true;
                self.child.kill().expect("it is our child");
            }
            thread::sleep(Duration::from_millis(10));
        };
        let done = Done {
            words: self.words,
            code: status.code(),
            out: self.out.join().expect("reading does not panic"),
            err: self.err.join().expect("reading does not panic"),
        };
        assert!(!hung, "it hung: {done}");
        done
    }
}

/// What a `replica` came to.
#[derive(Debug)]
pub(super) struct Done {
    words: String,
    code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            words,
            code,
            out,
            err,
        } = self;
        write!(f, "replica {words}: {code:?}\n{out}\n--- stderr\n{err}")
    }
}

impl Done {
    /// Expects an exit code.
    pub(super) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Whether all of it was done.
    pub(super) fn is_done(&self) -> bool {
        self.code == Some(0)
    }

    /// Expects a text in what it printed, on either output.
    pub(super) fn shows(self, text: &str) -> Self {
        // Where a line is broken is the view's affair.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let all = flat(&format!("{}\n{}", self.out, self.err));
        assert!(all.contains(&flat(text)), "lacks `{text}`: {self}");
        self
    }

    /// Expects that a text is nowhere in what it printed.
    pub(super) fn hides(self, text: &str) -> Self {
        assert!(
            !self.out.contains(text) && !self.err.contains(text),
            "shows `{text}`: {self}"
        );
        self
    }

    /// The document that it printed.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// What a plan says of one thing: `spark-01/instance.a`.
pub(super) fn change<'a>(plan: &'a Value, address: &str) -> &'a Value {
    let changes = plan["changes"].as_array().expect("a plan has changes");
    let found = changes.iter().find(|change| change["address"] == address);
    found.unwrap_or_else(|| panic!("{address} is not in {plan:#}"))
}

/// What is to become of each thing that is not kept, in the order of the plan.
pub(super) fn pending(plan: &Value) -> Vec<String> {
    let changes = plan["changes"].as_array().expect("a plan has changes");
    let word = |change: &Value, key: &str| change[key].as_str().unwrap_or_default().to_owned();
    changes
        .iter()
        .filter(|change| change["action"] != "keep")
        .map(|change| format!("{} {}", word(change, "action"), word(change, "address")))
        .collect()
}

/// The reasons of a change, as one text.
pub(super) fn reasons(change: &Value) -> String {
    let reasons = change["reasons"].as_array().expect("a change has reasons");
    let texts: Vec<_> = reasons
        .iter()
        .filter_map(|reason| reason["text"].as_str())
        .collect();
    texts.join("; ")
}
