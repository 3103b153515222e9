//! What things say that they serve as, on a model of the nodes.

use std::fmt::Write as _;

use replica::converge::assess;
use replica::plan::effect::control::Request;
use replica::plan::{Action, Change, Effect, Liveness, Readiness, ReasonCode, Service, Stand};
use replica::resource::{KINDS, Listed, Undeclared};

use super::model::{Model, catalogue, topology};

const TWO: &str = "
topology: demo
nodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}}, two: {ssh: n@two, addresses: {lan: 10.0.0.2}}}
engines: {demo: {simulate: {profile: fast}}}
instances:
  a: {node: one, port: 8100, engine: demo, model: demo}
  b: {node: two, port: 8200, engine: demo, model: demo}
proxy: {node: one, port: 8192}
benchmarks: {batch: {prompts: {inline: [Hello]}, load: {batch: 1}, max_tokens: 1}}
";

/// How everything stands on these nodes, for a manifest.
fn stands(model: &Model, manifest: &str) -> Vec<Stand> {
    let topology = topology(manifest);
    let declared = catalogue(&topology).resources();
    let observed = model.observe(&declared, &Undeclared::facts(&topology));
    let undeclared = Undeclared::beside(&topology, &declared, &observed).resources;
    assess(&[declared, undeclared].concat(), &observed)
}

/// Says what each thing serves as, a line each.
fn describe(model: &Model) -> String {
    describe_for(TWO, model)
}

fn describe_for(manifest: &str, model: &Model) -> String {
    let mut text = String::new();
    for stand in stands(model, manifest) {
        if let Some(service) = &stand.service {
            let address = stand.address();
            let _ = writeln!(text, "{address}: {}", in_words(service));
        }
    }
    text
}

fn in_words(service: &Service) -> String {
    let readiness = match &service.readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::NotReady(reason) => format!("not ready: {reason}"),
    };
    let running = match (service.pid, &service.url) {
        (Some(pid), Some(url)) => format!("pid {pid} at {url}, "),
        _ => String::new(),
    };
    let mut words = format!("{}, {running}{readiness}", service.at);
    if !service.details.is_empty() {
        let _ = write!(words, "; {}", serde_json::json!(service.details));
    }
    if let Some(summary) = &service.summary {
        let _ = write!(words, "; {summary}");
    }
    words
}

fn applied() -> Model {
    let topology = topology(TWO);
    let mut model = Model::new(&topology);
    for _ in 0..2 {
        model.perform(&model.plan(&topology));
    }
    model
}

#[test]
fn what_does_not_run_says_so() {
    insta::assert_snapshot!(describe(&Model::new(&topology(TWO))), @r#"
    one/instance.a: port 8100 of one, not ready: it does not run
    two/instance.b: port 8200 of two, not ready: it does not run
    one/proxy: port 8192 of one, not ready: it does not run; {"policy":"round_robin","generation":null,"backends":[]}
    "#);
}

#[test]
fn what_was_seen_to_serve_is_ready() {
    insta::assert_snapshot!(describe(&applied()), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, ready
    two/instance.b: port 8200 of two, pid 10 at http://10.0.0.2:8200, ready
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a","b"]}; round_robin to a and b, generation 1
    "#);
}

#[test]
fn one_server_that_is_gone_leaves_the_others_ready() {
    let mut model = applied();
    model.kill("two", "instance/b", false);
    insta::assert_snapshot!(describe(&model), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, ready
    two/instance.b: port 8200 of two, not ready: it does not run
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a"]}; round_robin to a, generation 1
    "#);
}

#[test]
fn a_proxy_without_a_server_is_not_ready() {
    let mut model = applied();
    model.kill("one", "instance/a", false);
    model.kill("two", "instance/b", false);
    insta::assert_snapshot!(describe(&model), @r#"
    one/instance.a: port 8100 of one, not ready: it does not run
    two/instance.b: port 8200 of two, not ready: it does not run
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, not ready: no instance is ready; {"policy":"round_robin","generation":1,"backends":[]}; round_robin to no instance, generation 1
    "#);
}

/// The manifest says otherwise by now: what is told is what the nodes do.
#[test]
fn what_runs_is_told_and_not_what_is_wished() {
    let manifest = TWO
        .replace("port: 8100", "port: 8101")
        .replace(
            "  b: {node: two, port: 8200, engine: demo, model: demo}\n",
            "",
        )
        .replace("port: 8192", "port: 8192, policy: least_connections");
    insta::assert_snapshot!(describe_for(&manifest, &applied()), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, ready
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a","b"]}; round_robin to a and b, generation 1
    two/instance.b: port 8200 of two, not ready: it is not in the manifest
    "#);
}

/// Unknown is not absent.
#[test]
fn of_a_node_that_did_not_answer_nothing_is_concluded() {
    let mut model = applied();
    let two = model.nodes.get_mut(&"two".parse().unwrap()).unwrap();
    two.unreachable = true;
    insta::assert_snapshot!(describe(&model), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, ready
    two/instance.b: port 8200 of two, not ready: two did not answer: what runs there is unknown
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a","b"]}; round_robin to a and b, generation 1
    "#);
}

/// Else `status` would count what it does not show.
#[test]
fn what_serves_is_of_a_kind_that_status_lists() {
    let listed = |name: &str| {
        let kind = KINDS.iter().find(|kind| kind.name() == name);
        kind.is_some_and(|kind| kind.listed() != Listed::Nowhere)
    };
    for stand in stands(&applied(), TWO) {
        let is_listed = listed(&stand.address().kind);
        assert_eq!(is_listed, stand.service.is_some(), "{}", stand.address());
    }
}

/// The same nodes, where the first server shows this when it is asked.
fn showing(shown: Liveness) -> Model {
    let mut model = applied();
    let a = "one/instance.a".parse().unwrap();
    model.liveness.insert(a, shown);
    model
}

#[test]
fn what_shows_no_sign_of_life_is_not_ready_and_is_replaced_without_waiting_for_it() {
    let model = showing(Liveness::Failed("one token: none within 10 s".to_owned()));
    insta::assert_snapshot!(describe(&model), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, not ready: one token: none within 10 s
    two/instance.b: port 8200 of two, pid 10 at http://10.0.0.2:8200, ready
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a","b"]}; round_robin to a and b, generation 1
    "#);
    let plan = model.plan(&topology(TWO));
    let is_a = |change: &&Change| change.address.local() == "instance.a";
    let change = plan.changes.iter().find(is_a).unwrap();
    assert_eq!(
        (change.action, change.reasons[0].code),
        (Action::Replace, ReasonCode::Silent)
    );
    let drains = plan.steps.iter().filter_map(|step| match &step.effect {
        Effect::ProxyControl(control) => match &control.request {
            Request::Drain { backend, wait } => Some((backend.as_str(), *wait)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(drains.collect::<Vec<_>>(), [("a", false)]);
}

#[test]
fn what_is_slow_to_answer_is_ready_and_says_so() {
    let model = showing(Liveness::Alive {
        slow: Some("slow: it took 3.2 s".to_owned()),
    });
    insta::assert_snapshot!(describe(&model), @r#"
    one/instance.a: port 8100 of one, pid 10 at http://10.0.0.1:8100, ready; slow: it took 3.2 s
    two/instance.b: port 8200 of two, pid 10 at http://10.0.0.2:8200, ready
    one/proxy: port 8192 of one, pid 20 at http://10.0.0.1:8192, ready; {"policy":"round_robin","generation":1,"backends":["a","b"]}; round_robin to a and b, generation 1
    "#);
    let plan = model.plan(&topology(TWO));
    let is_kept = |change: &Change| change.is_measurement() || change.action == Action::Keep;
    assert!(plan.changes.iter().all(is_kept));
}
