//! Laws of converging: the rounds of the real corridor, over the model of the nodes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use replica::converge::{Converged, Desired, Interrupt, Run, Say, World};
use replica::name::NodeName;
use replica::plan::{Action, Approval, Approved, Failure, Plan, Step};
use replica::resource::{Fact, Observation, Resource, Topology, Undeclared};
use tokio::sync::mpsc;

use super::deciding::any_topology;
use super::model::{Model, catalogue, plan, topology};

/// The model as a world: the steps with these numbers, counted as they are tried, fail.
struct Modelled {
    model: Mutex<(Model, usize)>,
    fails: BTreeSet<usize>,
}

impl World for Modelled {
    async fn observe(&self, resources: &[Arc<dyn Resource>], standing: &[Fact]) -> Observation {
        self.model.lock().unwrap().0.observe(resources, standing)
    }

    async fn perform(&self, step: &Step, _: &Say) -> Result<String, Failure> {
        let mut locked = self.model.lock().unwrap();
        let (model, tried) = &mut *locked;
        *tried += 1;
        if self.fails.contains(tried) {
            return Err(Failure::new("it failed, on purpose"));
        }
        model.suffer(step);
        Ok(String::new())
    }
}

/// What a manifest declares, or nothing of it.
struct Wish<'a> {
    topology: &'a Topology,
    is_declared: bool,
}

impl Desired for Wish<'_> {
    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        if self.is_declared {
            catalogue(self.topology).resources()
        } else {
            Vec::new()
        }
    }

    fn standing(&self) -> Vec<Fact> {
        Undeclared::facts(self.topology)
    }

    fn plan(&self, resources: &[Arc<dyn Resource>], observed: &Observation) -> Plan {
        plan(self.topology, resources, observed)
    }
}

/// Converges a model on a wish, as the commands do; returns what it came to.
fn converge(model: Model, wish: &Wish<'_>, fails: &BTreeSet<usize>) -> (Model, Converged) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async {
        let (events, _receiver) = mpsc::unbounded_channel();
        let world = Modelled {
            model: Mutex::new((model, 0)),
            fails: fails.clone(),
        };
        let (_, plan) = replica::converge::plan(&world, wish).await;
        let run = Run {
            world: Arc::new(world),
            events,
            interrupt: Interrupt::default(),
            // Whoever agrees to a plan has agreed to all that it takes.
            approval: Approval::Of(Approved::of(&plan)),
            parallelism: None,
        };
        let converged = run.converge(wish, plan).await;
        let model = run.world.model.lock().unwrap().0.clone();
        (model, converged)
    })
}

fn declared(topology: &Topology) -> Wish<'_> {
    Wish {
        topology,
        is_declared: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_run_converges_and_one_more_destroys(
        first in any_topology(), second in any_topology(), dead in 0_usize..4, orphan: bool
    ) {
        let (first, second) = (topology(&first), topology(&second));
        let never = BTreeSet::new();
        let (mut model, made) = converge(Model::new(&first), &declared(&first), &never);
        prop_assert!(made.left.is_converged());
        model.kill("one", &format!("instance/i{dead}"), orphan);
        let (model, made) = converge(model, &declared(&second), &never);
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
        let nothing = Wish { topology: &second, is_declared: false };
        let (model, gone) = converge(model, &nothing, &never);
        prop_assert!(gone.left.changes.is_empty());
        prop_assert!(model.nodes.values().all(|node| node.files.is_empty()));
    }

    #[test]
    fn what_failed_is_left_to_do_and_the_next_run_does_it(
        first in any_topology(), second in any_topology(), fails in proptest::collection::btree_set(1_usize..24, 1..4)
    ) {
        let (first, second) = (topology(&first), topology(&second));
        let (model, _) = converge(Model::new(&first), &declared(&first), &fails);
        let (model, made) = converge(model, &declared(&second), &fails);
        let is_made = |plan: &Plan| plan.changes.iter().all(|it| it.action == Action::Keep);
        prop_assert_eq!(made.left.is_converged(), is_made(&made.left));
        let (_, made) = converge(model, &declared(&second), &BTreeSet::new());
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
    }

    #[test]
    fn who_goes_back_half_way_keeps_all_that_serves_still(
        first in any_topology(), second in any_topology(), reached in 0_usize..24
    ) {
        let (first, second) = (topology(&first), topology(&second));
        let (model, _) = converge(Model::new(&first), &declared(&first), &BTreeSet::new());
        let before = servers(&model);
        let (model, _) = converge(model, &declared(&second), &after(reached));
        let kept: BTreeSet<_> = servers(&model).intersection(&before).cloned().collect();
        let (model, made) = converge(model, &declared(&first), &BTreeSet::new());
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
        let lost: Vec<_> = kept.difference(&servers(&model)).cloned().collect();
        prop_assert!(lost.is_empty(), "{lost:?} were declared, and stopped");
    }

    #[test]
    fn what_former_starts_left_behind_goes_and_what_serves_stays(first in any_topology()) {
        let first = topology(&first);
        let never = BTreeSet::new();
        let (mut model, _) = converge(Model::new(&first), &declared(&first), &never);
        let before = servers(&model);
        model.leave_behind();
        let (model, made) = converge(model, &declared(&first), &never);
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
        prop_assert_eq!(servers(&model), before);
        let mut left = model.nodes.values().flat_map(|node| node.groups.values());
        prop_assert!(!left.any(|group| group.orphan));
    }

    #[test]
    fn what_falls_silent_half_way_is_brought_up_again(
        first in any_topology(), second in any_topology(), reached in 0_usize..24
    ) {
        let (first, second) = (topology(&first), topology(&second));
        let never = BTreeSet::new();
        let (model, _) = converge(Model::new(&first), &declared(&first), &never);
        let former = marks(&model);
        let (mut model, _) = converge(model, &declared(&second), &after(reached));
        model.silent = marks(&model).difference(&former).cloned().collect();
        let silent = model.silent.clone();
        let (model, made) = converge(model, &declared(&second), &never);
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
        prop_assert!(silent.is_disjoint(&marks(&model)));
    }

    #[test]
    fn who_declares_something_else_half_way_comes_to_that(
        first in any_topology(), second in any_topology(), third in any_topology(), reached in 0_usize..24
    ) {
        let [first, second, third] = [first, second, third].map(|it| topology(&it));
        let (model, _) = converge(Model::new(&first), &declared(&first), &BTreeSet::new());
        let (model, _) = converge(model, &declared(&second), &after(reached));
        let (_, made) = converge(model, &declared(&third), &BTreeSet::new());
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
    }

    #[test]
    fn what_dies_half_way_is_made_anew_and_one_more_run_destroys(
        manifests in [any_topology(), any_topology(), any_topology()], reached in [0_usize..24, 0..24],
        dead in (0_usize..4, any::<bool>(), any::<bool>())
    ) {
        let [first, second, third] = manifests.map(|it| topology(&it));
        let ((place, orphan, on_two), never) = (dead, BTreeSet::new());
        let (model, _) = converge(Model::new(&first), &declared(&first), &never);
        let (mut model, _) = converge(model, &declared(&second), &after(reached[0]));
        model.kill(if on_two { "two" } else { "one" }, &format!("instance/i{place}"), orphan);
        let (model, _) = converge(model, &declared(&third), &after(reached[1]));
        let (model, made) = converge(model, &declared(&second), &never);
        prop_assert!(made.left.is_converged(), "{:?}", made.left.changes);
        let nothing = Wish { topology: &second, is_declared: false };
        let (model, gone) = converge(model, &nothing, &never);
        prop_assert!(gone.left.changes.is_empty(), "{:?}", gone.left.changes);
        prop_assert!(model.nodes.values().all(|node| node.files.is_empty() && node.groups.is_empty()));
    }
}

/// A run that is killed does nothing after this step.
fn after(reached: usize) -> BTreeSet<usize> {
    (reached + 1..reached + 500).collect()
}

/// The marks of all servers that run.
fn marks(model: &Model) -> BTreeSet<String> {
    let servers = servers(model).into_iter();
    servers.map(|(_, _, mark)| mark).collect()
}

/// Each start of a server that runs: its node, its pid, and its mark.
fn servers(model: &Model) -> BTreeSet<(NodeName, u32, String)> {
    let groups = model.nodes.iter().flat_map(|(node, it)| {
        let groups = it.groups.iter();
        groups.map(move |(pid, group)| (node.clone(), *pid, group))
    });
    let marked = groups.filter(|(_, _, group)| group.leads && group.listens);
    let marked = marked.filter_map(|(node, pid, group)| Some((node, pid, group.mark.clone()?)));
    let is_server = |it: &(_, _, String)| it.2.contains(":instance/");
    marked.filter(is_server).collect()
}

/// One that was begun to take over, when its run ended, has its former port until it has: who is to have that
/// port waits for it, in the same run.
#[test]
fn a_port_that_is_left_by_what_was_begun_is_waited_for() {
    let text = |ports: [u16; 3]| {
        let on = |(name, node, port)| {
            format!("  {name}: {{node: {node}, port: {port}, engine: demo, model: demo}}\n")
        };
        let [i0, i1, i2] = ports;
        let servers = [("i0", "two", i0), ("i1", "one", i1), ("i2", "two", i2)].map(on);
        let nodes = "{one: {ssh: n@one, addresses: {lan: 10.0.0.1}}, two: {ssh: n@two, addresses: {lan: 10.0.0.2}}}";
        format!(
            "topology: demo\nnodes: {nodes}\nengines: {{demo: {{simulate: {{profile: fast}}}}}}\ninstances:\n{}\
             proxy: {{node: one, port: 8004}}\n",
            servers.concat()
        )
    };
    let (first, second) = (
        topology(&text([8000, 8002, 8001])),
        topology(&text([8001, 8000, 8002])),
    );
    let (never, fifth) = (BTreeSet::new(), BTreeSet::from([5]));
    let (model, _) = converge(Model::new(&first), &declared(&first), &never);
    // The proxy is not told of what has started.
    let (model, made) = converge(model, &declared(&second), &fifth);
    assert!(!made.left.is_converged());
    let (_, made) = converge(model, &declared(&second), &never);
    assert!(made.left.is_converged(), "{:#?}", made.left.changes);
}

/// A proxy that another took over from finishes what is in flight and listens no more: its former port is
/// free for who is to have it, though it has not ended.
#[test]
fn the_former_port_of_a_proxy_that_still_finishes_is_free() {
    let text = |server: u16, proxy: u16, more: &str| {
        topology(&format!(
            "topology: demo\nnodes: {{one: {{ssh: n@one}}}}\nengines: {{demo: {{simulate: {{profile: fast}}}}}}\n\
             instances:\n  i0: {{node: one, port: {server}, engine: demo, model: demo}}\n{more}\
             proxy: {{node: one, port: {proxy}}}\n"
        ))
    };
    let (first, second) = (text(8000, 8002, ""), text(8001, 8003, ""));
    let third = text(
        8001,
        8003,
        "  i1: {node: one, port: 8002, engine: demo, model: demo}\n",
    );
    let never = BTreeSet::new();
    let (model, _) = converge(Model::new(&first), &declared(&first), &never);
    let proxies = |model: &Model| {
        let groups = model.nodes.values().flat_map(|it| it.groups.values());
        let marks = groups.filter_map(|it| it.mark.clone());
        marks.filter(|it| it.contains(":proxy:")).count()
    };
    let mut beside = 0;
    for reached in 1..24 {
        let (model, _) = converge(model.clone(), &declared(&second), &after(reached));
        beside += usize::from(proxies(&model) == 2);
        let (_, made) = converge(model, &declared(&third), &never);
        assert!(
            made.left.is_converged(),
            "after {reached}: {:#?}",
            made.left.changes
        );
    }
    assert_ne!(beside, 0, "no run ended between two proxies");
}
