//! The verbs of a node, against this machine.

use std::path::PathBuf;
use std::process::Command as Child;
use std::time::Duration;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

pub(super) fn here() -> Node {
    Node::Local(LocalNode::new(&"here".parse().unwrap()))
}

/// This machine as a node, with each shell that is installed.
pub(super) fn shells() -> Vec<Node> {
    ["/bin/sh", "/bin/dash", "/bin/bash"]
        .iter()
        .map(PathBuf::from)
        .filter(|shell| shell.exists())
        .map(|shell| {
            let mut node = LocalNode::new(&"here".parse().unwrap());
            node.shell = shell;
            Node::Local(node)
        })
        .collect()
}

pub(super) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_shell_reads_back_what_was_quoted(
        words in proptest::collection::vec("[^\0]{0,12}", 1..6),
    ) {
        for shell in ["/bin/sh", "/bin/bash"] {
            let script = format!("printf '%s\\0' {}", words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" "));
            let output = Child::new(shell).arg("-c").arg(script).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            let read: Vec<_> = read.split_terminator('\0').collect();
            prop_assert_eq!(&read, &words);
        }
    }

    #[test]
    fn a_shell_finds_the_home_in_a_quoted_path(rest in "[^\0]{0,12}") {
        let script = format!("HOME='/a home'; printf %s {}", quote_path(&format!("~/{rest}")));
        let output = Child::new("/bin/sh").arg("-c").arg(script).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("/a home/{rest}"));
    }
}

#[tokio::test]
async fn a_run_tells_its_status_and_both_outputs() {
    for node in shells() {
        let output = node
            .run(&Command::script(
                "echo out; echo err >&2; printf 'no end'; exit 3",
            ))
            .await
            .unwrap();
        assert_eq!(output.status, ExitStatus::Exit(3));
        assert_eq!(output.text(), "out\nno end");
        assert_eq!(output.error_text(), "err\n");
        assert_eq!(output.complaint(), "err");
        let killed = node.run(&Command::script("kill -KILL $$")).await.unwrap();
        assert_eq!(killed.status, ExitStatus::Signal("KILL".into()));
        let status = node.run(&Command::script("false")).await.unwrap().status;
        assert_eq!(status, ExitStatus::Exit(1));
    }
}

#[tokio::test]
async fn a_script_that_reads_does_not_read_itself() {
    for node in shells() {
        let output = node
            .run(&Command::script(
                "cat; wc -c; cat <<'end'\nhere\nend\necho after",
            ))
            .await
            .unwrap();
        assert_eq!(output.text(), "0\nhere\nafter\n");
    }
}

#[tokio::test]
async fn a_script_that_cannot_be_read_is_no_outcome() {
    for node in shells() {
        let error = node.run(&Command::script("if then fi")).await.unwrap_err();
        assert!(matches!(error, NodeError::NoShell { .. }), "{error}");
    }
}

#[tokio::test]
async fn secrets_reach_the_script_and_no_debug_output() {
    let command = Command::script("echo \"$token\"").with_secret("token", "hf_'quoted'");
    assert!(!format!("{command:?}{}", command.text()).contains("quoted"));
    let output = here().run(&command).await.unwrap();
    assert_eq!(output.text(), "hf_'quoted'\n");
}

#[tokio::test]
async fn a_stream_brings_lines_as_they_come() {
    for node in shells() {
        let (sender, mut lines) = mpsc::channel(8);
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("go");
        let script = format!(
            "mkfifo {fifo}; echo first; read -r word <{fifo}; echo \"$word\" >&2; exit 4",
            fifo = quote(fifo.to_str().unwrap())
        );
        let streaming =
            tokio::spawn(async move { node.stream(&Command::script(script), sender).await });
        assert_eq!(lines.recv().await, Some(Line::Out("first".into())));
        // Only now may it go on: its first line came while it ran.
        tokio::fs::write(&fifo, "second\n").await.unwrap();
        assert_eq!(lines.recv().await, Some(Line::Err("second".into())));
        assert_eq!(lines.recv().await, None);
        assert_eq!(streaming.await.unwrap().unwrap(), ExitStatus::Exit(4));
    }
}

#[tokio::test]
async fn a_stream_that_ends_by_itself_leaves_its_background_alone() {
    for node in shells() {
        let (sender, mut lines) = mpsc::channel(8);
        let script = Command::script("sleep 1000 >/dev/null 2>&1 & echo $!");
        let status = node.stream(&script, sender).await.unwrap();
        assert!(status.success());
        let Some(Line::Out(pid)) = lines.recv().await else {
            panic!("no line came");
        };
        // The watcher had its time to end it, had it been about to.
        let alive = node
            .run(&Command::script(format!("sleep 0.1; kill {pid}")))
            .await;
        assert!(alive.unwrap().success());
        gone(&pid).await;
    }
}

#[tokio::test]
async fn dropping_the_receiver_ends_a_stream_and_its_processes() {
    for node in shells() {
        let (sender, mut lines) = mpsc::channel(8);
        let script = Command::script("sleep 1000 & echo $!; wait");
        let streaming = tokio::spawn(async move { node.stream(&script, sender).await });
        let Some(Line::Out(pid)) = lines.recv().await else {
            panic!("no line came");
        };
        drop(lines);
        let status = streaming.await.unwrap().unwrap();
        assert!(!status.success(), "{status}");
        gone(&pid).await;
    }
}

/// Waits until a process is gone, or a zombie.
pub(super) async fn gone(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    while tokio::fs::read_to_string(&stat)
        .await
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_held_stays_until_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    let script = Command::script(format!(
        "exec 9>{}; flock -n 9 || {{ echo busy; exit 5; }}; echo held; cat >/dev/null; echo bye",
        quote(lock.to_str().unwrap())
    ));
    for node in shells() {
        let mut first = node.hold(&script).await.unwrap();
        assert_eq!(first.next_line().await.as_deref(), Some("held"));
        let mut second = node.hold(&script).await.unwrap();
        assert_eq!(second.next_line().await.as_deref(), Some("busy"));
        assert_eq!(second.next_line().await, None);
        assert_eq!(second.release().await.unwrap(), ExitStatus::Exit(5));
        assert_eq!(first.release().await.unwrap(), ExitStatus::Exit(0));
        let mut third = node.hold(&script).await.unwrap();
        assert_eq!(third.next_line().await.as_deref(), Some("held"));
        drop(third);
        // What is dropped lets go too, in its own time.
        loop {
            let mut next = node.hold(&script).await.unwrap();
            if next.next_line().await.as_deref() == Some("held") {
                next.release().await.unwrap();
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_file_arrives_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    for node in shells() {
        let target = folder.path().join("a new/folder's/target");
        let target = target.to_str().unwrap();
        perform::send(&node, &source, target, &digest(&content))
            .await
            .unwrap();
        assert_eq!(std::fs::read(target).unwrap(), content);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(target).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o755);

        let error = perform::send(&node, &source, target, &digest(b"other"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("another digest"), "{error}");
        assert_eq!(std::fs::read(target).unwrap(), content);
        let left = std::fs::read_dir(folder.path().join("a new/folder's"))
            .unwrap()
            .count();
        assert_eq!(left, 1, "what did not arrive is removed");
        std::fs::remove_dir_all(folder.path().join("a new")).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_old_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::write(&source, vec![7; 4_000_000]).unwrap();
    // `/dev/full` stands for the disk: the new file's name leads there.
    let target = folder.path().join("target");
    std::fs::write(&target, "old").unwrap();
    let script = format!(
        "r_target={}\nr_new=/dev/full\n{}",
        quote(target.to_str().unwrap()),
        include_str!("script/upload.sh")
            .replace("r_new=$r_target.$r_nonce.new\n", "")
            .replace("rm -f -- \"$r_new\"", ":")
    );
    let node = here();
    let mut running = node
        .begin(&Command::script(script), frame::Stdin::Open)
        .await
        .unwrap();
    running.begun().await.unwrap();
    while running.write(bytes::Bytes::from(vec![7; 100_000])).await {}
    let output = running.gather().await.unwrap();
    assert!(!output.success());
    assert!(
        output.complaint().contains("No space left on device"),
        "{}",
        output.complaint()
    );
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
}

#[tokio::test]
async fn a_port_is_dialled_and_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let answer = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nlate";
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let request = HttpRequest::post("/v1/completions", &serde_json::json!({"max_tokens": 1}))
        .header("authorization", "Bearer secret");
    assert!(!format!("{request:?}").contains("secret"));
    let minute = Duration::from_secs(60);
    let answer = here()
        .http("127.0.0.1", port, &request, minute)
        .await
        .unwrap();
    assert_eq!((answer.status, &*answer.text()), (503, "late"));
    let request = serving.await.unwrap();
    assert!(
        request.starts_with("POST /v1/completions HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("host: 127.0.0.1:{port}\r\n")),
        "{request}"
    );
    assert!(request.ends_with("{\"max_tokens\":1}"), "{request}");

    let error = here()
        .http("127.0.0.1", port, &HttpRequest::get("/"), minute)
        .await
        .unwrap_err();
    assert!(matches!(error, NodeError::NotDialled { .. }), "{error}");
}
