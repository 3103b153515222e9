//! Rounds over a small world: things that are there or not, and steps that fail.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::converge::execute::Say;
use crate::converge::{assess, decide};
use crate::name::NodeName;
use crate::plan::{
    Approved, Effect, Failure, LivenessProbe, Operation, Operations, Reason, ReasonCode, Relations,
    Stand,
};
use crate::resource::Facts;

const ID: &str = "things";

fn node() -> NodeName {
    "n".parse().unwrap()
}

fn at(name: &str) -> Address {
    name.parse().unwrap()
}

/// A thing of a test; it is there once its step was performed.
#[derive(Clone)]
struct Thing {
    address: Address,
    relations: Relations,
}

impl Thing {
    fn new(address: &str) -> Self {
        Self {
            address: at(address),
            relations: Relations::default(),
        }
    }

    fn requiring(mut self, others: &[&str]) -> Self {
        self.relations.requires = others.iter().map(|other| at(other)).collect();
        self
    }

    fn made_of(mut self, other: &str) -> Self {
        self.relations.replan_after = vec![at(other)];
        self
    }
}

impl Resource for Thing {
    fn address(&self) -> &Address {
        &self.address
    }

    fn facts(&self) -> Vec<(NodeName, Fact)> {
        vec![(node(), Fact::new(ID, ""))]
    }

    fn liveness_probe(&self, _: &Observation) -> Option<LivenessProbe> {
        None
    }

    fn stand(&self, observed: &Observation) -> Stand {
        let facts = observed.of(&node()).unwrap();
        let address = self.address.to_string();
        let change = if facts.get(ID).lines().any(|line| line == address) {
            Change::keep(&self.address, "")
        } else {
            let reason = Reason::new(ReasonCode::Absent, "it is not there");
            Change::new(&self.address, Action::Create, vec![reason])
        };
        Stand {
            operations: Operations {
                start: vec![Operation::on(&node(), Effect::Remove { paths: Vec::new() })],
                ..Operations::default()
            },
            relations: self.relations.clone(),
            ..Stand::new(change)
        }
    }
}

/// How often each thing was tried, which are there, and which never come to be.
#[derive(Default)]
struct Nodes {
    tried: Mutex<BTreeMap<String, usize>>,
    there: Mutex<BTreeSet<String>>,
    fails: BTreeSet<&'static str>,
    /// What does nothing, and says that it did.
    lies: BTreeSet<&'static str>,
}

impl World for Nodes {
    async fn observe(&self, _: &[Arc<dyn Resource>], _: &[Fact]) -> Observation {
        let there: Vec<_> = self.there.lock().unwrap().iter().cloned().collect();
        let mut observed = Observation::default();
        let mut facts = Facts::default();
        facts.insert(ID, there.join("\n"));
        observed.insert(node(), Ok(facts));
        observed
    }

    async fn perform(&self, step: &Step, _: &Say) -> Result<String, Failure> {
        let name = step.address.to_string();
        *self.tried.lock().unwrap().entry(name.clone()).or_default() += 1;
        if self.fails.contains(name.as_str()) {
            return Err(Failure::new("it failed"));
        }
        if !self.lies.contains(name.as_str()) {
            self.there.lock().unwrap().insert(name);
        }
        Ok(String::new())
    }
}

struct Things(Vec<Thing>);

impl Desired for Things {
    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        let things = self.0.iter().cloned();
        things.map(|thing| Arc::new(thing) as _).collect()
    }

    fn standing(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn plan(&self, resources: &[Arc<dyn Resource>], observed: &Observation) -> Plan {
        decide(assess(resources, observed), observed)
    }
}

/// Converges these things in a world; returns how often each was tried, and what is left.
async fn converge(things: Vec<Thing>, world: Nodes, interrupted: bool) -> (Vec<String>, Plan) {
    converge_as(Approval::Everything, things, world, interrupted).await
}

async fn converge_as(
    approval: Approval,
    things: Vec<Thing>,
    world: Nodes,
    interrupted: bool,
) -> (Vec<String>, Plan) {
    let (tried, left, _) = told(approval, things, world, interrupted).await;
    (tried, left)
}

/// The same, with what was said to have failed.
async fn told(
    approval: Approval,
    things: Vec<Thing>,
    world: Nodes,
    interrupted: bool,
) -> (Vec<String>, Plan, Vec<String>) {
    let (events, mut receiver) = mpsc::unbounded_channel();
    let interrupt = Interrupt::default();
    if interrupted {
        interrupt.set();
    }
    let run = Run {
        world: Arc::new(world),
        events,
        interrupt,
        approval,
        parallelism: None,
    };
    let desired = Things(things);
    let (_, plan) = plan(run.world.as_ref(), &desired).await;
    let converged = run.converge(&desired, plan).await;
    let tried = run.world.tried.lock().unwrap();
    let tried = tried.iter().map(|(name, n)| format!("{name} x{n}"));
    let mut failed = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        if let Event::Failed {
            address, failure, ..
        } = event
        {
            failed.push(format!("{address}: {failure}"));
        }
    }
    (tried.collect(), converged.left, failed)
}

fn things() -> Vec<Thing> {
    vec![
        Thing::new("n/engine.e"),
        Thing::new("n/instance.a")
            .requiring(&["n/engine.e"])
            .made_of("n/engine.e"),
        Thing::new("n/instance.b"),
        Thing::new("benchmark.one").requiring(&["n/instance.a", "n/instance.b"]),
    ]
}

#[tokio::test]
async fn what_is_made_of_another_comes_in_the_round_after_and_measurements_come_last() {
    let (tried, left) = converge(things(), Nodes::default(), false).await;
    assert_eq!(
        tried,
        [
            "benchmark.one x1",
            "n/engine.e x1",
            "n/instance.a x1",
            "n/instance.b x1"
        ]
    );
    assert!(left.is_converged());
}

#[tokio::test]
async fn what_failed_is_not_tried_again_nor_what_hangs_on_it_and_nothing_is_measured() {
    let world = Nodes {
        fails: ["n/engine.e"].into(),
        ..Nodes::default()
    };
    let (tried, left) = converge(things(), world, false).await;
    assert_eq!(tried, ["n/engine.e x1", "n/instance.b x1"]);
    assert_eq!(left.summary().create, 3);
}

#[tokio::test]
async fn the_last_word_is_what_was_seen_and_what_does_not_stay_is_made_once() {
    let world = Nodes {
        lies: ["n/instance.b"].into(),
        ..Nodes::default()
    };
    let (tried, left, failed) = told(Approval::Everything, things(), world, false).await;
    assert_eq!(
        tried,
        ["n/engine.e x1", "n/instance.a x1", "n/instance.b x1"]
    );
    assert_eq!(
        left.summary().create,
        2,
        "the server, and the measurement of it"
    );
    assert_eq!(
        failed,
        ["n/instance.b: it did not stay: it is not there"],
        "once"
    );
}

#[tokio::test]
async fn what_nobody_agreed_to_is_not_done_nor_what_hangs_on_it() {
    let approved = Plan {
        changes: ["n/instance.b", "benchmark.one"]
            .map(|it| Change::new(&at(it), Action::Create, Vec::new()))
            .into(),
        ..Plan::default()
    };
    let approval = Approval::Of(Approved::of(&approved));
    let (tried, left) = converge_as(approval, things(), Nodes::default(), false).await;
    assert_eq!(tried, ["n/instance.b x1"]);
    assert_eq!(left.summary().create, 3);
}

#[tokio::test]
async fn an_interrupted_run_begins_nothing() {
    let (tried, left) = converge(things(), Nodes::default(), true).await;
    assert!(tried.is_empty(), "{tried:?}");
    assert_eq!(left.summary().create, 4);
}

#[test]
fn dependents_of_dependents_are_not_tried_either() {
    let step = |id, address: &str, requires: &[usize]| Step {
        id,
        address: at(address),
        node: None,
        effect: Effect::Remove { paths: Vec::new() },
        requires: requires.to_vec(),
        after: Vec::new(),
    };
    let plan = Plan {
        steps: vec![
            step(0, "n/a", &[]),
            step(1, "n/b", &[0]),
            step(2, "n/c", &[1]),
            step(3, "n/d", &[]),
        ],
        ..Plan::default()
    };
    let undone = with_dependents(BTreeSet::from([at("n/a")]), &plan);
    assert_eq!(undone, BTreeSet::from([at("n/a"), at("n/b"), at("n/c")]));
}
