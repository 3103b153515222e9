//! What stands in the way, and the ways around.

use super::*;

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

/// An sshd that drops connections where too many are on their way lets all nodes in that come at once.
#[tokio::test]
async fn sixty_nodes_of_one_sshd_all_get_in() {
    let lab = lab!("MaxStartups 10:30:60");
    lab.write_known(&format!("* {}", lab.public("host_ed25519.pub")));
    // It does drop some of as many who come at once and do not wait for each other.
    let mut strangers = Vec::new();
    for _ in 0..60 {
        strangers.push(TcpStream::connect(("127.0.0.1", lab.port)).await.unwrap());
    }
    let log = || std::fs::read_to_string(lab.at("sshd.log")).unwrap();
    let mut looks = 0..1000;
    while !log().contains("MaxStartups") {
        assert!(looks.next().is_some(), "nobody was dropped: {}", log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(strangers);

    let options = lab.options();
    let mut connecting = tokio::task::JoinSet::new();
    for i in 0..60 {
        let options = options.clone();
        connecting.spawn(async move { connect(&format!("node-{i}"), &options).await });
    }
    let mut nodes = Vec::new();
    while let Some(node) = connecting.join_next().await {
        nodes.push(node.unwrap().unwrap());
    }
    let mut parents = std::collections::BTreeSet::new();
    for node in &nodes {
        let output = node.run(&script("echo $PPID")).await.unwrap();
        parents.insert(output.text().into_owned());
    }
    assert_eq!(parents.len(), 60);
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

/// Every way to forbid it is told from a port where nobody listens, or somebody does.
#[tokio::test]
async fn forbidden_forwarding_is_told_apart() {
    let silent = free_port();
    let listener = Socket::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap().port();
    let only_open = format!("PermitOpen 127.0.0.1:{open}");
    for (option, forbids) in [
        ("AllowTcpForwarding yes", [false, false]),
        ("AllowTcpForwarding local", [false, false]),
        ("AllowTcpForwarding no", [true, true]),
        ("AllowTcpForwarding remote", [true, true]),
        ("DisableForwarding yes", [true, true]),
        ("PermitOpen none", [true, true]),
        (only_open.as_str(), [true, false]),
    ] {
        let node = lab!(option).connect().await;
        for (port, forbids) in [silent, open].into_iter().zip(forbids) {
            assert_eq!(node.forbids("127.0.0.1", port).await, forbids, "{option}");
        }
    }
    for (restriction, forbids) in [("restrict", true), ("restrict,port-forwarding", false)] {
        let lab = lab!();
        let key = lab.public("id.pub");
        fs::write(lab.at("authorized_keys"), format!("{restriction} {key}")).unwrap();
        let node = lab.connect().await;
        assert_eq!(
            node.forbids("127.0.0.1", silent).await,
            forbids,
            "{restriction}"
        );
    }
}

/// Nothing is waited for that could never be asked, however patient somebody is.
#[tokio::test]
async fn a_server_behind_forbidden_forwarding_is_not_waited_for() {
    let lab = lab!("AllowTcpForwarding no");
    let node = lab.connect().await;
    let mark = format!("v1:test-{:016x}:instance/a:", fastrand::u64(..));
    let launch = sleeping(&mark);
    perform::launch(&node, &launch).await.unwrap();
    let ready = WaitReady {
        address: launch.address.clone(),
        mark: launch.mark,
        probe: Probe {
            host: "127.0.0.1".to_owned(),
            port: free_port(),
            checks: Vec::new(),
        },
        log: launch.log,
        patience: Duration::from_secs(3_600_000),
        expected: None,
        predecessor: None,
        log_reader: LogReader::None,
    };
    let failure = perform::wait_ready(&node, &ready, &|_| {}).await;
    let stop = Stop {
        address: launch.address,
        mark_prefix: mark,
        ports: Vec::new(),
        grace: Some(Duration::from_secs(60)),
    };
    perform::stop(&node, &stop, &|_| {}).await.unwrap();
    let failure = failure.unwrap_err();
    assert_eq!(
        failure.message,
        "it cannot be asked whether it is ready: spark-01 forbids forwarding"
    );
    assert!(failure.hint.unwrap().contains("AllowTcpForwarding"));
}

#[tokio::test]
async fn a_jump_host_that_forbids_forwarding_is_told() {
    let lab = lab!("AllowTcpForwarding no");
    lab.write_known(&format!("* {}", lab.public("host_ed25519.pub")));
    lab.configure("Host spark\nProxyJump first\n");
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        obstacle.to_string().contains("forbids forwarding"),
        "{obstacle}"
    );
    assert!(hint.contains("AllowTcpForwarding"), "{hint}");
}
