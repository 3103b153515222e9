//! What happens to nodes while they are changed: a reboot, a bad line, a stranger, a death. Each run says what
//! it could not do, and the next one does it.

use super::hosts::{Lab, Process};
use super::laptop::{DEMO, Laptop, change, pending, reasons};
use super::stage::{eventually, scenario, until};
use super::traffic::{Traffic, counted, post};

const PROXY: &str = "10.77.0.10:8192";

/// Loads for long enough that something can happen meanwhile.
fn slow() -> String {
    DEMO.replace("{simulate:", "{args: {sim_load_seconds: 6}, simulate:")
}

/// Waits until somebody leads a thing.
fn is_led(lab: &Lab, host: &str, thing: &str) -> Process {
    eventually("it is started", || lab.leaders(host, thing).pop())
}

/// Applies until nobody else is at work, and nothing is left to do.
fn converges(laptop: &Laptop) {
    until("it converges", || laptop.replica("apply -y").is_done());
    laptop.is_converged();
}

/// A node is rebooted while its server loads: what it had is gone with its pids, and is made again. The other
/// one serves all the while.
#[test]
fn a_node_that_is_rebooted_during_an_apply_is_made_again_by_the_next() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        is_led(lab, "spark-02", "instance/b");
        lab.does("reboot spark-02");
        apply.ends().exits(6).shows("spark-02");
        let a = lab.leader("spark-01", "instance/a");
        converges(&laptop);
        assert!(lab.lives("spark-01", &a), "it was in nobody's way");
        lab.leader("spark-02", "instance/b");
    });
}

/// A node goes down while what serves there is being replaced, and stays away for a while: clients have the
/// other one, and it is made when the node is back.
#[test]
#[ignore = "a minute or two: `.ci/run all` plays it"]
fn a_node_that_goes_down_during_a_replace_is_done_without_until_it_is_back() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        laptop.applies();
        let (a, b) = (
            lab.leader("spark-01", "instance/a"),
            lab.leader("spark-02", "instance/b"),
        );
        laptop.declares(&slow().replace(
            "port: 8200, ",
            "port: 8200, args: {max_num_seqs: 64, sim_load_seconds: 6}, ",
        ));
        let apply = laptop.starts("apply -y");
        until("the old one is stopped", || !lab.lives("spark-02", &b));
        is_led(lab, "spark-02", "instance/b");
        lab.does("reboot spark-02 --hold");
        apply.ends().exits(6).shows("spark-02");
        laptop.replica("apply -y").exits(4);
        let traffic = Traffic::through(PROXY, 2);
        until("streams are served", || traffic.served() > 4);
        assert_eq!(traffic.ends(), Vec::<String>::new());
        lab.does("start spark-02");
        converges(&laptop);
        assert!(lab.lives("spark-01", &a));
    });
}

/// Everything goes over a line that is slow and loses packets.
#[test]
#[ignore = "a minute or two: `.ci/run all` plays it"]
fn a_slow_and_lossy_line_takes_longer_and_changes_nothing() {
    scenario("3", |lab| {
        lab.does("delay 60ms --jitter 20ms --loss 3% --rate 30mbit");
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        laptop.declares(&DEMO.replace("port: 8200, ", "port: 8200, args: {max_num_seqs: 64}, "));
        laptop.applies();
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
        for host in ["controller", "spark-01", "spark-02"] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
        }
    });
}

/// What is drained dies before its last request is over: it was to be stopped anyhow, and its successor is
/// started.
#[test]
fn what_dies_while_it_is_drained_is_replaced_all_the_same() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        let aim = lab.aims("spark-02", &lab.engine("spark-02", &b), "KILL");
        laptop.declares(&slow().replace(
            "port: 8200, ",
            "port: 8200, args: {max_num_seqs: 64, sim_load_seconds: 6}, ",
        ));
        // A stream of many minutes at each: nothing is drained before it ends.
        let long = r#"{"model":"demo","prompt":"Hello","max_tokens":100000,"stream":true}"#;
        let traffic = Traffic::of(2, move |_| post(PROXY, "/v1/completions", long).map(drop));
        let told = |what: &str, name: &str| {
            counted(
                PROXY,
                &format!("replica_proxy_{what}{{instance=\"{name}\"}}"),
            )
        };
        until("each has one", || {
            [told("inflight", "a"), told("inflight", "b")] == [Some(1.0); 2]
        });
        let apply = laptop.starts("apply -y");
        until("it is drained", || told("ready", "b") == Some(0.0));
        aim.fires();
        let done = apply.ends().exits(0);
        drop(traffic);
        assert!(!lab.lives("spark-02", &b), "{done}");
        lab.leader("spark-02", "instance/b");
    });
}

/// Somebody else takes the port while a server loads, before it listens: it is named, is left alone, and the
/// next run says so before anything is started.
#[test]
fn a_stranger_that_takes_the_port_during_a_start_is_named_and_left_alone() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &slow());
        let apply = laptop.starts("apply -y");
        is_led(lab, "spark-02", "instance/b");
        let stranger = lab.starts("spark-02", "python3 -m http.server 8200");
        let done = apply.ends().exits(6);
        done.shows("spark-02").shows("8200");
        let plan = laptop.plan();
        let said = reasons(change(&plan, "spark-02/instance.b"));
        assert!(said.contains(&format!("pid {stranger}")), "{said}");
        lab.exec("spark-02", &format!("kill {stranger}"));
        until("the port is free", || lab.listeners("spark-02", 8200) == 0);
        converges(&laptop);
    });
}

/// A pid that a server of ours had is another's by now: by its mark it is nobody of ours.
#[test]
fn a_pid_that_is_used_again_is_not_taken_for_ours() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        lab.exec("spark-02", &format!("kill -9 -{}", b.pid));
        until("b is gone", || {
            lab.marked("spark-02", "v1:demo:instance/b:").is_empty()
        });
        let mut reused = None;
        for _ in 0..50 {
            let next = format!("echo {} >/proc/sys/kernel/ns_last_pid", b.pid - 1);
            let script =
                format!("{next}; setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo $!");
            let pid: u32 = lab.exec("spark-02", &script).parse().expect("it is a pid");
            if pid == b.pid {
                reused = lab
                    .processes("spark-02")
                    .into_iter()
                    .find(|it| it.pid == pid);
                break;
            }
        }
        let reused = reused.expect("a pid is used again");
        assert_eq!(pending(&laptop.plan()), ["create spark-02/instance.b"]);
        laptop.applies();
        assert!(lab.lives("spark-02", &reused));
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
        assert!(lab.lives("spark-02", &reused), "it is not ours");
    });
}

/// An earlier start of a server lives on beside the one that serves: it is ours, and is ended.
#[test]
fn an_earlier_start_that_lives_on_is_ended() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        let mark = b.mark.clone().expect("it has a mark");
        let earlier = lab.starts(
            "spark-02",
            &format!("env REPLICA_MARK={mark}earlier sleep 100000"),
        );
        let earlier = eventually("it carries the mark", || {
            let mut all = lab.processes("spark-02");
            all.retain(|it| it.pid == earlier && it.name == "sleep");
            all.pop()
        });
        assert_ne!(pending(&laptop.plan()), [] as [&str; 0]);
        converges(&laptop);
        assert!(!lab.lives("spark-02", &earlier), "it was ours");
        lab.leader("spark-02", "instance/b");
    });
}

/// Who applies while it is being destroyed waits its turn, and makes all of it then.
#[test]
fn an_apply_during_a_destroy_is_refused_and_makes_it_all_afterwards() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let other = Laptop::named("colleague", lab, DEMO);
        laptop.applies();
        // A request that takes a while, so that the destroy has something to wait for.
        let traffic = Traffic::through(PROXY, 4);
        until("streams are served", || traffic.served() > 4);
        let destroy = laptop.starts("destroy -y");
        until("it is under way", || {
            lab.files("spark-01").iter().any(|it| it.contains(".lock"))
        });
        let refused = other.replica("apply -y");
        destroy.ends().exits(0);
        // When there is nobody to ask, all are refused.
        let _ = traffic.ends();
        if !refused.is_done() {
            refused.exits(5).shows("locked by another run");
        }
        converges(&other);
    });
}

/// Its key is another one from one moment to the next: the run in which that is seen does nothing to that
/// node, and everything to the others.
#[test]
fn a_host_key_that_changes_between_plan_and_apply_is_refused() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.replica("plan --out kept").exits(0);
        lab.does("rekey spark-02");
        laptop.replica("apply -y kept").exits(3);
        for host in ["controller", "spark-01", "spark-02"] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
        }
        laptop.replica("apply -y").exits(4).shows("host key");
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.marked("spark-02", "v1:"), []);
    });
}
