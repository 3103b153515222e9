//! What is left of ours, and what was never ours: the first is put right, the second is named and
//! not touched, unless the manifest says so of that node.

use std::fs;

use super::hosts::{Lab, Process};
use super::laptop::{DEMO, Laptop, change, pending, reasons};
use super::stage::{eventually, scenario, until};
use super::stand_in::{SIMULATES, stand_in};
use super::starting::REAL;

/// A vLLM server as processes go: it shares its port with whoever asks, has an engine with a title
/// of its own, and answers nobody. `hangs`: it does not end by SIGTERM, as with a stream open.
const STALE: &str = "\
import os, signal, socket, sys, time
ENGINE = 'open(\"/proc/self/comm\", \"w\").write(\"VLLM::EngineCore\"); import time; time.sleep(1000)'
if os.fork() == 0:
    os.execv('/usr/bin/python3', ['VLLM::EngineCore', '-c', ENGINE])
if 'hangs' in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[2], int(sys.argv[3])))
s.listen()
time.sleep(1000)
";

/// A session in which somebody has left a server on port 8200, and looks at its log.
const SESSION: &str = "\
: >/tmp/vllm_node2.log
nohup python3 /opt/lab/bin/vllm serve 10.77.0.12 8200 >/tmp/vllm_node2.log 2>&1 &
tail -f /tmp/vllm_node2.log &
wait
";

fn install(lab: &Lab, host: &str, name: &str, text: &str) {
    let file = lab.folder().join(name);
    fs::write(&file, text).unwrap();
    lab.install(host, &file, &format!("/opt/lab/bin/{name}"));
}

/// Starts a foreign server of the user that replica logs in as.
fn start_stale(lab: &Lab, host: &str, words: &str) -> Process {
    install(lab, host, "vllm", STALE);
    let pid = lab.starts(host, &format!("python3 /opt/lab/bin/vllm serve {words}"));
    let engine = |it: &Process| it.session == pid && it.name == "VLLM::EngineCor";
    until("it has its engine", || {
        lab.processes(host).iter().any(engine)
    });
    process(lab, host, pid)
}

fn process(lab: &Lab, host: &str, pid: u32) -> Process {
    let all = lab.processes(host);
    let found = all.iter().find(|it| it.pid == pid);
    found
        .unwrap_or_else(|| panic!("{pid} is not among {all:?}"))
        .clone()
}

/// The manifest of the demo that has the foreign servers of one node stopped.
fn stopping(node: &str) -> String {
    let node = format!("{node}: {{");
    DEMO.replace(&node, &format!("{node}unmanaged: stop, "))
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
        let stale = start_stale(lab, "spark-02", "10.77.0.12 8200").pid;
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
        let advice = "with `unmanaged: stop` declared for spark-02, apply stops it";
        assert!(plan["foreign"].to_string().contains(advice), "{plan:#}");
        laptop.replica("apply -y").exits(1);
        assert!(lab.lives("spark-02", &b));
        assert!(lab.processes("spark-02").iter().any(|it| it.pid == stale));
        lab.exec("spark-02", &format!("kill {stale}"));
        until("ours is alone", || lab.listeners("spark-02", 8200) == 1);
        // The proxy met the other one as well, and serves from ours again once it was proved anew.
        until("all is as declared", || pending(&laptop.plan()).is_empty());
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

/// Foreign servers are stopped where the manifest says so, each shown before, with their engines and
/// what earlier ones left behind. Nothing else is: not the session that one was started from, nor
/// what another user, a container, another topology or another node has.
#[test]
#[expect(clippy::too_many_lines, reason = "a story from beginning to end")]
fn stale_servers_are_stopped_where_the_manifest_says_so_and_nothing_else_is() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &stopping("spark-02"));
        let host = "spark-02";
        install(lab, host, "vllm", STALE);
        install(lab, host, "session", SESSION);
        let shell = lab.starts(host, "sh /opt/lab/bin/session");
        let in_session = |name: &str| {
            let mut all = lab.processes(host);
            all.retain(|it| it.session == shell && it.name == name);
            all.pop()
        };
        let engine = eventually("its engine runs", || in_session("VLLM::EngineCor"));
        let server = in_session("python3").expect("its engine has a server");
        let tail = eventually("somebody looks at its log", || in_session("tail"));
        let shell = process(lab, host, shell);
        let orphan = {
            let killed = start_stale(lab, host, "10.77.0.12 8300");
            lab.exec(host, &format!("kill -9 {}", killed.pid));
            until("it is gone", || !lab.lives(host, &killed));
            let mut all = lab.processes(host);
            all.retain(|it| it.session == killed.pid);
            all.pop().expect("its engine lives on")
        };
        let serve = "python3 /opt/lab/bin/vllm serve 10.77.0.12";
        let user = "setpriv --reuid=nvidia --regid=nvidia --clear-groups";
        let quiet = ">/dev/null 2>&1 </dev/null &";
        lab.exec(host, &format!("setsid {serve} 8400 {quiet}"));
        lab.exec(
            host,
            &format!("setsid unshare --pid --fork {user} {serve} 8500 {quiet}"),
        );
        until("both listen", || {
            lab.listeners(host, 8400) + lab.listeners(host, 8500) == 2
        });
        let elsewhere = start_stale(lab, "spark-01", "10.77.0.11 8300");
        let other = DEMO.replace("topology: demo", "topology: other");
        let other = other
            .replace("8192", "8193")
            .replace("8100", "8101")
            .replace("8200", "8201");
        Laptop::named("colleague", lab, &other).applies();
        let colleagues = lab.marked(host, "v1:other:");

        let plan = laptop.plan();
        let stopped: Vec<_> = pending(&plan)
            .into_iter()
            .filter(|it| it.starts_with("destroy"))
            .collect();
        let expected =
            [server.pid, orphan.pid].map(|pid| format!("destroy {host}/unmanaged.{pid}"));
        assert_eq!(stopped, expected, "{plan:#}");
        let shown = change(&plan, &format!("{host}/unmanaged.{}", server.pid));
        let words = shown["summary"].as_str().unwrap_or_default();
        for part in [
            format!("pid {} of user nvidia, up ", server.pid),
            format!("{serve} 8200"),
            format!("pid {} (VLLM::EngineCor)", engine.pid),
        ] {
            assert!(words.contains(&part), "{part}: {words}");
        }
        let foreign = plan["foreign"].to_string();
        for part in ["8400 (only root can stop it)", "8500 (in a container"] {
            assert!(foreign.contains(part), "{part}: {foreign}");
        }
        laptop.applies();
        for gone in [&server, &engine, &orphan] {
            assert!(!lab.lives(host, gone), "{gone:?}");
        }
        for left in [&shell, &tail].into_iter().chain(&colleagues) {
            assert!(lab.lives(host, left), "{left:?}");
        }
        assert!(lab.lives("spark-01", &elsewhere));
        let listeners = [8200, 8300, 8400, 8500].map(|port| lab.listeners(host, port));
        assert_eq!(listeners, [1, 0, 1, 1]);
        laptop.is_converged();

        let next = start_stale(lab, host, "10.77.0.12 8300");
        laptop.replica("destroy -y").exits(0);
        assert!(
            lab.lives(host, &next),
            "who destroys leaves what is not ours"
        );
    });
}

/// Two stale servers share a wanted port, one of them with a stream open, so that it has to be
/// killed. One that comes to share the port of ours is stopped, and ours never notices.
#[test]
fn stale_servers_that_share_a_port_are_all_stopped() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &stopping("spark-02"));
        let stale = [
            start_stale(lab, "spark-02", "10.77.0.12 8200 hangs"),
            start_stale(lab, "spark-02", "10.77.0.12 8200"),
        ];
        until("both listen", || lab.listeners("spark-02", 8200) == 2);
        laptop.applies().shows("killed");
        for one in &stale {
            assert!(!lab.lives("spark-02", one));
        }
        assert_eq!(lab.listeners("spark-02", 8200), 1);
        laptop.is_converged();

        let b = lab.leader("spark-02", "instance/b");
        let beside = start_stale(lab, "spark-02", "10.77.0.12 8200");
        until("both listen", || lab.listeners("spark-02", 8200) == 2);
        let plan = laptop.plan();
        let destroyed = format!("destroy spark-02/unmanaged.{}", beside.pid);
        assert_eq!(pending(&plan), [destroyed]);
        laptop.applies();
        assert!(!lab.lives("spark-02", &beside) && lab.lives("spark-02", &b));
        laptop.is_converged();
    });
}

/// A real engine starts once the stale server that had its port and its memory is gone.
#[test]
fn a_real_engine_starts_when_the_stale_server_is_gone() {
    scenario("1", |lab| {
        stand_in(lab, &["spark-01"], SIMULATES);
        let stale = start_stale(lab, "spark-01", "10.77.0.11 8100");
        until("it listens", || lab.listeners("spark-01", 8100) == 1);
        let manifest = REAL.replace("spark-01: {", "spark-01: {stale: stop, ");
        assert_ne!(manifest, REAL);
        let laptop = Laptop::with(lab, &manifest);
        let plan = laptop.plan();
        let destroyed = format!("destroy spark-01/unmanaged.{}", stale.pid);
        assert_eq!(
            pending(&plan),
            [destroyed.as_str(), "create spark-01/instance.a"]
        );
        laptop.applies();
        assert!(!lab.lives("spark-01", &stale));
        lab.leader("spark-01", "instance/a");
        laptop.is_converged();
    });
}
