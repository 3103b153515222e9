//! Against a real sshd, run by the calling user on a loopback port with keys of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener as Socket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::node::tests::{digest, gone};
use crate::node::{
    Command, ConnectOptions, ExitStatus, HttpRequest, Line, Node, NodeError, Obstacle, Reach,
    Unreachable, perform,
};
use crate::plan::effect::{Launch, LogReader, Probe, Stop, Supervisor, WaitReady};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd of this test, and the client's side of it.
struct Lab {
    folder: TempDir,
    port: u16,
    sshd: Child,
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

/// Starts an sshd, or says aloud that there is none.
macro_rules! lab {
    ($($option:expr),*) => {
        match Lab::up(&[$($option),*]) {
            Some(lab) => lab,
            None => {
                eprintln!("SKIPPED: {SSHD} is not installed");
                return;
            }
        }
    };
}

fn keygen(kind: &str, file: &Path, passphrase: &str) {
    let made = Program::new("ssh-keygen")
        .args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"])
        .arg(file)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Signs a key with the lab's authority: `-h` a host's, as `ssh-keygen` has it.
fn certify(folder: &Path, key: &str, words: &str) {
    let signed = Program::new("ssh-keygen")
        .current_dir(folder)
        .args(["-q", "-s", "ca", "-I", "test"])
        .args(words.split(' '))
        .arg(format!("{key}.pub"))
        .status()
        .unwrap();
    assert!(signed.success(), "{words}");
}

fn free_port() -> u16 {
    let socket = Socket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

impl Lab {
    fn up(options: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            return None;
        }
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        keygen("ed25519", &at("host_ed25519"), "");
        keygen("ecdsa", &at("host_ecdsa"), "");
        keygen("ed25519", &at("id"), "");
        keygen("ed25519", &at("ca"), "");
        certify(folder.path(), "host_ed25519", "-h -n 127.0.0.1");
        fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        fs::create_dir(at("home")).unwrap();
        // As root, sshd wants its folder for separated privileges.
        let _ = fs::create_dir_all("/run/sshd");
        // Another process may take the port in between: then sshd ends, and is started on another.
        for _ in 0..20 {
            let port = free_port();
            let mut config = format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host_ed25519\nHostKey {0}/host_ecdsa\n\
                 AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
                 SetEnv HOME={0}/home BASH_ENV={0}/home/.bashrc\n",
                folder.path().display()
            );
            for option in options {
                // A file of the lab.
                let option = option.replace("@/", &format!("{}/", folder.path().display()));
                let _ = writeln!(config, "{option}");
            }
            fs::write(at("sshd_config"), config).unwrap();
            let mut sshd = Program::new(SSHD)
                .arg("-D")
                .arg("-e")
                .arg("-f")
                .arg(at("sshd_config"))
                .stdin(Stdio::null())
                .stderr(fs::File::create(at("sshd.log")).unwrap())
                .spawn()
                .unwrap();
            loop {
                if sshd.try_wait().unwrap().is_some() {
                    break;
                }
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let lab = Lab { folder, port, sshd };
                    lab.know("host_ed25519.pub");
                    lab.configure("");
                    return Some(lab);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        panic!(
            "sshd did not start: {}",
            fs::read_to_string(at("sshd.log")).unwrap()
        );
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a host's key into `known_hosts`.
    fn know(&self, public: &str) {
        self.write_known(&format!("{} {}", self.name(), self.public(public)));
    }

    fn write_known(&self, text: &str) {
        fs::write(self.at("known_hosts"), text).unwrap();
    }

    fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    fn public(&self, file: &str) -> String {
        fs::read_to_string(self.at(file)).unwrap()
    }

    /// Writes the client's configuration; what comes first holds.
    fn configure(&self, more: &str) {
        let user = Program::new("id").arg("-un").output().unwrap().stdout;
        let config = format!(
            "{more}\nHost *\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {folder}/id\nIdentitiesOnly yes\n\
             IdentityAgent none\nUserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile none\n",
            self.port,
            String::from_utf8(user).unwrap().trim(),
            folder = self.folder.path().display(),
        );
        fs::write(self.at("ssh_config"), config).unwrap();
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions {
            ssh_config: Some(self.at("ssh_config")),
            ..ConnectOptions::default()
        }
    }

    async fn try_connect(&self, host: &str) -> Result<Node, Unreachable> {
        connect(host, &self.options()).await
    }

    async fn connect(&self) -> Node {
        self.try_connect("spark").await.unwrap()
    }

    async fn obstacle(&self) -> (Obstacle, String) {
        let error = self.try_connect("spark").await.unwrap_err();
        let hint = error.hint().unwrap_or_default();
        (error.obstacle, hint)
    }
}

async fn connect(host: &str, options: &ConnectOptions) -> Result<Node, Unreachable> {
    let reach: Reach = host.parse().unwrap();
    Node::connect(&"spark-01".parse().unwrap(), &reach, options).await
}

fn script(text: &str) -> Command {
    Command::script(text)
}

/// A program that goes on until it is stopped.
fn sleeping(mark: &str) -> Launch {
    Launch {
        address: "spark-01/instance.a".parse().unwrap(),
        mark: format!("{mark}1:abc"),
        mark_prefix: mark.to_owned(),
        spec: String::new(),
        argv: vec!["sleep".to_owned(), "1000".to_owned()],
        path: Vec::new(),
        env: BTreeMap::new(),
        secret_env: BTreeMap::new(),
        node_key: String::new(),
        folder: "~/state/it's".to_owned(),
        log: "~/state/a.log".to_owned(),
        log_reader: LogReader::None,
        supervisor: Supervisor::Session,
        is_beside: false,
    }
}

mod commands;
mod trust;
mod ways;
