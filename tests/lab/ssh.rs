//! SSH with its traps: host keys, jumps, shells that talk, limits, full disks, wrong clocks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change, reasons};
use super::stage::{is_bare, scenario, skip};

fn nothing_was_done(lab: &Lab) {
    for host in ["controller", "spark-01", "spark-02"] {
        assert_eq!(lab.marked(host, "v1:"), [], "{host}");
        is_bare(lab, host);
    }
}

/// A configuration of the lab's hosts that differs from the lab's own in these lines.
fn config(lab: &Lab, known_hosts: &Path, more: &str) -> String {
    let mut text = String::from(more);
    for (host, address) in [
        ("controller", "10.77.0.10"),
        ("spark-01", "10.77.0.11"),
        ("spark-02", "10.77.0.12"),
    ] {
        let _ = writeln!(text, "Host {host}\n  HostName {address}");
    }
    text + &format!(
        "Host *\n  User nvidia\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
        lab.file("id_lab").display(),
        known_hosts.display()
    )
}

/// A host key that nobody knows is refused; the command that is told makes it known.
#[test]
fn an_unknown_host_key_is_refused_with_the_command_that_makes_it_known() {
    scenario("3", |lab| {
        let known = lab.folder().join("my_known_hosts");
        fs::write(&known, "").unwrap();
        let laptop = Laptop::with(lab, DEMO).with_ssh_config(&config(lab, &known, ""));
        let done = laptop.replica("apply -y").exits(4).shows("is not known");
        nothing_was_done(lab);
        let flat = done.err.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut remedies: Vec<String> = flat
            .match_indices("ssh-keyscan ")
            .map(|(at, _)| {
                let words: Vec<_> = flat[at..].split(' ').take(6).collect();
                words.join(" ")
            })
            .collect();
        remedies.sort();
        remedies.dedup();
        assert_eq!(remedies.len(), 3, "{done}");
        for remedy in remedies {
            assert!(remedy.ends_with(known.to_str().unwrap()), "{remedy}");
            let status = Command::new("sh")
                .arg("-c")
                .arg(&remedy)
                .output()
                .unwrap()
                .status;
            assert!(status.success(), "{remedy}");
        }
        laptop.applies();
    });
}

/// A host key that changed, or is revoked, is refused; the other nodes converge.
#[test]
fn a_changed_or_revoked_host_key_is_refused_and_the_rest_converges() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        lab.does("rekey spark-02");
        laptop.replica("apply -y").exits(4).shows("ssh-keygen -R");
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.marked("spark-02", "v1:"), []);

        let known = lab.file("known_hosts");
        let text = fs::read_to_string(&known).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("spark-01"))
            .unwrap();
        let key = line.split_once(' ').unwrap().1;
        fs::write(&known, format!("{text}@revoked * {key}\n")).unwrap();
        let plan = laptop.replica("plan --json").exits(4).json();
        assert!(
            plan["unreachable"].to_string().contains("revoked"),
            "{plan:#}"
        );
        assert_eq!(change(&plan, "spark-01/instance.a")["action"], "blocked");
    });
}

/// Nodes that only the controller may connect to are reached through it.
#[test]
fn nodes_behind_a_jump_host_are_reached_through_it() {
    scenario("3", |lab| {
        for host in ["spark-01", "spark-02"] {
            lab.does_with(&["sshd", host, "AllowUsers nvidia@10.77.0.10"]);
        }
        let laptop = Laptop::with(lab, DEMO);
        laptop
            .replica("plan")
            .exits(4)
            .shows("does not let `nvidia` in");
        let known = lab.file("known_hosts");
        let jumping = "Host spark-*\n  ProxyJump controller\n";
        let laptop = laptop.with_ssh_config(&config(lab, &known, jumping));
        laptop.applies();
        laptop.is_converged();
        let status = laptop.replica("status --json").exits(0).json();
        assert_eq!(status["converged"], true);
        laptop.replica("destroy -y").exits(0);
    });
}

/// Login shells that talk, before our shell and on both outputs, are not listened to.
#[test]
fn a_login_shell_that_talks_is_not_listened_to() {
    scenario("3", |lab| {
        for host in ["controller", "spark-01", "spark-02"] {
            lab.exec(
                host,
                "printf 'echo \"hi from bashrc\"; seq 2000; echo oops >&2\\n' \
                 >/home/nvidia/.bashrc",
            );
        }
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies().hides("hi from bashrc");
        laptop.is_converged();
        lab.leader("spark-01", "instance/a");
        laptop.replica("destroy -y").exits(0);
    });
}

/// What start files export changes what tools print, and nothing of what is seen or done.
#[test]
fn start_files_that_change_what_tools_print_change_nothing() {
    scenario("3", |lab| {
        let exports = lab.folder().join("exports");
        fs::write(
            &exports,
            "export QUOTING_STYLE=shell-always TIME_STYLE=+%Y BLOCK_SIZE=1M POSIXLY_CORRECT=1\n\
             export GREP_OPTIONS=--color=always CDPATH=/ TMOUT=1 LC_ALL=de_DE.UTF-8\n\
             ls() { echo a fool; }; export -f ls; stat() { false; }; export -f stat\n\
             alias cat=false; set -o noclobber; export SHELLOPTS\n",
        )
        .unwrap();
        for host in ["controller", "spark-01", "spark-02"] {
            lab.install(host, &exports, "/home/nvidia/.bashrc");
            // There `sh` is bash, which takes functions out of the environment.
            lab.exec(host, "ln -sf /bin/bash /usr/local/bin/sh");
        }
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        laptop.is_converged();
        lab.leader("spark-01", "instance/a");
        laptop.replica("destroy -y").exits(0);
        is_bare(lab, "spark-01");
    });
}

/// Whatever login shell a user has, the scripts run in a POSIX one.
#[test]
fn the_login_shell_does_not_matter() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        for shell in [
            "/bin/dash",
            "/usr/bin/fish",
            "/usr/bin/zsh",
            "/usr/bin/tcsh",
        ] {
            let there = lab.exec("spark-01", &format!("[ -x {shell} ] && echo yes || true"));
            if there.is_empty() {
                continue;
            }
            let set = format!(
                "sed 's#^\\(nvidia:.*:\\).*#\\1{shell}#' /etc/passwd >/etc/p && cat /etc/p >/etc/passwd"
            );
            lab.exec("spark-01", &set);
            lab.exec(
                "spark-01",
                &format!("grep -q '^nvidia.*{shell}$' /etc/passwd"),
            );
            laptop.applies();
            laptop.is_converged();
            laptop.replica("destroy -y").exits(0);
        }
    });
}

/// A node that runs no commands for us is not locked by anybody, and nothing is changed.
#[test]
fn a_node_that_runs_no_commands_is_told_and_nothing_is_changed() {
    scenario("3", |lab| {
        lab.does_with(&["sshd", "spark-02", "ForceCommand internal-sftp"]);
        let laptop = Laptop::with(lab, DEMO);
        laptop.replica("plan").exits(4).shows("spark-02");
        let done = laptop.replica("apply -y").exits(1);
        done.shows("spark-02 cannot be locked").hides("another run");
        nothing_was_done(lab);
    });
}

/// An sshd that gives two sessions a connection is enough, also for two servers that load at once.
#[test]
fn an_sshd_with_two_sessions_is_enough() {
    scenario("2", |lab| {
        lab.does_with(&["sshd", "spark-01", "MaxSessions 2"]);
        let manifest = DEMO
            .replace(
                "  spark-02: {ssh: spark-02, addresses: {lan: 10.77.0.12}}\n",
                "",
            )
            .replace("b: {node: spark-02", "b: {node: spark-01")
            .replace("{simulate:", "{args: {sim_load_seconds: 6}, simulate:");
        let laptop = Laptop::with(lab, &manifest);
        laptop.applies();
        laptop.is_converged();
    });
}

/// A full disk is planned, with what is lacking; the program that is there stays.
#[test]
fn a_full_disk_is_planned_and_keeps_the_old_program() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let a = lab.leader("spark-01", "instance/a");
        let old = lab.exec(
            "spark-01",
            "sha256sum /home/nvidia/.local/state/replica/demo/bin/*",
        );
        lab.does("fill spark-01");
        let newer = laptop.of_another_build();
        let plan = newer.plan();
        let program = change(&plan, "spark-01/program");
        assert_eq!(program["action"], "blocked", "{plan:#}");
        assert_eq!(program["reasons"][0]["code"], "disk_full", "{plan:#}");
        newer.replica("apply -y").exits(6).shows("MB left of the");
        assert_eq!(
            lab.exec(
                "spark-01",
                "sha256sum /home/nvidia/.local/state/replica/demo/bin/*"
            ),
            old
        );
        assert!(lab.lives("spark-01", &a), "what serves goes on");
        lab.does("unfill spark-01");
        newer.applies();
        newer.is_converged();
    });
}

/// A node whose clock is a day ahead is like any other.
#[test]
fn a_wrong_clock_is_harmless() {
    scenario("3", |lab| {
        let library = std::fs::read_dir("/usr/lib")
            .unwrap()
            .flatten()
            .any(|folder| folder.path().join("faketime/libfaketime.so.1").exists());
        if !library {
            return skip("a wrong clock", "needs libfaketime");
        }
        lab.does("skew spark-01 86400");
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        laptop.is_converged();
        lab.does("skew spark-01 -86400");
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
    });
}

/// A user who may not log in is told which keys were offered.
#[test]
fn a_refused_login_is_told_with_the_keys_that_were_offered() {
    scenario("3", |lab| {
        lab.does_with(&["sshd", "spark-02", "AllowUsers root"]);
        let laptop = Laptop::with(lab, DEMO);
        let plan = laptop.replica("plan --json").exits(4).json();
        assert!(
            plan["unreachable"].to_string().contains("id_lab"),
            "{plan:#}"
        );
        let said = reasons(change(&plan, "spark-02/instance.b"));
        assert!(said.contains("unknown"), "{said}");
    });
}

/// That an sshd forbids forwarding is said by the plan, in every way in which it can; what serves
/// behind it stays, and the rest converges.
#[test]
fn forbidden_forwarding_is_planned_and_not_waited_for() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let authorized = "/home/nvidia/.ssh/authorized_keys";
        for option in [
            "AllowTcpForwarding no",
            "PermitOpen none",
            "DisableForwarding yes",
        ] {
            lab.does_with(&["sshd", "spark-02", option]);
            let plan = laptop.plan();
            let b = change(&plan, "spark-02/instance.b");
            assert_eq!(b["action"], "blocked", "{option}: {plan:#}");
            assert_eq!(b["reasons"][0]["code"], "forwarding_forbidden", "{plan:#}");
            assert_eq!(change(&plan, "spark-01/instance.a")["action"], "create");
        }
        lab.does_with(&["sshd", "spark-02"]);
        lab.exec(
            "spark-02",
            &format!("sed -i 's/^ssh-/restrict &/' {authorized}"),
        );
        assert_eq!(
            change(&laptop.plan(), "spark-02/instance.b")["action"],
            "blocked"
        );
        laptop
            .replica("apply -y")
            .exits(6)
            .shows("forbids forwarding");
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.marked("spark-02", "v1:"), []);

        lab.exec("spark-02", &format!("sed -i 's/^restrict //' {authorized}"));
        laptop.applies();
        lab.does_with(&["sshd", "spark-02", "AllowTcpForwarding no"]);
        laptop.is_converged();
        lab.leader("spark-02", "instance/b");
    });
}
