//! Ends at bad moments: the next apply goes on from there, and nothing is there twice.

use std::path::Path;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, pending};
use super::stage::{eventually, is_bare, scenario, until};

/// Loads for long enough to be interrupted.
fn slow() -> String {
    DEMO.replace("{simulate:", "{args: {sim_load_seconds: 6}, simulate:")
}

fn has_one_of_each(lab: &Lab) {
    for (host, thing) in [
        ("controller", "proxy"),
        ("spark-01", "instance/a"),
        ("spark-02", "instance/b"),
    ] {
        let leader = lab.leader(host, thing);
        let ours = lab.marked(host, "v1:");
        let others: Vec<_> = ours.iter().filter(|it| it.session != leader.pid).collect();
        assert!(others.is_empty(), "{host}: {others:?}");
    }
    assert_eq!(lab.listeners("spark-01", 8100), 1);
    assert_eq!(lab.listeners("spark-02", 8200), 1);
}

/// Waits until the nodes have noticed that a run is gone: its lock goes with its connection.
fn lock_is_free(lab: &Lab) {
    for host in ["controller", "spark-01", "spark-02"] {
        until("the lock is free", || {
            !lab.files(host).iter().any(|name| name.contains(".lock"))
        });
    }
}

/// Killed while uploading, after a start, and when the proxy has come up: each time the next run
/// goes on, with the processes that there are.
#[test]
fn a_killed_apply_is_gone_on_from_at_every_moment() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        until("something is uploaded", || {
            lab.files("spark-01")
                .iter()
                .any(|name| name.contains("/bin"))
        });
        apply.dies();
        lock_is_free(lab);

        let apply = laptop.starts("apply -y");
        let a = eventually("a is started", || {
            lab.leaders("spark-01", "instance/a").pop()
        });
        apply.dies();
        lock_is_free(lab);

        let apply = laptop.starts("apply -y");
        let b = eventually("b is started", || {
            lab.leaders("spark-02", "instance/b").pop()
        });
        until("the proxy is started", || {
            !lab.leaders("controller", "proxy").is_empty()
        });
        apply.dies();
        lock_is_free(lab);

        laptop.applies();
        has_one_of_each(lab);
        assert!(
            lab.lives("spark-01", &a) && lab.lives("spark-02", &b),
            "none was started twice"
        );
        laptop.is_converged();
        let parts = |name: &String| name.contains(".new");
        assert!(
            !lab.files("spark-01").iter().any(parts),
            "half an upload is not left behind"
        );
    });
}

/// Killed in the middle of a replacement, between stop and ready.
#[test]
fn a_killed_replacement_is_gone_on_from() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        laptop.declares(&DEMO.replace("port: 8200, ", "port: 8200, args: {sim_load_seconds: 4}, "));
        let apply = laptop.starts("apply -y");
        until("the old one is stopped", || !lab.lives("spark-02", &b));
        apply.dies();
        lock_is_free(lab);
        laptop.applies();
        has_one_of_each(lab);
        let status = laptop.replica("status --json --exit-code").exits(0).json();
        assert_eq!(status["proxy"]["backends"], serde_json::json!(["a", "b"]));
        laptop.is_converged();
    });
}

/// Killed in the middle of destroy.
#[test]
fn a_killed_destroy_is_gone_on_from() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let destroy = laptop.starts("destroy -y");
        until("the proxy is gone", || {
            lab.leaders("controller", "proxy").is_empty()
        });
        destroy.dies();
        until("the lock is free", || {
            let done = laptop.replica("destroy -y");
            !done.err.contains("locked")
        });
        for host in ["controller", "spark-01", "spark-02"] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            is_bare(lab, host);
        }
    });
}

/// Every SSH session of a node ends while its server loads: the outcome is unknown, the rest is
/// made, and the next apply uses the server that went on loading.
#[test]
fn sessions_that_end_during_an_apply_are_gone_on_from() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        let b = eventually("b is started", || {
            lab.leaders("spark-02", "instance/b").pop()
        });
        lab.does("stop-sshd spark-02 --all");
        apply.ends().exits(6).shows("spark-02");
        lab.leader("spark-01", "instance/a");
        lab.does("start-sshd spark-02");
        laptop.applies();
        has_one_of_each(lab);
        assert!(lab.lives("spark-02", &b), "it was not started twice");
        laptop.is_converged();
    });
}

/// A cable is pulled while a server loads; nobody says so, only the silence.
#[test]
fn a_cable_that_is_pulled_during_an_apply_is_noticed_and_gone_on_from() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        let b = eventually("b is started", || {
            lab.leaders("spark-02", "instance/b").pop()
        });
        lab.does("cut spark-02");
        apply.ends().exits(6).shows("spark-02");
        lab.leader("spark-01", "instance/a");
        lab.does("heal");
        until("it is reached", || {
            let status = laptop.replica("status --json").json();
            status["nodes"]["spark-02"]["reachable"] == true
        });
        until("its lock is free", || {
            let done = laptop.replica("apply -y");
            !done.err.contains("locked")
        });
        has_one_of_each(lab);
        assert!(lab.lives("spark-02", &b), "it was not started twice");
        laptop.is_converged();
    });
}

/// Two people apply at once: the second is told who is at it, and nothing of theirs happens.
#[test]
fn the_second_of_two_applies_is_told_who_holds_the_lock() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let mut other = Laptop::named("colleague", lab, &slow().replace("8200", "8300"));
        other.exports("USER", "colleague");
        let apply = laptop.starts("apply -y");
        until("it is under way", || {
            !lab.leaders("spark-02", "instance/b").is_empty()
        });
        other
            .replica("apply -y")
            .exits(5)
            .shows("locked by another run: tester@")
            .shows("pid ");
        other.replica("destroy -y").exits(5);
        other.replica("plan").exits(0);
        apply.ends().exits(0);
        has_one_of_each(lab);
    });
}

/// A holder that is killed holds nothing any more.
#[test]
fn a_killed_holder_frees_the_lock() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let other = Laptop::named("colleague", lab, &slow());
        let apply = laptop.starts("apply -y");
        until("it is under way", || {
            !lab.leaders("spark-02", "instance/b").is_empty()
        });
        other.replica("apply -y").exits(5);
        apply.dies();
        until("the lock is free", || {
            let done = other.replica("apply -y");
            !done.err.contains("locked by another run")
        });
        has_one_of_each(lab);
        other.is_converged();
    });
}

/// Waits until half of something is on `spark-02`.
fn is_uploading(lab: &Lab) {
    until("something is uploaded", || {
        let files = lab.files("spark-02");
        files
            .iter()
            .any(|name| Path::new(name).extension().is_some_and(|it| it == "new"))
    });
}

/// A cable is pulled while something is uploaded: it is the write that waits then, and nothing else
/// would notice.
#[test]
fn a_cable_that_is_pulled_during_an_upload_is_noticed_and_gone_on_from() {
    scenario("3", |lab| {
        lab.does("delay 1ms --rate 20mbit");
        let laptop = Laptop::with(lab, DEMO);
        let apply = laptop.starts("apply -y");
        is_uploading(lab);
        lab.does("cut spark-02 --mode drop");
        apply.ends().exits(6).shows("spark-02");
        lab.leader("spark-01", "instance/a");
        lab.does("heal");
        lab.does("delay 0");
        laptop.applies();
        has_one_of_each(lab);
        laptop.is_converged();
    });
}

/// Killed while it uploads: whoever then wants nothing of it has nothing of it.
#[test]
fn a_destroy_after_a_killed_upload_leaves_nothing() {
    scenario("3", |lab| {
        lab.does("delay 1ms --rate 20mbit");
        let laptop = Laptop::with(lab, DEMO);
        let apply = laptop.starts("apply -y");
        is_uploading(lab);
        apply.dies();
        lab.does("delay 0");
        lock_is_free(lab);
        laptop.replica("destroy -y").exits(0);
        for host in ["controller", "spark-01", "spark-02"] {
            is_bare(lab, host);
        }
    });
}

/// A program on a node that holds something else than what was put there is put there anew, before
/// anything is stopped for it.
#[test]
fn a_program_that_was_spoiled_is_brought_anew() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let program = "/home/nvidia/.local/state/replica/demo/bin/replica-*[0-9a-f]";
        // Its name, its size and its times are as they were.
        let spoil = format!(
            "set -- {program}; size=$(stat -c %s $1); touch -r $1 /tmp/times; rm $1; \
             head -c $size /dev/zero >$1; chmod 755 $1; chown nvidia: $1; touch -r /tmp/times $1"
        );
        for host in ["controller", "spark-01"] {
            lab.exec(host, &spoil);
        }
        let proxy = lab.leader("controller", "proxy");
        let plan = laptop.plan();
        assert_eq!(
            pending(&plan),
            ["replace controller/program", "replace spark-01/program"]
        );
        laptop.declares(&DEMO.replace("port: 8100, ", "port: 8100, args: {sim_load_seconds: 1}, "));
        laptop.applies();
        has_one_of_each(lab);
        assert!(lab.lives("controller", &proxy), "it served all the while");
        laptop.is_converged();
    });
}
