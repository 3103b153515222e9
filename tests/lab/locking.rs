//! Locks: one holder at a time, and none for long that is not there any more.

use rustix::process::Signal;

use super::hosts::Lab;
use super::laptop::{DEMO, Done, Laptop};
use super::stage::{eventually, scenario, until};

const HOSTS: [&str; 3] = ["controller", "spark-01", "spark-02"];

/// Loads for longer than a lock is held without a word.
fn slow() -> String {
    DEMO.replace("{simulate:", "{args: {sim_load_seconds: 45}, simulate:")
}

fn is_locked(lab: &Lab, host: &str) -> bool {
    lab.files(host).iter().any(|name| name.contains(".lock"))
}

/// Whether it was refused by another run.
fn is_refused(done: &Done) -> bool {
    done.err.contains("locked by another run")
}

/// A laptop that is gone without a word (its lid, its network) frees its nodes by itself.
#[test]
fn a_laptop_that_vanishes_frees_its_nodes() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        let b = eventually("b is started", || {
            lab.leaders("spark-02", "instance/b").pop()
        });
        for host in HOSTS {
            lab.does(&format!("cut {host} --mode drop"));
        }
        apply.dies();
        for host in HOSTS {
            until("its lock is free", || !is_locked(lab, host));
        }
        lab.does("heal");
        laptop.applies();
        assert!(lab.lives("spark-02", &b), "it was not started twice");
        laptop.is_converged();
    });
}

/// Whoever is stopped for long finds others at work, and does nothing more.
#[test]
fn who_was_stopped_for_long_does_nothing_more() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let other = Laptop::named("colleague", lab, DEMO);
        let apply = laptop.starts("apply -y");
        until("it is under way", || {
            !lab.leaders("spark-02", "instance/b").is_empty()
        });
        apply.signal(Signal::STOP);
        for host in HOSTS {
            until("its lock is free", || !is_locked(lab, host));
        }
        other.applies();
        let before: Vec<_> = HOSTS.iter().map(|host| lab.marked(host, "v1:")).collect();
        apply.signal(Signal::CONT);
        apply.ends().exits(6).hides("Ready:");
        let after: Vec<_> = HOSTS.iter().map(|host| lab.marked(host, "v1:")).collect();
        assert_eq!(before, after);
        other.is_converged();
    });
}

/// A lock that a killed run of this very machine has left behind is no obstacle.
#[test]
fn a_holder_that_is_known_to_have_ended_is_no_obstacle() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        until("it is under way", || {
            !lab.leaders("spark-02", "instance/b").is_empty()
        });
        // Nothing of its end gets through, then or later.
        for end in ["FIN", "RST"] {
            let drop = format!("iptables -I INPUT -p tcp --tcp-flags {end} {end} -j DROP");
            lab.exec("spark-02", &drop);
        }
        apply.dies();
        assert!(is_locked(lab, "spark-02"));
        let next = laptop.replica("apply -y").exits(0);
        next.shows("spark-02: taking over the lock of tester@");
        laptop.is_converged();
    });
}

/// The same topology where somebody calls its nodes by names of another order.
fn renamed() -> String {
    let names = [("controller", "zz"), ("spark-01", "y"), ("spark-02", "x")];
    names.iter().fold(DEMO.to_owned(), |text, (old, new)| {
        let text = text.replace(&format!("  {old}: {{ssh"), &format!("  {new}: {{ssh"));
        text.replace(&format!("node: {old},"), &format!("node: {new},"))
    })
}

/// Of two that begin at one moment one has all locks, whatever each of them calls the nodes.
#[test]
fn of_two_applies_at_one_moment_one_wins() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let other = Laptop::named("colleague", lab, &renamed());
        let mut met = 0;
        for _ in 0..6 {
            let (one, two) = (laptop.starts("apply -y"), other.starts("apply -y"));
            let (one, two) = (one.ends(), two.ends());
            let refused = [&one, &two].iter().filter(|it| is_refused(it)).count();
            assert!(refused < 2, "{one}\n{two}");
            met += refused;
            laptop.is_converged();
            other.is_converged();
            laptop.replica("destroy -y").exits(0);
        }
        assert!(met > 0, "they met");
    });
}
