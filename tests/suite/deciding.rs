//! Laws of deciding, on a model of the nodes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use replica::converge::assess;
use replica::node::UnmanagedPolicy;
use replica::plan::{Action, Address, Effect, Plan};
use replica::proxy::control::Backend;
use replica::resource::{Observation, Topology};

use super::model::{Model, catalogue, digest, is_live, is_of, topology};

const TWO: &str = "
topology: demo
nodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}}, two: {ssh: n@two, addresses: {lan: 10.0.0.2}}}
engines: {demo: {simulate: {profile: fast}}}
instances:
  a: {node: one, port: 8100, engine: demo, model: demo}
  b: {node: two, port: 8200, engine: demo, model: demo}
proxy: {node: one, port: 8192}
";

/// A plan as people compare it: a line a change, then a line a step.
fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        let reasons: Vec<_> = change.reasons.iter().map(|r| r.code.word()).collect();
        let _ = writeln!(
            text,
            "{} {} {}",
            change.action.sign(),
            change.address,
            reasons.join(" ")
        );
    }
    for step in &plan.steps {
        let verb = match &step.effect {
            Effect::Upload(_) => "upload".to_owned(),
            Effect::KeepLog(_) => "keep its log".to_owned(),
            Effect::Remove { .. } => "remove".to_owned(),
            Effect::RunScript(work) => work.doing.clone(),
            Effect::Copy(_) => "copy".to_owned(),
            Effect::Launch(_) => "start".to_owned(),
            Effect::Stop(_) => "stop".to_owned(),
            Effect::KillUnmanaged(_) => "end".to_owned(),
            Effect::WaitReady(_) => "await".to_owned(),
            Effect::ProxyControl(control) => {
                let request = serde_json::to_value(&control.request).unwrap();
                let word = request
                    .as_object()
                    .and_then(|map| map.keys().next().cloned());
                format!("tell {}", word.unwrap_or_default())
            }
            Effect::Measure(_) => "measure".to_owned(),
        };
        let _ = writeln!(
            text,
            "[{}] {} {verb} requires {:?} after {:?}",
            step.id, step.address, step.requires, step.after
        );
    }
    text
}

fn converged(text: &str) -> (Topology, Model) {
    let topology = topology(text);
    let mut model = Model::new(&topology);
    let plan = model.plan(&topology);
    model.perform(&plan);
    (topology, model)
}

#[test]
fn from_nothing_everything_is_made_in_the_order_of_its_needs() {
    let topology = topology(TWO);
    insta::assert_snapshot!(describe(&Model::new(&topology).plan(&topology)), @r#"
    + one/program absent
    + two/program absent
    + one/instance.a absent
    + two/instance.b absent
    + one/proxy absent
    [0] one/program upload requires [] after []
    [1] two/program upload requires [] after []
    [2] one/instance.a start requires [0] after []
    [3] one/instance.a await requires [2] after []
    [4] two/instance.b start requires [1] after []
    [5] two/instance.b await requires [4] after []
    [6] one/proxy start requires [0] after [3, 5]
    [7] one/proxy await requires [6] after []
    [8] one/proxy tell configure requires [7] after []
    "#);
}

#[test]
fn a_finished_plan_leaves_nothing_to_do() {
    let (topology, model) = converged(TWO);
    let plan = model.plan(&topology);
    assert!(plan.is_converged(), "{}", describe(&plan));
    assert!(plan.steps.is_empty());
}

#[test]
fn a_changed_argument_replaces_that_instance_alone_and_drains_it_first() {
    let (_, model) = converged(TWO);
    let changed = TWO.replace("port: 8200, ", "port: 8200, args: {max_num_seqs: 64}, ");
    insta::assert_snapshot!(describe(&model.plan(&topology(&changed))), @r#"
    = one/program 
    = two/program 
    = one/instance.a 
    -/+ two/instance.b differs
    = one/proxy 
    [0] two/instance.b tell drain requires [] after []
    [1] two/instance.b stop requires [0] after []
    [2] two/instance.b start requires [1] after []
    [3] two/instance.b await requires [2] after []
    [4] two/instance.b tell admit requires [3] after []
    "#);
}

const REAL: &str = "
topology: demo
nodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}}}
engines: {vllm: {venv: ~/v, vllm: 0.13.0}}
models: {m: {repo: o/m}}
instances:
  a: {node: one, port: 8100, engine: vllm, model: m}
";

#[test]
fn a_server_is_started_when_its_engine_was_seen_to_be_installed() {
    let topology = topology(REAL);
    let mut model = Model::new(&topology);
    let plan = model.plan(&topology);
    insta::assert_snapshot!(describe(&plan), @r#"
    + one/engine.vllm absent
    = one/model.m 
    + one/instance.a absent
    [0] one/engine.vllm installing requires [] after []
    "#);
    model.perform(&plan);
    insta::assert_snapshot!(describe(&model.plan(&topology)), @r#"
    = one/engine.vllm 
    = one/model.m 
    + one/instance.a absent
    [0] one/instance.a start requires [] after []
    [1] one/instance.a await requires [0] after []
    "#);
    let plan = model.plan(&topology);
    model.perform(&plan);
    assert!(model.plan(&topology).is_converged());
}

const SPLIT: &str = "
topology: demo
nodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}}, two: {ssh: n@two, addresses: {lan: 10.0.0.2}}}
engines: {vllm: {venv: ~/v, vllm: 0.13.0, packages: {nixl: 1.0.1}}}
models: {m: {repo: o/m}}
kv: {connector: nixl}
instances:
  a: {node: one, port: 8100, engine: vllm, model: m, role: prefill}
  b: {node: two, port: 8200, engine: vllm, model: m, role: decode}
proxy: {node: one, port: 8192}
";

/// What is planned of the servers where the second node has its models in a place of its own.
fn with_models_elsewhere(text: &str) -> Vec<String> {
    let topology = topology(text);
    let mut model = Model::new(&topology);
    let two = model.nodes.get_mut(&"two".parse().unwrap()).unwrap();
    two.cache = Some("/data/hub".to_owned());
    let plan = model.plan(&topology);
    let servers = plan
        .changes
        .iter()
        .filter(|it| it.address.kind == "instance");
    let said = servers.map(|it| {
        let reasons: Vec<_> = it.reasons.iter().map(|it| it.text.as_str()).collect();
        format!("{} {} {}", it.action.sign(), it.address, reasons.join("; "))
    });
    said.collect()
}

#[test]
fn servers_that_share_requests_are_told_their_model_by_one_path() {
    insta::assert_snapshot!(with_models_elsewhere(SPLIT).join("\n"), @"
    ! one/instance.a its model is at /c/snapshots/0e9e, and at /data/hub/snapshots/0e9e for instance `b`: vLLM hands over only between servers that were told one path
    ! two/instance.b its model is at /data/hub/snapshots/0e9e, and at /c/snapshots/0e9e for instance `a`: vLLM hands over only between servers that were told one path
    ");
    let unlike = SPLIT.replace(
        "connector: nixl",
        "connector: nixl, enforce_handshake_compat: false",
    );
    let whole = SPLIT
        .replace(", role: prefill", "")
        .replace(", role: decode", "");
    for text in [unlike, whole] {
        let said = with_models_elsewhere(&text).join("\n");
        assert!(!said.contains("hands over"), "{said}");
    }
}

#[test]
fn a_server_that_runs_another_build_than_what_is_installed_now_is_replaced() {
    let (_, mut model) = converged(REAL);
    let plan = model.plan(&topology(REAL));
    model.perform(&plan);
    assert!(model.plan(&topology(REAL)).is_converged());
    let changed = topology(&REAL.replace("vllm: 0.13.0", "vllm: 0.13.0+cu130"));
    let plan = model.plan(&changed);
    insta::assert_snapshot!(describe(&plan), @r#"
    ~ one/engine.vllm other_version
    = one/model.m 
    -/+ one/instance.a differs
    [0] one/engine.vllm installing requires [] after []
    "#);
    model.perform(&plan);
    insta::assert_snapshot!(describe(&model.plan(&changed)), @"
    = one/engine.vllm 
    = one/model.m 
    -/+ one/instance.a differs
    [0] one/instance.a checking arguments requires [] after []
    [1] one/instance.a stop requires [0] after []
    [2] one/instance.a start requires [1] after []
    [3] one/instance.a await requires [2] after []
    ");
    // Somebody else does the same by hand: what is declared is content with any build.
    for node in model.nodes.values_mut() {
        node.vllm = Some("0.13.0+cu129".to_owned());
    }
    let plan = model.plan(&topology(REAL));
    let instance = plan.changes.last().unwrap();
    let fields: Vec<_> = instance.fields.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(fields, ["engine.installed.vllm"]);
}

#[test]
fn two_replacements_that_serve_together_go_one_after_another() {
    let (_, model) = converged(TWO);
    let changed = TWO.replace("{simulate:", "{args: {max_num_seqs: 64}, simulate:");
    insta::assert_snapshot!(describe(&model.plan(&topology(&changed))), @r#"
    = one/program 
    = two/program 
    -/+ one/instance.a differs
    -/+ two/instance.b differs
    = one/proxy 
    [0] one/instance.a tell drain requires [] after []
    [1] one/instance.a stop requires [0] after []
    [2] one/instance.a start requires [1] after []
    [3] one/instance.a await requires [2] after []
    [4] one/instance.a tell admit requires [3] after []
    [5] two/instance.b tell drain requires [4] after []
    [6] two/instance.b stop requires [5] after []
    [7] two/instance.b start requires [6] after []
    [8] two/instance.b await requires [7] after []
    [9] two/instance.b tell admit requires [8] after []
    "#);
}

#[test]
fn a_changed_policy_is_told_without_a_restart() {
    let (_, mut model) = converged(TWO);
    let changed = topology(&TWO.replace("port: 8192", "port: 8192, policy: least_connections"));
    let plan = model.plan(&changed);
    insta::assert_snapshot!(describe(&plan), @r#"
    = one/program 
    = two/program 
    = one/instance.a 
    = two/instance.b 
    ~ one/proxy differs
    [0] one/proxy tell configure requires [] after []
    "#);
    model.perform(&plan);
    assert!(model.plan(&changed).is_converged());
    assert!(model.stopped.is_empty());
}

#[test]
fn an_orphaned_engine_is_reaped_before_the_new_start() {
    let (topology, mut model) = converged(TWO);
    model.kill("two", "instance/b", true);
    insta::assert_snapshot!(describe(&model.plan(&topology)), @r#"
    = one/program 
    = two/program 
    = one/instance.a 
    -/+ two/instance.b orphaned
    = one/proxy 
    [0] two/instance.b tell drain requires [] after []
    [1] two/instance.b stop requires [0] after []
    [2] two/instance.b start requires [1] after []
    [3] two/instance.b await requires [2] after []
    [4] two/instance.b tell admit requires [3] after []
    "#);
}

#[test]
fn a_killed_server_is_all_that_is_repaired() {
    let (topology, mut model) = converged(TWO);
    model.kill("one", "instance/a", false);
    let plan = model.plan(&topology);
    insta::assert_snapshot!(describe(&plan), @r#"
    = one/program 
    = two/program 
    + one/instance.a gone
    = two/instance.b 
    = one/proxy 
    [0] one/instance.a start requires [] after []
    [1] one/instance.a await requires [0] after []
    [2] one/instance.a tell admit requires [1] after []
    "#);
    model.perform(&plan);
    assert!(model.plan(&topology).is_converged());
}

#[test]
fn what_left_the_manifest_is_drained_and_destroyed() {
    let (_, mut model) = converged(TWO);
    let fewer = topology(&TWO.replace(
        "  b: {node: two, port: 8200, engine: demo, model: demo}\n",
        "",
    ));
    let plan = model.plan(&fewer);
    insta::assert_snapshot!(describe(&plan), @r#"
    - two/instance.b undeclared
    - two/program undeclared
    = one/program 
    = one/instance.a 
    ~ one/proxy differs
    [0] two/instance.b tell drain requires [] after []
    [1] two/instance.b stop requires [0] after []
    [2] two/instance.b remove requires [1] after []
    [3] two/program remove requires [] after [2]
    [4] one/proxy tell configure requires [] after []
    "#);
    model.perform(&plan);
    let plan = model.plan(&fewer);
    assert!(plan.is_converged(), "{}", describe(&plan));
}

#[test]
fn a_stranger_on_a_wanted_port_blocks_and_is_left_alone() {
    let topology = topology(TWO);
    let mut model = Model::new(&topology);
    model.add_stranger("two", 8200);
    let plan = model.plan(&topology);
    let b = plan
        .changes
        .iter()
        .find(|c| c.address.to_string() == "two/instance.b")
        .unwrap();
    assert_eq!(b.action, Action::Blocked);
    insta::assert_snapshot!(b.reasons[0].text, @"port 8200 is held by pid 10 of user nvidia: some command");
    model.perform(&plan);
    assert!(model.stopped.is_empty());
}

#[test]
fn a_stale_server_gives_its_port_up_first_where_the_manifest_says_so() {
    let topology = topology(&TWO.replace("two: {", "two: {unmanaged: stop, "));
    let mut model = Model::new(&topology);
    model.add_stale("one", 8100);
    model.add_stale("two", 8200);
    let plan = model.plan(&topology);
    insta::assert_snapshot!(describe(&plan), @r#"
    - two/unmanaged.10 stale
    + one/program absent
    + two/program absent
    ! one/instance.a port_taken
    + two/instance.b absent
    + one/proxy absent
    [0] two/unmanaged.10 end requires [] after []
    [1] one/program upload requires [] after []
    [2] two/program upload requires [] after [0]
    [3] two/instance.b start requires [0, 2] after []
    [4] two/instance.b await requires [3] after []
    [5] one/proxy start requires [1] after [4]
    [6] one/proxy await requires [5] after []
    [7] one/proxy tell configure requires [6] after []
    "#);
    model.perform(&plan);
    assert!(
        model.nodes[&"two".parse().unwrap()]
            .groups
            .values()
            .all(|it| !it.stale)
    );
}

#[test]
fn an_unreachable_node_is_unknown_and_the_rest_goes_on() {
    let (topology, mut model) = converged(TWO);
    model
        .nodes
        .get_mut(&"two".parse().unwrap())
        .unwrap()
        .unreachable = true;
    model.kill("one", "instance/a", false);
    insta::assert_snapshot!(describe(&model.plan(&topology)), @r#"
    = one/program 
    ! two/program unreachable
    + one/instance.a gone
    ! two/instance.b unreachable
    = one/proxy 
    [0] one/instance.a start requires [] after []
    [1] one/instance.a await requires [0] after []
    [2] one/instance.a tell admit requires [1] after []
    "#);
}

#[test]
fn destroy_stops_the_front_first_and_leaves_nothing() {
    let (topology, mut model) = converged(TWO);
    let stranger = model.add_stranger("two", 9000);
    let plan = model.plan_destruction(&topology);
    insta::assert_snapshot!(describe(&plan), @r#"
    - one/proxy asked
    - one/instance.a asked
    - two/instance.b asked
    - one/program asked
    - two/program asked
    [0] one/proxy stop requires [] after []
    [1] one/proxy remove requires [0] after []
    [2] one/instance.a stop requires [] after [1]
    [3] one/instance.a remove requires [2] after []
    [4] two/instance.b stop requires [] after [1]
    [5] two/instance.b remove requires [4] after []
    [6] one/program remove requires [] after [1, 3, 5]
    [7] two/program remove requires [] after [1, 3, 5]
    "#);
    model.perform(&plan);
    assert!(model.plan_destruction(&topology).changes.is_empty());
    assert!(!model.stopped.contains(&("two".parse().unwrap(), stranger)));
}

#[test]
fn of_two_that_swap_ports_one_serves_on() {
    let one = TWO
        .replace("node: two, ", "node: one, ")
        .replace("proxy: {node: one", "proxy: {node: two");
    let (_, mut model) = converged(&one);
    let swapped = one
        .replace("8100", "X")
        .replace("8200", "8100")
        .replace('X', "8200");
    let swapped = topology(&swapped);
    let plan = model.plan(&swapped);
    insta::assert_snapshot!(describe(&plan), @"
    = one/program 
    = two/program 
    -/+ one/instance.a differs
    -/+ one/instance.b differs
    ~ two/proxy differs
    [0] one/instance.a tell drain requires [] after []
    [1] one/instance.a stop requires [0] after []
    [2] one/instance.a start requires [1] after []
    [3] one/instance.a await requires [2] after []
    [4] one/instance.a tell admit requires [3] after []
    [5] one/instance.a tell take_over requires [4] after []
    [6] one/instance.a stop requires [5] after []
    [7] one/instance.b start requires [6] after []
    [8] one/instance.b await requires [7] after []
    [9] one/instance.b tell admit requires [8] after []
    [10] two/proxy tell configure requires [6, 9] after []
    ");
    model.perform(&plan);
    let next = model.plan(&swapped);
    assert!(next.is_converged(), "{}", describe(&next));
}

#[test]
fn behind_a_failed_canary_the_old_servers_go_on_serving() {
    let (_, mut model) = converged(TWO);
    let changed = TWO
        .replace("{simulate:", "{args: {max_num_seqs: 64}, simulate:")
        .replace("port: 8192", "port: 8192, policy: random");
    let changed = topology(&changed);
    let plan = model.plan(&changed);
    model.perform_but(&plan, |step| matches!(&step.effect, Effect::Launch(_)));
    let live = model.nonces();
    let (_, _, config) = model.proxy().unwrap();
    let b = config.backends.iter().find(|b| b.name == "b").unwrap();
    assert!(is_live(b, &live), "b runs on, and is not forgotten");
    let plan = model.plan(&changed);
    model.perform(&plan);
    let next = model.plan(&changed);
    assert!(next.is_converged(), "{}", describe(&next));
}

/// The old one could not be drained and the new one does not start: what still serves is kept.
#[test]
fn a_server_that_moves_is_not_forgotten_before_the_new_one_serves() {
    let (_, mut model) = converged(TWO);
    let moved = TWO.replace("b: {node: two", "b: {node: one");
    let moved = topology(&moved.replace("port: 8192", "port: 8192, policy: random"));
    let plan = model.plan(&moved);
    let is_b = |address: &Address| address.name.as_deref() == Some("b");
    model.perform_but(&plan, |step| {
        is_b(&step.address) && matches!(&step.effect, Effect::ProxyControl(_) | Effect::Launch(_))
    });
    let (_, _, config) = model.proxy().unwrap();
    let b = config.backends.iter().find(|b| b.name == "b").unwrap();
    assert_eq!(b.authority, "10.0.0.2:8200", "{}", describe(&plan));
    assert!(is_live(b, &model.nonces()));
    let plan = model.plan(&moved);
    model.perform(&plan);
    let next = model.plan(&moved);
    assert!(next.is_converged(), "{}", describe(&next));
}

/// Says what is wrong with a plan by itself, whatever the world.
fn unlawful(plan: &Plan, topology: &Topology) -> Option<String> {
    let action = |address: &Address| {
        let change = plan.changes.iter().find(|c| c.address == *address)?;
        Some(change.action)
    };
    let mut reached: Vec<BTreeSet<usize>> = Vec::new();
    for step in &plan.steps {
        let before = step.requires.iter().chain(&step.after);
        if before.clone().any(|id| *id >= step.id) {
            return Some(format!("step {} waits for a later one", step.id));
        }
        let mut all: BTreeSet<usize> = step.requires.iter().copied().collect();
        for id in &step.requires {
            all.extend(&reached[*id]);
        }
        reached.push(all);
        if !action(&step.address).is_some_and(Action::acts) {
            return Some(format!("{} has a step and does not act", step.address));
        }
        if let Effect::Stop(stop) = &step.effect
            && !stop.mark_prefix.starts_with("v1:demo:")
        {
            return Some(format!("{} is not ours", stop.mark_prefix));
        }
        // That it is vLLM, the model sees when it suffers it.
        let node = step
            .address
            .node
            .as_ref()
            .and_then(|it| topology.nodes.get(it));
        if matches!(step.effect, Effect::KillUnmanaged(_))
            && node.is_none_or(|it| it.unmanaged() != UnmanagedPolicy::Stop)
        {
            return Some(format!("{} is nobody's to end", step.address));
        }
    }
    let unseen = Observation::default();
    for stand in assess(&catalogue(topology).resources(), &unseen) {
        let of = |address: &Address| {
            let steps = plan.steps.iter().filter(|s| s.address == *address);
            steps.map(|step| step.id).collect::<Vec<_>>()
        };
        for required in &stand.relations.requires {
            let first = of(stand.address()).first().copied();
            if let (Some(first), Some(last)) = (first, of(required).last())
                && !reached[first].contains(last)
            {
                return Some(format!("{} does not wait for {required}", stand.address()));
            }
        }
    }
    None
}

/// A topology drawn from choices: the last port is the proxy's.
fn drawn(ports: &[u16], moved: bool, policy: usize, args: u8, proxy: bool) -> String {
    let policy = ["round_robin", "least_connections", "random"][policy % 3];
    let mut text = String::from(
        "topology: demo\nnodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}}, two: {ssh: n@two, addresses: {lan: 10.0.0.2}}}\n\
         engines: {demo: {simulate: {profile: fast}}}\ninstances:\n",
    );
    let (last, ports) = ports.split_last().unwrap();
    for (i, port) in ports.iter().enumerate() {
        let node = if moved == (i % 2 == 0) { "one" } else { "two" };
        let _ = writeln!(
            text,
            "  i{i}: {{node: {node}, port: {port}, engine: demo, model: demo, args: {{seed: {args}}}}}"
        );
    }
    if proxy {
        let _ = writeln!(text, "proxy: {{node: one, port: {last}, policy: {policy}}}");
    }
    text
}

prop_compose! {
    pub(super) fn any_topology()(
        n in 2_usize..5, ports in Just(vec![8000_u16, 8001, 8002, 8003, 8004]).prop_shuffle(),
        moved: bool, policy in 0_usize..3, args in 0_u8..2, proxy: bool
    ) -> String {
        drawn(&ports[..n], moved, policy, args, proxy)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_any_state_to_any_other_the_next_plan_is_all_keep(
        first in any_topology(), second in any_topology(), dead in 0_usize..4, orphan: bool
    ) {
        let first = topology(&first);
        let mut model = Model::new(&first);
        let stranger = model.add_stranger("one", 22);
        let plan = model.plan(&first);
        model.perform(&plan);
        model.kill("one", &format!("instance/i{dead}"), orphan);
        let second = topology(&second);
        let plan = model.plan(&second);
        prop_assert_eq!(describe(&plan), describe(&model.plan(&second)), "deciding is deterministic");
        prop_assert_eq!(unlawful(&plan, &second), None);
        model.perform(&plan);
        let next = model.plan(&second);
        prop_assert!(next.is_converged(), "{}\nafter\n{}", describe(&next), describe(&plan));
        prop_assert!(model.nodes[&"one".parse().unwrap()].groups.contains_key(&stranger));
        for group in model.nodes.values().flat_map(|node| node.groups.values()) {
            if let Some(mark) = &group.mark {
                prop_assert!(is_of(mark, &second));
                prop_assert!(mark.ends_with(&digest(&group.spec)));
            }
        }
        let end = model.plan_destruction(&second);
        model.perform(&end);
        prop_assert!(model.plan_destruction(&second).changes.is_empty());
        prop_assert!(model.nodes.values().all(|node| node.files.is_empty()));
    }

    #[test]
    fn whatever_fails_on_the_way_nobody_is_cut_off_and_the_next_apply_converges(
        first in any_topology(), second in any_topology(), fails in proptest::collection::btree_set(0_usize..24, 0..4)
    ) {
        let first = topology(&first);
        let mut model = Model::new(&first);
        let stranger = model.add_stranger("one", 22);
        let neighbour = model.add_neighbour("two", 23);
        let plan = model.plan(&first);
        model.perform(&plan);
        let before = model.clone();
        let second = topology(&second);
        let plan = model.plan(&second);
        model.perform_but(&plan, |step| fails.contains(&step.id));
        let live = model.nonces();
        if let (Some(then), Some(now)) = (before.proxy(), model.proxy())
            && (then.0, then.1) == (now.0, now.1)
        {
            for backend in &then.2.backends {
                let is_declared = second.instances.keys().any(|name| name.as_str() == backend.name);
                // It is served from still, or from the one that took its place on another node.
                let serves = |other: &Backend| other.name == backend.name && is_live(other, &live);
                if is_declared && is_live(backend, &live) {
                    prop_assert!(now.2.backends.iter().any(serves), "{backend:?} was forgotten\n{}", describe(&plan));
                }
            }
        }
        if let Some((_, _, config)) = model.proxy() {
            let known = before.proxy().map_or_else(Vec::new, |(_, _, config)| config.backends.clone());
            for backend in &config.backends {
                let is_there = is_live(backend, &live) || known.contains(backend);
                prop_assert!(is_there, "{backend:?} was never started\n{}", describe(&plan));
            }
        }
        for _ in 0..2 {
            let plan = model.plan(&second);
            prop_assert_eq!(unlawful(&plan, &second), None);
            model.perform(&plan);
        }
        let next = model.plan(&second);
        prop_assert!(next.is_converged(), "{}\nafter\n{}", describe(&next), describe(&plan));
        prop_assert!(model.nodes[&"one".parse().unwrap()].groups.contains_key(&stranger));
        prop_assert!(model.nodes[&"two".parse().unwrap()].groups.contains_key(&neighbour));
    }

    #[test]
    fn stale_servers_are_ended_where_the_manifest_says_so_and_nowhere_else(
        first in any_topology(), second in any_topology(), port in 8000_u16..8005
    ) {
        let stops = |text: &str| topology(&text.replace("two: {", "two: {unmanaged: stop, "));
        let first = topology(&first);
        let mut model = Model::new(&first);
        let plan = model.plan(&first);
        model.perform(&plan);
        let kept = [
            ("one", model.add_stale("one", 9000)),
            ("two", model.add_stranger("two", 22)),
            ("two", model.add_neighbour("two", 23)),
        ];
        model.add_stale("two", port);
        let second = stops(&second);
        let plan = model.plan(&second);
        prop_assert_eq!(unlawful(&plan, &second), None);
        model.perform(&plan);
        let next = model.plan(&second);
        prop_assert!(next.is_converged(), "{}\nafter\n{}", describe(&next), describe(&plan));
        let lives = |node: &str, pid: u32| model.nodes[&node.parse().unwrap()].groups.contains_key(&pid);
        for (node, pid) in kept {
            prop_assert!(lives(node, pid), "{} was ended on {}", pid, node);
        }
        let mut groups = model.nodes[&"two".parse().unwrap()].groups.values();
        prop_assert!(!groups.any(|group| group.stale));
        let end = model.plan_destruction(&second);
        prop_assert!(!end.steps.iter().any(|step| matches!(step.effect, Effect::KillUnmanaged(_))));
    }

    #[test]
    fn an_unreachable_node_gets_no_step(text in any_topology(), other in any_topology()) {
        let first = topology(&text);
        let mut model = Model::new(&first);
        let plan = model.plan(&first);
        model.perform(&plan);
        model.nodes.get_mut(&"two".parse().unwrap()).unwrap().unreachable = true;
        let other = topology(&other);
        let plan = model.plan(&other);
        prop_assert_eq!(unlawful(&plan, &other), None);
        model.perform(&plan);
    }
}
