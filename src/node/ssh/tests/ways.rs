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
