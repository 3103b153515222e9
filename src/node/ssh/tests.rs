//! Against a real sshd, run by the calling user on a loopback port with keys of its own.

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
    Unreachable,
};

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

#[tokio::test]
async fn a_run_tells_its_status_and_both_outputs() {
    let lab = lab!();
    let node = lab.connect().await;
    assert!(!node.is_local() && node.is_connected());
    for code in [0, 1, 3, 255] {
        let output = node
            .run(&script(&format!("echo out; echo err >&2; exit {code}")))
            .await
            .unwrap();
        assert_eq!(output.status, ExitStatus::Exit(code));
        assert_eq!((&*output.text(), &*output.error_text()), ("out\n", "err\n"));
    }
    let killed = node.run(&script("kill -KILL $$")).await.unwrap();
    assert_eq!(killed.status, ExitStatus::Signal("KILL".into()));
    let lines = node
        .run(&script(
            "i=0; while [ $i -lt 2000 ]; do echo $i; echo e$i >&2; i=$((i+1)); done",
        ))
        .await
        .unwrap();
    let want: Vec<_> = (0..2000).map(|i| i.to_string()).collect();
    assert_eq!(lines.text().lines().collect::<Vec<_>>(), want);
    assert_eq!(lines.error_text().lines().last(), Some("e1999"));
}

#[tokio::test]
async fn what_the_login_shell_says_is_not_the_commands() {
    let lab = lab!();
    fs::write(
        lab.at("home/.bashrc"),
        "echo hi from bashrc; echo and its trouble >&2; printf 'no line end'\n",
    )
    .unwrap();
    let node = lab.connect().await;
    // The noise is really there when nothing filters it.
    let noisy = node.run(&script("bash -c true")).await.unwrap();
    assert!(noisy.text().contains("hi from bashrc"), "{noisy:?}");
    let output = node.run(&script("echo mine; echo err >&2")).await.unwrap();
    assert_eq!(
        (&*output.text(), &*output.error_text()),
        ("mine\n", "err\n")
    );
}

#[tokio::test]
async fn a_login_that_is_no_shell_says_so() {
    let lab = lab!("ForceCommand echo sftp only");
    let error = lab.connect().await.run(&script("true")).await.unwrap_err();
    assert!(
        matches!(&error, NodeError::NoShell { said, .. } if said == "sftp only"),
        "{error}"
    );
}

#[tokio::test]
async fn much_output_arrives_whole_however_slow_the_reader() {
    let lab = lab!();
    let node = lab.connect().await;
    let big = script("head -c 33554432 /dev/zero | tr '\\0' x");
    let output = node.run(&big).await.unwrap();
    assert_eq!(output.stdout.len(), 33_554_432);

    let (sender, mut lines) = mpsc::channel(1);
    let counting = script("head -c 33554432 /dev/zero | tr '\\0' x | fold -w 1024");
    let streaming = tokio::spawn({
        let node = node.clone();
        async move { node.stream(&counting, sender).await }
    });
    // While nobody reads the stream, the connection serves others.
    assert!(lines.recv().await.is_some());
    for _ in 0..20 {
        assert_eq!(node.run(&script("echo on")).await.unwrap().text(), "on\n");
    }
    let mut length = 1024;
    while let Some(line) = lines.recv().await {
        let Line::Out(text) = line else {
            panic!("{line:?}")
        };
        length += text.len();
    }
    assert_eq!(length, 33_554_432);
    assert!(streaming.await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_file_of_64_mib_arrives_whole_or_not_at_all() {
    let lab = lab!();
    let node = lab.connect().await;
    let content: Vec<u8> = (0..64 * 1024 * 1024u32)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    let source = lab.at("source");
    fs::write(&source, &content).unwrap();
    node.upload(&source, "~/bin/it's", &digest(&content))
        .await
        .unwrap();
    let target = lab.at("home/bin/it's");
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o755
    );

    let error = node
        .upload(&source, "~/bin/it's", &digest(b""))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(fs::read_dir(lab.at("home/bin")).unwrap().count(), 1);

    // The shell is gone long before all is sent.
    let error = node
        .upload(&source, "/proc/no/file", &digest(&content))
        .await
        .unwrap_err();
    assert!(matches!(error, NodeError::NotWritten { .. }), "{error}");
}

#[tokio::test]
async fn a_stream_and_what_it_started_end_with_the_receiver() {
    let lab = lab!();
    let node = lab.connect().await;
    let (sender, mut lines) = mpsc::channel(8);
    let streaming = tokio::spawn({
        let node = node.clone();
        async move {
            node.stream(&script("sleep 1000 & echo $!; wait"), sender)
                .await
        }
    });
    let Some(Line::Out(pid)) = lines.recv().await else {
        panic!("no line came");
    };
    drop(lines);
    streaming.await.unwrap().unwrap();
    gone(&pid).await;
}

#[tokio::test]
async fn a_held_lock_goes_with_its_holder() {
    let lab = lab!();
    let lock = script("exec 9>~/lock; flock -n 9 || exit 5; echo held; cat >/dev/null");
    let first = lab.connect().await;
    let second = lab.connect().await;
    let mut held = first.hold(&lock).await.unwrap();
    assert_eq!(held.next_line().await.as_deref(), Some("held"));
    assert_eq!(second.run(&lock).await.unwrap().status, ExitStatus::Exit(5));
    assert_eq!(held.release().await.unwrap(), ExitStatus::Exit(0));
    let mut held = first.hold(&lock).await.unwrap();
    assert_eq!(held.next_line().await.as_deref(), Some("held"));
    drop((held, first));
    while !second.run(&lock).await.unwrap().success() {}
}

#[tokio::test]
async fn more_commands_than_sessions_all_run() {
    let lab = lab!("MaxSessions 3");
    let node = lab.connect().await;
    let mut running = tokio::task::JoinSet::new();
    for i in 0..40 {
        let node = node.clone();
        running.spawn(async move { node.run(&script(&format!("echo {i}"))).await });
    }
    while let Some(output) = running.join_next().await {
        assert!(output.unwrap().unwrap().success());
    }
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_unknown() {
    let lab = lab!();
    let node = lab.connect().await;
    let (sender, mut lines) = mpsc::channel(8);
    // The sshd of this very session is the parent of its shell.
    let streaming = tokio::spawn({
        let node = node.clone();
        async move { node.stream(&script("echo $PPID; sleep 1000"), sender).await }
    });
    let Some(Line::Out(pid)) = lines.recv().await else {
        panic!("no line came");
    };
    let killed = Program::new("kill").args(["-KILL", &pid]).status().unwrap();
    assert!(killed.success());
    let error = streaming.await.unwrap().unwrap_err();
    assert!(matches!(error, NodeError::OutcomeUnknown { .. }), "{error}");
    let error = node.run(&script("true")).await.unwrap_err();
    assert!(matches!(error, NodeError::Disconnected { .. }), "{error}");
    assert!(error.is_connection_lost() && !node.is_connected());
}

#[tokio::test]
async fn ports_of_the_node_are_dialled_through_it() {
    let lab = lab!();
    let node = lab.connect().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut echoed = vec![0; 1_000_000];
        stream.read_exact(&mut echoed).await.unwrap();
        stream.write_all(&echoed).await.unwrap();
        drop(stream);
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut echoed).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end")
            .await
            .unwrap();
    });
    let mut stream = node.dial("127.0.0.1", port).await.unwrap();
    let sent: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
    stream.write_all(&sent).await.unwrap();
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    assert!(read == sent);
    let request = HttpRequest::get("/health");
    let minute = Duration::from_secs(60);
    let answer = node
        .http("localhost", port, &request, minute)
        .await
        .unwrap();
    assert_eq!((answer.status, &*answer.text()), (200, "to the end"));
    serving.await.unwrap();
    let error = node
        .http("127.0.0.1", port, &request, minute)
        .await
        .unwrap_err();
    assert!(matches!(error, NodeError::NotDialled { .. }), "{error}");
    // A port that nothing listens on is no reason to lose the connection.
    assert!(node.run(&script("true")).await.unwrap().success());
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_the_command_that_mends_it() {
    let lab = lab!();
    lab.write_known("# nothing\n");
    let (obstacle, hint) = lab.obstacle().await;
    let Obstacle::UnknownKey { fingerprint, .. } = &obstacle else {
        panic!("{obstacle:?}");
    };
    let told = Program::new("ssh-keygen")
        .arg("-lf")
        .arg(lab.at("host_ed25519.pub"))
        .output()
        .unwrap();
    assert!(
        String::from_utf8(told.stdout)
            .unwrap()
            .contains(fingerprint)
    );
    let remedy = format!(
        "ssh-keyscan -t ed25519 -p {} 127.0.0.1 >> {}",
        lab.port,
        lab.at("known_hosts").display()
    );
    assert!(hint.contains(&remedy), "{hint}");
    // The command does what is promised.
    let scan = Program::new("sh")
        .args(["-c", &remedy])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(scan.success());
    lab.connect().await;
}

#[tokio::test]
async fn a_changed_and_a_revoked_key_are_refused_with_their_lines() {
    let lab = lab!();
    lab.write_known(&format!("\n{} {}", lab.name(), lab.public("id.pub")));
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        matches!(&obstacle, Obstacle::ChangedKey { line: 2, file, .. } if *file == lab.at("known_hosts")),
        "{obstacle:?}"
    );
    let remedy = hint.split_once(": ").unwrap().1;
    let mended = Program::new("sh").args(["-c", remedy]).output().unwrap();
    assert!(mended.status.success(), "{remedy}");
    assert!(matches!(
        lab.obstacle().await.0,
        Obstacle::UnknownKey { .. }
    ));

    let known = format!(
        "{0} {1}@revoked * {1}",
        lab.name(),
        lab.public("host_ed25519.pub")
    );
    lab.write_known(&known);
    lab.configure("StrictHostKeyChecking no");
    let (obstacle, _) = lab.obstacle().await;
    assert!(
        matches!(obstacle, Obstacle::RevokedKey { line: 2, .. }),
        "{obstacle:?}"
    );
}

#[tokio::test]
async fn a_host_known_by_another_algorithm_is_asked_for_that_key() {
    let lab = lab!();
    lab.know("host_ecdsa.pub");
    lab.connect().await;
    // Written down without its port: ssh takes that too.
    lab.write_known(&format!("127.0.0.1 {}", lab.public("host_ecdsa.pub")));
    lab.connect().await;
    lab.write_known(&format!(
        "@cert-authority * {}",
        lab.public("host_ecdsa.pub")
    ));
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        matches!(
            obstacle,
            Obstacle::UnknownKey {
                authority: true,
                ..
            }
        ),
        "{obstacle:?}"
    );
    assert!(hint.contains("@cert-authority"), "{hint}");
}

#[tokio::test]
async fn strictness_is_as_the_configuration_says() {
    let lab = lab!();
    lab.write_known("");
    lab.configure("StrictHostKeyChecking accept-new\nHashKnownHosts yes");
    lab.connect().await;
    assert!(lab.public("known_hosts").starts_with("|1|"));
    lab.configure("StrictHostKeyChecking yes");
    lab.connect().await;
    lab.write_known(&format!("{} {}", lab.name(), lab.public("id.pub")));
    lab.configure("StrictHostKeyChecking accept-new");
    assert!(matches!(
        lab.obstacle().await.0,
        Obstacle::ChangedKey { .. }
    ));
    lab.configure("StrictHostKeyChecking no");
    lab.connect().await;
    lab.configure("HostKeyAlias spark-alias");
    lab.write_known(&format!("spark-alias {}", lab.public("host_ed25519.pub")));
    lab.connect().await;
}

#[tokio::test]
async fn a_refused_login_names_the_keys_that_were_tried() {
    let lab = lab!();
    fs::write(lab.at("authorized_keys"), "").unwrap();
    let (obstacle, hint) = lab.obstacle().await;
    let Obstacle::AuthRefused { tried, .. } = &obstacle else {
        panic!("{obstacle:?}");
    };
    assert_eq!(*tried, [format!("`{}`", lab.at("id").display())]);
    assert!(hint.contains("authorized_keys"), "{hint}");

    keygen("ed25519", &lab.at("locked"), "a passphrase");
    fs::copy(lab.at("locked.pub"), lab.at("authorized_keys")).unwrap();
    lab.configure(&format!("IdentityFile {}", lab.at("locked").display()));
    let (obstacle, _) = lab.obstacle().await;
    assert!(
        obstacle
            .to_string()
            .contains("is encrypted and no agent holds it"),
        "{obstacle}"
    );
}

#[tokio::test]
async fn rsa_keys_and_agents_get_in() {
    let lab = lab!();
    keygen("rsa", &lab.at("rsa"), "");
    fs::copy(lab.at("rsa.pub"), lab.at("authorized_keys")).unwrap();
    lab.configure(&format!("IdentityFile {}", lab.at("rsa").display()));
    lab.connect().await;

    // The agent holds the key; the file beside is encrypted.
    let socket = lab.at("agent");
    let mut agent = Program::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for key in ["rsa", "id"] {
        let added = Program::new("ssh-add")
            .arg("-q")
            .arg(lab.at(key))
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .unwrap();
        assert!(added.success());
    }
    let locked = Program::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "a passphrase", "-f"])
        .arg(lab.at("rsa"))
        .status()
        .unwrap();
    assert!(locked.success());
    lab.configure(&format!(
        "IdentityFile {}\nIdentityAgent {}",
        lab.at("rsa").display(),
        socket.display()
    ));
    let result = lab.try_connect("spark").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    result.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let lab = lab!();
    lab.configure(&format!("Port {}", free_port()));
    assert!(matches!(lab.obstacle().await.0, Obstacle::Refused { .. }));
    lab.configure("HostName no-such-host.invalid");
    assert!(matches!(
        lab.obstacle().await.0,
        Obstacle::NoSuchHost { .. }
    ));
    lab.configure("Bogus option");
    assert!(matches!(
        lab.obstacle().await.0,
        Obstacle::Configuration { .. }
    ));
    lab.configure("ProxyCommand nc %h %p");
    assert!(lab.obstacle().await.0.to_string().contains("ProxyCommand"));

    // A listener that never says a word.
    let silent = Socket::bind("127.0.0.1:0").unwrap();
    lab.configure(&format!(
        "Port {}\nConnectTimeout 1",
        silent.local_addr().unwrap().port()
    ));
    assert!(matches!(lab.obstacle().await.0, Obstacle::TimedOut { .. }));
}

/// Listens in front of an sshd, drops the first connections, and passes on the others.
async fn dropping(sshd: u16, drops: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for taken in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            if taken < drops {
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", sshd)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn dropped_handshakes_are_tried_again() {
    let lab = lab!();
    lab.write_known(&format!("* {}", lab.public("host_ed25519.pub")));
    lab.configure(&format!("Port {}", dropping(lab.port, 2).await));
    lab.connect().await;
    lab.configure(&format!("Port {}", dropping(lab.port, 3).await));
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        matches!(obstacle, Obstacle::Dropped { tries: 3, .. }),
        "{obstacle:?}"
    );
    assert!(hint.contains("MaxStartups"), "{hint}");
}

#[tokio::test]
async fn nodes_behind_a_jump_host_share_its_connection() {
    let lab = lab!();
    lab.write_known(&format!("* {}", lab.public("host_ed25519.pub")));
    // All three are one sshd; the jump host is reached through a port that counts.
    let counted = dropping(lab.port, 0).await;
    lab.configure(&format!(
        "Host first\nPort {counted}\nHost far\nProxyJump first,second\nHost near-*\nProxyJump first\n"
    ));
    let options = lab.options();
    let mut connecting = tokio::task::JoinSet::new();
    for i in 0..5 {
        let options = options.clone();
        connecting.spawn(async move { connect(&format!("near-{i}"), &options).await });
    }
    let mut parents = std::collections::BTreeSet::new();
    while let Some(node) = connecting.join_next().await {
        let node = node.unwrap().unwrap();
        // sshd says where a connection comes from: the jump host's own side.
        let output = node
            .run(&script("echo \"${SSH_CONNECTION%% *}\""))
            .await
            .unwrap();
        assert_eq!(output.text(), "127.0.0.1\n");
        parents.insert(
            node.run(&script("echo $PPID"))
                .await
                .unwrap()
                .text()
                .into_owned(),
        );
    }
    assert_eq!(parents.len(), 5);
    let far = connect("far", &options).await.unwrap();
    assert_eq!(far.run(&script("echo far")).await.unwrap().text(), "far\n");
    let log = lab.public("sshd.log");
    // 5 near, the far one, first and second: not one more.
    assert_eq!(log.matches("Accepted publickey").count(), 8, "{log}");

    lab.configure(&format!(
        "Host first\nPort {}\nHost spark\nProxyJump first\n",
        free_port()
    ));
    let (obstacle, _) = lab.obstacle().await;
    assert!(
        matches!(&obstacle, Obstacle::Hop { hop, .. } if hop == "first"),
        "{obstacle:?}"
    );
}
