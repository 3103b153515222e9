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
    lab.write_known(&format!("@cert-authority * {}", lab.public("ca.pub")));
    let (_, hint) = lab.obstacle().await;
    assert!(hint.contains("is missing: it shows none"), "{hint}");
}

#[tokio::test]
async fn a_host_is_believed_by_the_certificate_of_an_authority_that_is_known() {
    let lab = lab!("HostCertificate @/host_ed25519-cert.pub");
    let authority = format!("@cert-authority 127.0.0.* {}", lab.public("ca.pub"));
    lab.write_known(&authority);
    lab.connect().await;
    // By its key alone, as before; and by another's authority not at all.
    lab.know("host_ed25519.pub");
    lab.connect().await;
    let stranger = format!("@cert-authority * {}", lab.public("id.pub"));
    lab.write_known(&stranger);
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        matches!(obstacle, Obstacle::UnknownKey { .. }),
        "{obstacle:?}"
    );
    assert!(
        hint.contains("its certificate is signed by another"),
        "{hint}"
    );
    // What the key itself says holds where the certificate does not count.
    lab.write_known(&format!(
        "{stranger}{} {}",
        lab.name(),
        lab.public("host_ed25519.pub")
    ));
    lab.connect().await;
    for stolen in ["ca.pub", "host_ed25519.pub"] {
        lab.write_known(&format!("{authority}@revoked * {}", lab.public(stolen)));
        let (obstacle, _) = lab.obstacle().await;
        assert!(
            matches!(obstacle, Obstacle::RevokedKey { line: 2, .. }),
            "{obstacle:?}"
        );
    }
    lab.write_known(&authority);
    fs::copy(lab.at("host_ed25519.pub"), lab.at("stolen")).unwrap();
    lab.configure(&format!("RevokedHostKeys {}", lab.at("stolen").display()));
    let (obstacle, _) = lab.obstacle().await;
    assert!(
        matches!(obstacle, Obstacle::RevokedKey { line: 1, .. }),
        "{obstacle:?}"
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_told_with_why() {
    let lab = lab!("HostCertificate @/host_ed25519-cert.pub");
    lab.write_known(&format!("@cert-authority * {}", lab.public("ca.pub")));
    for (words, why) in [
        (
            "-h -n spark-01,spark-02",
            "is for spark-01, spark-02, and not for 127.0.0.1",
        ),
        ("-h -n 127.0.0.1 -V 20200101:20200201", "ended at 2020-0"),
        (
            "-h -n 127.0.0.1 -V 20990101:20990201",
            "begins to be good at 20",
        ),
        ("-n 127.0.0.1", "is one for users"),
    ] {
        certify(lab.folder.path(), "host_ed25519", words);
        let (obstacle, hint) = lab.obstacle().await;
        assert!(
            matches!(obstacle, Obstacle::UnknownKey { .. }),
            "{obstacle:?}"
        );
        assert!(hint.contains(why), "{words}: {hint}");
    }
    certify(lab.folder.path(), "host_ed25519", "-h -n alias");
    lab.configure("HostKeyAlias alias");
    lab.connect().await;
}

#[tokio::test]
async fn a_user_gets_in_by_a_certificate_wherever_its_key_is() {
    let lab = lab!("TrustedUserCAKeys @/ca.pub");
    fs::write(lab.at("authorized_keys"), "").unwrap();
    let user = Program::new("id").arg("-un").output().unwrap().stdout;
    let words = format!("-n {}", String::from_utf8(user).unwrap().trim());
    // Beside the key.
    certify(lab.folder.path(), "id", &words);
    lab.connect().await;
    // By name, as it is in a folder of its own; of an RSA key too.
    keygen("rsa", &lab.at("rsa"), "");
    certify(lab.folder.path(), "rsa", &words);
    fs::create_dir(lab.at("c d")).unwrap();
    fs::rename(lab.at("rsa-cert.pub"), lab.at("c d/rsa.pub")).unwrap();
    fs::remove_file(lab.at("id-cert.pub")).unwrap();
    let named = format!(
        "IdentityFile {}\nCertificateFile \"{}\"",
        lab.at("rsa").display(),
        lab.at("c d/rsa.pub").display()
    );
    lab.configure(&named);
    lab.connect().await;
    // The agent has the key, and nothing of the certificate.
    let agent = Agent::start(&lab);
    agent.add("rsa");
    fs::remove_file(lab.at("rsa")).unwrap();
    lab.configure(&format!("{named}\n{}", agent.option()));
    lab.connect().await;
    // Nobody has it.
    lab.configure(&named);
    let (obstacle, _) = lab.obstacle().await;
    assert!(
        obstacle
            .to_string()
            .contains("neither a file nor the agent has its key"),
        "{obstacle}"
    );
}

/// The key that the configuration names is offered first; where none is, a full agent is told.
#[tokio::test]
async fn an_agent_of_many_keys_gets_in_by_the_one_that_is_named() {
    let lab = lab!("MaxAuthTries 3");
    let agent = Agent::start(&lab);
    for number in 0..8 {
        let name = format!("other{number}");
        keygen("ed25519", &lab.at(&name), "");
        agent.add(&name);
    }
    agent.add("id");
    let socket = agent.option();
    lab.configure(&format!("{socket}\nIdentitiesOnly no"));
    lab.connect().await;
    // Its key, and not its private half, is at hand.
    fs::rename(lab.at("id"), lab.at("elsewhere")).unwrap();
    lab.configure(&socket);
    lab.connect().await;
    fs::remove_file(lab.at("id.pub")).unwrap();
    lab.configure(&format!("{socket}\nIdentitiesOnly no"));
    let (obstacle, hint) = lab.obstacle().await;
    assert!(
        matches!(obstacle, Obstacle::AuthRefused { hung_up: true, .. }),
        "{obstacle:?}"
    );
    assert!(
        hint.contains("MaxAuthTries") && hint.contains("IdentitiesOnly yes"),
        "{hint}"
    );
}

#[tokio::test]
async fn a_server_without_an_algorithm_in_common_is_told_what_to_change() {
    for (option, told) in [
        (
            "KexAlgorithms sntrup761x25519-sha512@openssh.com",
            "KexAlgorithms",
        ),
        ("Ciphers aes128-cbc", "Ciphers"),
        ("MACs umac-64@openssh.com\nCiphers aes256-ctr", "MACs"),
    ] {
        let lab = lab!(option);
        let (obstacle, hint) = lab.obstacle().await;
        assert!(
            matches!(obstacle, Obstacle::Protocol { .. }),
            "{obstacle:?}"
        );
        assert!(hint.contains(told), "{option}: {obstacle}: {hint}");
    }
}

#[tokio::test]
async fn a_server_that_takes_the_curves_of_nist_alone_is_understood() {
    for curve in ["256", "384", "521"] {
        let lab = lab!(&format!("KexAlgorithms ecdh-sha2-nistp{curve}"));
        lab.connect().await;
    }
    let lab = lab!("Ciphers aes128-gcm@openssh.com");
    lab.connect().await;
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
    let agent = Agent::start(&lab);
    agent.add("rsa");
    agent.add("id");
    let locked = Program::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "a passphrase", "-f"])
        .arg(lab.at("rsa"))
        .status()
        .unwrap();
    assert!(locked.success());
    lab.configure(&format!(
        "IdentityFile {}\n{}",
        lab.at("rsa").display(),
        agent.option()
    ));
    lab.connect().await;
}

/// A key is found by the variable in its path.
#[tokio::test]
async fn a_path_of_the_configuration_may_name_variables_and_have_blanks() {
    let lab = lab!();
    fs::create_dir(lab.at("k s")).unwrap();
    fs::rename(lab.at("id"), lab.at("k s/id")).unwrap();
    let home = std::env::var("HOME").unwrap();
    let from_home = "../".repeat(home.matches('/').count());
    lab.configure(&format!(
        "IdentityFile \"${{HOME}}/{from_home}{}/k s/id\"",
        lab.folder.path().display()
    ));
    lab.connect().await;
}

/// An agent of this test.
struct Agent<'a> {
    lab: &'a Lab,
    process: Child,
}

impl<'a> Agent<'a> {
    fn start(lab: &'a Lab) -> Self {
        let socket = lab.at("agent");
        let process = Program::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !socket.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { lab, process }
    }

    fn add(&self, key: &str) {
        let added = Program::new("ssh-add")
            .arg("-q")
            .arg(self.lab.at(key))
            .env("SSH_AUTH_SOCK", self.lab.at("agent"))
            .status()
            .unwrap();
        assert!(added.success());
    }

    /// The line of a configuration that names it.
    fn option(&self) -> String {
        format!("IdentityAgent {}", self.lab.at("agent").display())
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
