//! Changes to what runs: each touches what changed, and nothing else.

use std::process::Command;

use serde_json::json;

use super::laptop::{DEMO, Laptop, change, pending, program, reasons};
use super::stage::{is_bare, scenario, until};
use super::traffic::{Traffic, stream};

/// The proxy of [`DEMO`].
const PROXY: &str = "10.77.0.10:8192";

/// From bare hosts to a served answer, then nothing to do, then nothing left.
#[test]
fn a_topology_is_made_kept_and_removed_without_a_trace() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.replica("plan --detailed-exitcode").exits(2);
        laptop.applies();
        let before =
            ["controller", "spark-01", "spark-02"].map(|host| lab.marked(host, "v1:demo:"));
        let served: Vec<_> = (0..4).map(|_| stream(PROXY).unwrap()).collect();
        assert!(
            served.contains(&"a".to_owned()) && served.contains(&"b".to_owned()),
            "{served:?}"
        );

        laptop.replica("apply -y").exits(0).shows("No changes.");
        let after = ["controller", "spark-01", "spark-02"].map(|host| lab.marked(host, "v1:demo:"));
        assert_eq!(before, after, "a second apply touches nothing");
        let status = laptop.replica("status --json --exit-code").exits(0).json();
        assert_eq!(status["converged"], true);
        assert_eq!(
            status["instances"]["a"]["pid"],
            lab.leader("spark-01", "instance/a").pid
        );
        assert_eq!(status["proxy"]["backends"], json!(["a", "b"]));

        laptop
            .replica("destroy -y")
            .exits(0)
            .shows("Nothing of `demo` runs on 3 nodes");
        for (host, port) in [("controller", 8192), ("spark-01", 8100), ("spark-02", 8200)] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            assert_eq!(lab.listeners(host, port), 0, "{host}");
            is_bare(lab, host);
        }
    });
}

/// The program is uploaded once, and is there to the last byte.
#[test]
fn the_program_is_uploaded_once_and_whole() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let there = "cd /home/nvidia/.local/state/replica/demo/bin && sha256sum <$(ls)";
        let here = Command::new("sha256sum").arg(program()).output().unwrap();
        let here = String::from_utf8_lossy(&here.stdout);
        let digest = |text: &str| text.split(' ').next().map(str::to_owned);
        assert_eq!(digest(&lab.exec("spark-01", there)), digest(&here));
        let files = "stat -c '%n %i %Z' /home/nvidia/.local/state/replica/demo/bin/*";
        let before = lab.exec("spark-01", files);
        laptop.declares(&DEMO.replace("port: 8100", "port: 8101"));
        laptop.applies();
        assert_eq!(lab.exec("spark-01", files), before);
    });
}

/// A changed argument replaces that instance alone, and no stream that runs meanwhile fails.
#[test]
fn a_changed_argument_replaces_that_instance_alone_and_fails_no_request() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let (a, b) = (
            lab.leader("spark-01", "instance/a"),
            lab.leader("spark-02", "instance/b"),
        );
        let proxy = lab.leader("controller", "proxy");
        laptop.declares(&DEMO.replace("port: 8200, ", "port: 8200, args: {max_num_seqs: 64}, "));

        let plan = laptop.plan();
        assert_eq!(pending(&plan), ["replace spark-02/instance.b"]);
        let field = &change(&plan, "spark-02/instance.b")["fields"][0];
        assert_eq!(field["path"], "args.max_num_seqs");
        assert_eq!(field["new"], 64);
        laptop
            .replica("plan")
            .exits(0)
            .shows("-/+ instance.b")
            .shows("max_num_seqs");

        let traffic = Traffic::through(PROXY, 4);
        until("streams are served", || traffic.served() > 4);
        let applied = laptop.replica("apply -y --json").exits(0).json();
        let then = traffic.served();
        until("streams are served still", || traffic.served() > then + 4);
        assert_eq!(traffic.ends(), Vec::<String>::new());
        assert_eq!(
            applied["requests"]["failed"], 0,
            "{:#}",
            applied["requests"]
        );
        assert_eq!(applied["requests"]["cut"], 0);
        assert!(applied["requests"]["ok"].as_u64() > Some(0));

        assert!(lab.lives("spark-01", &a) && lab.lives("controller", &proxy));
        assert!(!lab.lives("spark-02", &b));
        lab.leader("spark-02", "instance/b");
        laptop.is_converged();
    });
}

/// Both replicas are replaced one after the other, while streams run and none fails.
#[test]
fn a_rolling_replace_of_every_instance_fails_no_request() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        laptop.declares(&DEMO.replace("{simulate:", "{args: {max_num_seqs: 64}, simulate:"));
        let plan = laptop.plan();
        assert_eq!(
            pending(&plan),
            ["replace spark-01/instance.a", "replace spark-02/instance.b"]
        );
        let traffic = Traffic::through(PROXY, 4);
        until("streams are served", || traffic.served() > 4);
        let applied = laptop.replica("apply -y --json").exits(0).json();
        assert_eq!(traffic.ends(), Vec::<String>::new());
        assert_eq!(
            applied["requests"]["failed"], 0,
            "{:#}",
            applied["requests"]
        );
        laptop.is_converged();
    });
}

/// A changed policy is told to the proxy that runs.
#[test]
fn a_changed_policy_is_told_without_a_restart() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let proxy = lab.leader("controller", "proxy");
        laptop.declares(&DEMO.replace("port: 8192", "port: 8192, policy: least_connections"));
        let plan = laptop.plan();
        assert_eq!(pending(&plan), ["update controller/proxy"]);
        laptop.applies();
        assert!(lab.lives("controller", &proxy));
        let status = laptop.replica("status --json").exits(0).json();
        assert_eq!(status["proxy"]["policy"], "least_connections");
        assert_eq!(status["proxy"]["generation"], 2);
        laptop.is_converged();
    });
}

/// What left the manifest is drained, stopped, and removed with its files.
#[test]
fn an_instance_that_left_the_manifest_is_destroyed_after_its_last_request() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let proxy = lab.leader("controller", "proxy");
        laptop.declares(&DEMO.replace(
            "  b: {node: spark-02, port: 8200, engine: demo, model: demo}\n",
            "",
        ));
        let plan = laptop.plan();
        assert_eq!(
            pending(&plan),
            [
                "destroy spark-02/instance.b",
                "destroy spark-02/program",
                "update controller/proxy"
            ]
        );
        assert!(reasons(change(&plan, "spark-02/instance.b")).contains("not in the manifest"));
        let traffic = Traffic::through(PROXY, 4);
        until("streams are served", || traffic.served() > 4);
        let applied = laptop.replica("apply -y --json").exits(0).json();
        assert_eq!(traffic.ends(), Vec::<String>::new());
        assert_eq!(applied["requests"]["failed"], 0);
        assert_eq!(lab.marked("spark-02", "v1:"), []);
        assert_eq!(lab.listeners("spark-02", 8200), 0);
        is_bare(lab, "spark-02");
        assert!(lab.lives("controller", &proxy));
        assert_eq!(stream(PROXY).unwrap(), "a");
        laptop.is_converged();
    });
}

/// An instance that is declared on another node serves there before it stops here: no request fails, and as
/// many serve all the while.
#[test]
fn an_instance_moves_to_another_node() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let b = lab.leader("spark-02", "instance/b");
        laptop.declares(&DEMO.replace("a: {node: spark-01", "a: {node: spark-02"));
        let plan = laptop.plan();
        let order = &change(&plan, "spark-02/instance.a")["order"];
        assert_eq!(order["first"], "start", "{order:#}");
        assert_eq!(order["because"], "port 8100 of spark-02 is free");
        assert_eq!(plan["capacity"], json!({"declared": 2, "serving": [2]}));

        let traffic = Traffic::through(PROXY, 4);
        until("streams are served", || traffic.served() > 4);
        let applied = laptop.replica("apply -y --json").exits(0).json();
        let then = traffic.served();
        until("streams are served still", || traffic.served() > then + 4);
        assert_eq!(traffic.ends(), Vec::<String>::new());
        let requests = &applied["requests"];
        assert_eq!(
            (&requests["failed"], &requests["cut"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(lab.marked("spark-01", "v1:"), []);
        lab.leader("spark-02", "instance/a");
        assert!(lab.lives("spark-02", &b));
        // It became ready while others were at work and begins slowly: for a while, whoever is idle has all.
        until("it serves", || stream(PROXY).unwrap() == "a");
        laptop.is_converged();
    });
}

/// Two instances of one node that take each other's port are both as declared in the end.
#[test]
fn two_instances_swap_their_ports() {
    scenario("3", |lab| {
        let both = DEMO.replace("b: {node: spark-02", "b: {node: spark-01");
        let laptop = Laptop::with(lab, &both);
        laptop.applies();
        let swapped = both
            .replace("port: 8100", "port: x")
            .replace("port: 8200", "port: 8100")
            .replace("port: x", "port: 8200");
        laptop.declares(&swapped);
        let applied = laptop.applies();
        assert_eq!(
            applied.err.matches("instance.a: ready").count(),
            1,
            "{applied}"
        );
        assert_eq!(lab.listeners("spark-01", 8100), 1);
        assert_eq!(lab.listeners("spark-01", 8200), 1);
        lab.leader("spark-01", "instance/a");
        lab.leader("spark-01", "instance/b");
        laptop.is_converged();
    });
}
