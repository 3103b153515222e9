//! Whether it is the right machine, and whether it lets us in.

use super::*;

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
    let command = format!(
        "ssh-keyscan -t ed25519 -p {} 127.0.0.1 >> {}",
        lab.port,
        lab.at("known_hosts").display()
    );
    assert!(hint.contains(&command), "{hint}");
    // The command does what is promised.
    let scan = Program::new("sh")
        .args(["-c", &command])
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
    let command = hint.split_once(": ").unwrap().1;
    let mended = Program::new("sh").args(["-c", command]).output().unwrap();
    assert!(mended.status.success(), "{command}");
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
