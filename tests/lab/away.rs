//! Nodes that cannot be reached: unknown, never absent.

use serde_json::json;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change, pending, reasons};
use super::stage::{eventually, scenario, until};

/// Takes spark-02 away with something to do on spark-01, and brings it back.
fn unknown_and_not_absent(lab: &Lab, away: impl Fn(&Lab), back: impl Fn(&Lab)) {
    let laptop = Laptop::with(lab, DEMO);
    laptop.applies();
    let (a, b) = (
        lab.leader("spark-01", "instance/a"),
        lab.leader("spark-02", "instance/b"),
    );
    lab.exec("spark-01", &format!("kill -9 -{}", a.pid));
    until("a is gone", || {
        lab.marked("spark-01", "v1:demo:instance/a:").is_empty()
    });
    away(lab);

    let plan = laptop.replica("plan --json").exits(4).json();
    assert_eq!(
        pending(&plan),
        [
            "blocked spark-02/program",
            "create spark-01/instance.a",
            "blocked spark-02/instance.b"
        ]
    );
    let said = reasons(change(&plan, "spark-02/instance.b"));
    assert!(said.contains("unknown"), "{said}");
    laptop.replica("apply -y").exits(4).shows("spark-02");
    lab.leader("spark-01", "instance/a");
    assert!(lab.lives("spark-02", &b), "nothing was done to it");
    let status = laptop.replica("status --json").exits(4).json();
    assert_eq!(status["nodes"]["spark-02"]["reachable"], false);

    back(lab);
    let applied = eventually("it is reached again", || {
        let done = laptop.replica("apply -y --json");
        (!done.out.contains("\"unreachable\": [\n")).then_some(done)
    });
    applied.exits(0);
    assert!(lab.lives("spark-02", &b), "it ran all the time");
    laptop.is_converged();
}

/// The cable is pulled.
#[test]
fn a_node_whose_cable_is_pulled_is_unknown_and_the_rest_converges() {
    scenario("3", |lab| {
        unknown_and_not_absent(lab, |lab| lab.does("cut spark-02"), |lab| lab.does("heal"));
    });
}

/// A firewall resets every connection.
#[test]
fn a_node_that_refuses_is_unknown_and_the_rest_converges() {
    scenario("3", |lab| {
        let away = |lab: &Lab| lab.does("cut spark-02 --mode reject");
        unknown_and_not_absent(lab, away, |lab| lab.does("heal"));
    });
}

/// No SSH server listens; the servers that we started do not mind.
#[test]
fn a_node_without_an_ssh_server_is_unknown_and_the_rest_converges() {
    scenario("3", |lab| {
        let away = |lab: &Lab| lab.does("stop-sshd spark-02 --all");
        unknown_and_not_absent(lab, away, |lab| lab.does("start-sshd spark-02"));
    });
}

/// What cannot be reached cannot be destroyed either, and is not said to be.
#[test]
fn destroy_says_that_a_node_was_not_reached_and_ends_the_work_later() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        lab.does("cut spark-02 --mode reject");
        laptop.replica("destroy -y").exits(4).shows("spark-02");
        assert_eq!(lab.marked("spark-01", "v1:"), []);
        assert!(lab.lives("spark-02", &b));
        lab.does("heal");
        laptop.replica("destroy -y").exits(0);
        assert_eq!(lab.marked("spark-02", "v1:"), []);
    });
}

/// After a reboot everything of that node is gone, and only that is made again.
#[test]
fn a_rebooted_node_is_made_again() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let (b, proxy) = (
            lab.leader("spark-02", "instance/b"),
            lab.leader("controller", "proxy"),
        );
        lab.does("reboot spark-01");
        assert_eq!(lab.marked("spark-01", "v1:"), []);
        let plan = laptop
            .replica("plan --json --detailed-exitcode")
            .exits(2)
            .json();
        assert_eq!(pending(&plan)[0], "create spark-01/instance.a");
        laptop.applies();
        lab.leader("spark-01", "instance/a");
        assert!(lab.lives("spark-02", &b) && lab.lives("controller", &proxy));
        laptop.is_converged();
    });
}

/// The node with the proxy may be the one that is rebooted.
#[test]
fn a_rebooted_controller_gets_its_proxy_back() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let (a, b) = (
            lab.leader("spark-01", "instance/a"),
            lab.leader("spark-02", "instance/b"),
        );
        lab.does("reboot controller");
        let plan = laptop.plan();
        assert_eq!(pending(&plan), ["create controller/proxy"]);
        laptop.applies();
        assert!(lab.lives("spark-01", &a) && lab.lives("spark-02", &b));
        let status = laptop.replica("status --json --exit-code").exits(0).json();
        assert_eq!(status["proxy"]["ready"], true);
        laptop.is_converged();
    });
}

/// Whoever is out of reach does not count as serving: the other is not stopped, and clients are answered.
#[test]
fn the_last_in_reach_goes_on_serving() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let a = lab.leader("spark-01", "instance/a");
        let other = DEMO.replace("fast}}", "fast}, args: {max_num_seqs: 64}}");
        laptop.declares(&other);
        lab.does("cut spark-02");

        let plan = laptop.replica("plan --json").exits(4).json();
        let said = reasons(change(&plan, "spark-01/instance.a"));
        assert!(said.contains("clients would be left with nobody"), "{said}");
        laptop
            .replica("apply -y")
            .shows("spark-02 did not answer")
            .exits(1);
        assert!(lab.lives("spark-01", &a), "nobody else is seen to serve");

        lab.does("heal");
        let applied = eventually("it is reached again", || {
            let done = laptop.replica("apply -y --json");
            (!done.out.contains("\"unreachable\": [\n")).then_some(done)
        });
        let applied = applied.exits(0).json();
        assert_eq!(applied["capacity"]["serving"], json!([2, 1, 2, 1, 2]));
        assert!(!lab.lives("spark-01", &a));
        laptop.is_converged();
    });
}

/// Only what a node holds is changed, and what is left out is named.
#[test]
fn a_run_can_be_limited_to_a_node() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        let other = DEMO.replace("fast}}", "fast}, args: {max_num_seqs: 64}}");
        laptop.declares(&other);
        let done = laptop.replica("apply -y --limit spark-01 --json").exits(0);
        let done = done.json();
        assert_eq!(pending(&done), ["replace spark-01/instance.a"]);
        assert_eq!(done["left_out"], json!(["spark-02/instance.b"]));
        assert!(lab.lives("spark-02", &b));
        let plan = laptop.plan();
        assert_eq!(pending(&plan), ["replace spark-02/instance.b"]);
        laptop.applies();
        laptop.is_converged();
    });
}
