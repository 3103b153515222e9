//! What runs over a connection.

use super::*;

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
    let noise = script("BASH_ENV=~/.bashrc bash -c true");
    let noisy = node.run(&noise).await.unwrap();
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

/// The session that is opened before it is wanted takes no place that somebody wants.
#[tokio::test]
async fn a_session_that_waits_is_in_nobodys_way() {
    let lab = lab!("MaxSessions 2");
    let node = lab.connect().await;
    let held = node.hold(&script("cat")).await.unwrap();
    let on = script("echo on");
    for _ in 0..4 {
        assert_eq!(node.run(&on).await.unwrap().text(), "on\n");
    }
    let (one, two) = tokio::join!(node.run(&on), node.run(&on));
    assert_eq!(
        (one.unwrap().text(), two.unwrap().text()),
        ("on\n".into(), "on\n".into())
    );
    held.release().await.unwrap();
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
    perform::send(&node, &source, "~/bin/it's", &digest(&content))
        .await
        .unwrap();
    let target = lab.at("home/bin/it's");
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(
        fs::metadata(&target).unwrap().permissions().mode() & 0o777,
        0o755
    );

    let error = perform::send(&node, &source, "~/bin/it's", &digest(b""))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another digest"), "{error}");
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(fs::read_dir(lab.at("home/bin")).unwrap().count(), 1);

    // The shell is gone long before all is sent.
    let error = perform::send(&node, &source, "/proc/no/file", &digest(&content))
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
async fn a_peer_that_froze_is_given_up_even_in_the_middle_of_a_write() {
    let lab = lab!();
    let options = ConnectOptions {
        keepalive: Duration::from_secs(1),
        ..lab.options()
    };
    let node = connect("spark", &options).await.unwrap();
    let sshd = node.run(&script("echo $PPID")).await.unwrap();
    let sshd = sshd.text().trim().to_owned();
    let signal = |name: &str| {
        let sent = Program::new("kill").args([name, &sshd]).status();
        assert!(sent.unwrap().success());
    };
    let source = lab.at("source");
    fs::write(&source, vec![7; 64 * 1024 * 1024]).unwrap();
    // Nobody reads there, so the upload is stuck in a write when the connection dies.
    let mut held = node
        .hold(&script("echo held; cat >/dev/null"))
        .await
        .unwrap();
    assert_eq!(held.next_line().await.as_deref(), Some("held"));
    signal("-STOP");
    let error = perform::send(&node, &source, "~/target", "")
        .await
        .unwrap_err();
    assert!(error.is_connection_lost(), "{error}");
    assert_eq!(held.next_line().await, None);
    let error = held.release().await.unwrap_err();
    assert!(matches!(error, NodeError::OutcomeUnknown { .. }), "{error}");
    signal("-KILL");
}

#[tokio::test]
async fn what_was_started_outlives_the_connection_and_is_found_again() {
    let lab = lab!();
    let mark = format!("v1:test-{:016x}:instance/a:", fastrand::u64(..));
    let launch = sleeping(&mark);
    let started = perform::launch(&lab.connect().await, &launch)
        .await
        .unwrap();
    let again = perform::launch(&lab.connect().await, &launch)
        .await
        .unwrap();
    assert!(again.already && again.pid == started.pid);
    let stop = Stop {
        address: launch.address.clone(),
        mark_prefix: mark,
        ports: vec![lab.port],
        grace: Some(Duration::from_secs(60)),
    };
    // The port is sshd's: foreign, named, and left alone.
    let failure = perform::stop(&lab.connect().await, &stop, &|_| {}).await;
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("(sshd, user "), "{failure:?}");
    gone(&started.pid.to_string()).await;
    assert!(
        lab.connect()
            .await
            .run(&script("true"))
            .await
            .unwrap()
            .success()
    );
}
