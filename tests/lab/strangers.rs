//! What is left of ours, and what was never ours: the first is put right, the second is named and
//! never touched.

use std::fs;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change, pending, reasons};
use super::stage::{scenario, until};

/// Listens as vLLM does, so that others may share its port, and answers nobody.
const SHARER: &str = "\
import socket, sys, time
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[2], int(sys.argv[3])))
s.listen()
time.sleep(1000)
";

fn install_sharer(lab: &Lab, host: &str) {
    let file = lab.folder().join("sharer.py");
    fs::write(&file, SHARER).unwrap();
    lab.install(host, &file, "/opt/lab/bin/vllm");
}

/// An API server that was killed leaves its engine behind; it is reaped, and that alone repaired.
#[test]
fn an_orphaned_engine_is_named_reaped_and_replaced_alone() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let (a, b) = (
            lab.leader("spark-01", "instance/a"),
            lab.leader("spark-02", "instance/b"),
        );
        let proxy = lab.leader("controller", "proxy");
        lab.exec("spark-02", &format!("kill -9 {}", b.pid));
        until("the server is gone", || !lab.lives("spark-02", &b));
        let left = lab.processes("spark-02");
        let orphan = left.iter().find(|it| it.session == b.pid);
        let orphan = orphan.expect("its engine lives on, as vLLM's does");

        let plan = laptop
            .replica("plan --json --detailed-exitcode")
            .exits(2)
            .json();
        assert_eq!(pending(&plan), ["replace spark-02/instance.b"]);
        let said = reasons(change(&plan, "spark-02/instance.b"));
        assert!(said.contains(&format!("pid {}", orphan.pid)), "{said}");

        laptop.applies();
        assert!(!lab.lives("spark-02", orphan));
        assert_ne!(lab.leader("spark-02", "instance/b").pid, b.pid);
        assert!(lab.lives("spark-01", &a) && lab.lives("controller", &proxy));
        laptop.is_converged();
    });
}

/// A foreign listener on a wanted port blocks that instance, by pid, user and command; all else is
/// made, and the listener never notices.
#[test]
fn a_foreign_listener_on_a_wanted_port_is_named_and_left_alone() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let stranger = lab.starts("spark-02", "python3 -m http.server 8200");
        until("it listens", || lab.listeners("spark-02", 8200) == 1);
        let plan = laptop
            .replica("plan --json --detailed-exitcode")
            .exits(2)
            .json();
        let b = change(&plan, "spark-02/instance.b");
        assert_eq!(b["action"], "blocked");
        let said = reasons(b);
        for words in [
            &format!("pid {stranger}"),
            "user nvidia",
            "http.server 8200",
            "port 8200",
        ] {
            assert!(said.contains(words), "{said}");
        }
        laptop
            .replica("apply -y")
            .exits(6)
            .shows(&format!("pid {stranger} of user nvidia"));
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.leaders("spark-02", "instance/b"), []);
        assert!(
            lab.processes("spark-02")
                .iter()
                .any(|it| it.pid == stranger)
        );
        // Nothing more can be done: what was made is no longer news.
        laptop.replica("apply -y").exits(1);
        lab.exec("spark-02", &format!("kill {stranger}"));
        until("the port is free", || lab.listeners("spark-02", 8200) == 0);
        laptop.applies();
        laptop.is_converged();
    });
}

/// A listener of another user cannot be looked into, and is told by its user's number.
#[test]
fn a_listener_of_another_user_blocks_without_being_seen() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        lab.exec(
            "spark-02",
            "setsid python3 -m http.server 8200 >/dev/null 2>&1 </dev/null &",
        );
        until("it listens", || lab.listeners("spark-02", 8200) == 1);
        let plan = laptop.plan();
        let b = change(&plan, "spark-02/instance.b");
        assert_eq!(b["action"], "blocked");
        let said = reasons(b);
        assert!(
            said.contains("port 8200") && said.contains("another user (uid 0)"),
            "{said}"
        );
        laptop.replica("apply -y").exits(6).shows("uid 0");
        assert_eq!(lab.listeners("spark-02", 8200), 1);
    });
}

/// vLLM shares its port with whoever asks (SO_REUSEPORT): a stale one beside ours takes half of
/// its requests, so ours is not as declared, and the other is named.
#[test]
fn a_stale_server_that_shares_a_port_with_ours_is_found() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        install_sharer(lab, "spark-02");
        let stale = lab.starts(
            "spark-02",
            "python3 /opt/lab/bin/vllm serve 10.77.0.12 8200",
        );
        until("both listen", || lab.listeners("spark-02", 8200) == 2);
        let plan = laptop
            .replica("plan --json --detailed-exitcode")
            .exits(2)
            .json();
        let change = change(&plan, "spark-02/instance.b");
        assert_eq!(change["action"], "blocked");
        let said = reasons(change);
        assert!(
            said.contains(&format!("pid {stale} of user nvidia")),
            "{said}"
        );
        assert!(
            plan["foreign"]
                .to_string()
                .contains(&format!("pid {stale}")),
            "{plan:#}"
        );
        laptop.replica("apply -y").exits(1);
        assert!(lab.lives("spark-02", &b));
        assert!(lab.processes("spark-02").iter().any(|it| it.pid == stale));
        lab.exec("spark-02", &format!("kill {stale}"));
        until("ours is alone", || lab.listeners("spark-02", 8200) == 1);
        laptop.is_converged();
    });
}

/// A port that another topology holds is a conflict, and names its owner.
#[test]
fn a_port_of_another_topology_is_a_conflict_that_names_its_owner() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        let other = DEMO
            .replace("topology: demo", "topology: other")
            .replace("8192", "8193");
        let other = Laptop::named("colleague", lab, &other.replace("8100", "8101"));
        let plan = other.plan();
        let said = reasons(change(&plan, "spark-02/instance.b"));
        assert!(said.contains("instance.b of topology `demo`"), "{said}");
        other.replica("apply -y").exits(6);
        other.replica("destroy -y").exits(0);
        assert!(
            lab.lives("spark-02", &b),
            "what is another's is not destroyed"
        );
        laptop.is_converged();
    });
}
