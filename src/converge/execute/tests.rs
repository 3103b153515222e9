//! The walk, through a world of gates: a step ends when its gate is opened, never by the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use tokio::sync::Notify;

use super::*;
use crate::name::NodeName;
use crate::plan::effect::ProxyControl;
use crate::plan::effect::control::{Keys, Request};
use crate::plan::{Action, Effect};
use crate::resource::{Fact, Observation, Resource};

/// What becomes of the steps of one thing.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Succeeds,
    Fails,
    Panics,
}

/// A world that keeps an account of what is done, and waits where a gate is shut.
#[derive(Default)]
struct Gates {
    fates: BTreeMap<String, Fate>,
    shut: Mutex<BTreeSet<StepId>>,
    opened: Notify,
    account: Mutex<Vec<String>>,
    noted: Notify,
}

impl Gates {
    fn note(&self, words: String) {
        self.account.lock().unwrap().push(words);
        self.noted.notify_waiters();
    }

    fn account(&self) -> Vec<String> {
        self.account.lock().unwrap().clone()
    }

    fn shut(&self, steps: impl IntoIterator<Item = StepId>) {
        self.shut.lock().unwrap().extend(steps);
    }

    fn open(&self, step: StepId) {
        self.shut.lock().unwrap().remove(&step);
        self.opened.notify_waiters();
    }

    /// Waits until all of this was noted, in whichever order.
    async fn saw(&self, words: &[&str]) {
        loop {
            let noted = self.noted.notified();
            if words.iter().all(|w| self.account().iter().any(|a| a == w)) {
                return;
            }
            noted.await;
        }
    }
}

impl World for Gates {
    async fn observe(&self, _: &[Arc<dyn Resource>], _: &[Fact]) -> Observation {
        Observation::default()
    }

    async fn perform(&self, step: &Step, say: &Say) -> Result<String, Failure> {
        let name = step.address.local();
        self.note(format!("{name} begins {}", step.id));
        say.phase(Phase::new("working"));
        loop {
            let opened = self.opened.notified();
            if !self.shut.lock().unwrap().contains(&step.id) {
                break;
            }
            opened.await;
        }
        let fate = self.fates.get(&name).copied().unwrap_or(Fate::Succeeds);
        assert!(fate != Fate::Panics, "a step that panics, on purpose");
        self.note(format!("{name} ends {}", step.id));
        match fate {
            Fate::Fails => Err(Failure::new("it failed")),
            _ => Ok(format!("did {}", step.id)),
        }
    }
}

fn address(name: &str) -> Address {
    let node: NodeName = "n".parse().unwrap();
    Address::on(&node, "thing", Some(name))
}

/// A plan: for each thing its name, how many steps it has, what its first waits for.
fn plan(things: &[(&str, usize, &[StepId], &[StepId])]) -> Plan {
    let mut plan = Plan::default();
    for (name, count, requires, after) in things {
        let change = Change::new(&address(name), Action::Create, Vec::new());
        plan.changes.push(change);
        for place in 0..*count {
            let id = plan.steps.len();
            plan.steps.push(Step {
                id,
                address: address(name),
                node: address(name).node,
                effect: Effect::Remove { paths: Vec::new() },
                requires: if place == 0 {
                    requires.to_vec()
                } else {
                    vec![id - 1]
                },
                after: if place == 0 {
                    after.to_vec()
                } else {
                    Vec::new()
                },
            });
        }
    }
    plan
}

/// A walk that is under way.
struct Walk {
    world: Arc<Gates>,
    interrupt: Interrupt,
    events: mpsc::UnboundedReceiver<Event>,
    task: tokio::task::JoinHandle<Report>,
}

impl Walk {
    fn begin(plan: Plan, world: Gates) -> Self {
        Self::begin_with(plan, world, None)
    }

    fn begin_with(plan: Plan, world: Gates, parallelism: Option<NonZeroUsize>) -> Self {
        let world = Arc::new(world);
        let interrupt = Interrupt::default();
        let (sender, events) = mpsc::unbounded_channel();
        let walk = {
            let (world, interrupt) = (Arc::clone(&world), interrupt.clone());
            async move { execute(&plan, |_| true, &world, &sender, &interrupt, parallelism).await }
        };
        Self {
            task: tokio::spawn(walk),
            world,
            interrupt,
            events,
        }
    }

    /// Waits for its end, which must come: under paused time, a walk that hangs runs into the
    /// limit at once.
    async fn end(mut self) -> (Report, Vec<String>) {
        let limit = std::time::Duration::from_secs(3600);
        let report = tokio::time::timeout(limit, self.task).await;
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            told.push(match event {
                Event::Started { change } => format!("{} started", change.address.local()),
                Event::Finished {
                    address, outcome, ..
                } => format!("{} finished: {outcome}", address.local()),
                Event::Failed {
                    address, failure, ..
                } => {
                    format!("{} failed: {}", address.local(), failure.message)
                }
                Event::Skipped { address, because } => {
                    format!("{} skipped: {because}", address.local())
                }
                Event::Step { .. } | Event::Progress { .. } | Event::Note(_) => continue,
            });
        }
        (report.expect("the walk hangs").unwrap(), told)
    }
}

fn names(addresses: &[Address]) -> Vec<String> {
    addresses
        .iter()
        .map(|address| address.name.clone().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_requires_waits_for_the_whole_chain() {
    let walk = Walk::begin(
        plan(&[("a", 2, &[], &[]), ("b", 1, &[1], &[])]),
        Gates::default(),
    );
    let world = Arc::clone(&walk.world);
    let (report, told) = walk.end().await;
    assert_eq!(names(&report.applied), ["a", "b"]);
    assert_eq!(
        world.account(),
        [
            "thing.a begins 0",
            "thing.a ends 0",
            "thing.a begins 1",
            "thing.a ends 1",
            "thing.b begins 2",
            "thing.b ends 2",
        ]
    );
    assert_eq!(
        told,
        [
            "thing.a started",
            "thing.a finished: did 1",
            "thing.b started",
            "thing.b finished: did 2"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_nothing_ties_runs_side_by_side() {
    let world = Gates::default();
    world.shut([0, 1]);
    let walk = Walk::begin(plan(&[("a", 1, &[], &[]), ("b", 1, &[], &[])]), world);
    // Both have begun while neither can end.
    walk.world
        .saw(&["thing.a begins 0", "thing.b begins 1"])
        .await;
    walk.world.open(1);
    walk.world.saw(&["thing.b ends 1"]).await;
    walk.world.open(0);
    let world = Arc::clone(&walk.world);
    let (report, _) = walk.end().await;
    assert_eq!(names(&report.applied), ["a", "b"]);
    let account = world.account();
    let at = |words: &str| account.iter().position(|line| line == words);
    assert!(
        at("thing.b ends 1") < at("thing.a ends 0"),
        "as the gates were opened"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    let world = Gates {
        fates: [("thing.a".to_owned(), Fate::Fails)].into(),
        ..Gates::default()
    };
    let things: [(&str, usize, &[usize], &[usize]); 5] = [
        ("a", 2, &[], &[]),
        ("b", 1, &[1], &[]),
        ("c", 1, &[2], &[]),
        ("d", 1, &[], &[1]),
        ("e", 1, &[], &[]),
    ];
    let walk = Walk::begin(plan(&things), world);
    let world = Arc::clone(&walk.world);
    let (report, told) = walk.end().await;
    assert_eq!(names(&report.applied), ["d", "e"], "after does not require");
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].1.message, "it failed");
    let skipped: Vec<_> = report
        .skipped
        .iter()
        .map(|(address, because)| format!("{} {because}", address.local()))
        .collect();
    assert_eq!(
        skipped,
        [
            "thing.b n/thing.a was not done",
            "thing.c n/thing.b was not done"
        ]
    );
    assert!(told.contains(&"thing.b skipped: n/thing.a was not done".to_owned()));
    assert!(
        !world.account().contains(&"thing.a begins 1".to_owned()),
        "a chain ends where it fails"
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_waits_for_the_end_however_it_ends() {
    let world = Gates {
        fates: [("thing.a".to_owned(), Fate::Fails)].into(),
        ..Gates::default()
    };
    world.shut([0]);
    let walk = Walk::begin(
        plan(&[
            ("a", 1, &[], &[]),
            ("b", 1, &[], &[0]),
            ("free", 1, &[], &[]),
        ]),
        world,
    );
    walk.world
        .saw(&["thing.a begins 0", "thing.free ends 2"])
        .await;
    assert!(
        !walk
            .world
            .account()
            .contains(&"thing.b begins 1".to_owned())
    );
    walk.world.open(0);
    let (report, _) = walk.end().await;
    assert_eq!(names(&report.applied), ["b", "free"]);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_lets_what_runs_come_to_its_end_and_begins_nothing_more() {
    let world = Gates::default();
    world.shut([0]);
    let walk = Walk::begin(
        plan(&[("a", 2, &[], &[]), ("b", 1, &[1], &[]), ("c", 1, &[], &[1])]),
        world,
    );
    walk.world.saw(&["thing.a begins 0"]).await;
    walk.interrupt.set();
    walk.world.open(0);
    let (report, told) = walk.end().await;
    assert_eq!(
        names(&report.applied),
        ["a"],
        "a thing is not left half-made"
    );
    assert!(report.failed.is_empty());
    assert!(told.contains(&"thing.b skipped: interrupted".to_owned()));
    assert!(told.contains(&"thing.c skipped: interrupted".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_is_said_to_be_a_bug_and_hangs_nobody() {
    let world = Gates {
        fates: [("thing.a".to_owned(), Fate::Panics)].into(),
        ..Gates::default()
    };
    let walk = Walk::begin(
        plan(&[("a", 1, &[], &[]), ("b", 1, &[0], &[]), ("c", 1, &[], &[0])]),
        world,
    );
    let (report, told) = walk.end().await;
    assert_eq!(names(&report.applied), ["c"]);
    assert_eq!(names(&[report.failed[0].0.clone()]), ["a"]);
    assert_eq!(report.failed[0].1, Failure::bug("the step crashed"));
    assert_eq!(names(&[report.skipped[0].0.clone()]), ["b"]);
    let bug = "thing.a failed: the step crashed";
    assert!(
        told.contains(&bug.to_owned()),
        "whoever watches is told: {told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_wanted_is_not_walked_and_not_waited_for() {
    let plan = plan(&[("a", 1, &[], &[]), ("b", 1, &[0], &[])]);
    let (sender, _events) = mpsc::unbounded_channel();
    let world = Arc::new(Gates::default());
    let wanted = |change: &Change| change.address.name.as_deref() == Some("b");
    let report = execute(&plan, wanted, &world, &sender, &Interrupt::default(), None).await;
    assert_eq!(names(&report.applied), ["b"]);
    assert_eq!(world.account(), ["thing.b begins 1", "thing.b ends 1"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_need_listen() {
    let plan = plan(&[("a", 1, &[], &[])]);
    let (sender, events) = mpsc::unbounded_channel();
    drop(events);
    let world = Arc::new(Gates::default());
    let report = execute(
        &plan,
        |_| true,
        &world,
        &sender,
        &Interrupt::default(),
        None,
    )
    .await;
    assert_eq!(names(&report.applied), ["a"]);
}

/// The control: a world whose gate stays shut is a walk that hangs, and that is noticed.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "the walk hangs")]
async fn a_walk_that_hangs_is_noticed() {
    let world = Gates::default();
    world.shut([0]);
    Walk::begin(plan(&[("a", 1, &[], &[])]), world).end().await;
}

/// The plan of a proxy that is told of these things, once they are there, and of nothing else.
fn telling(things: &[&str]) -> Plan {
    let mut made: Vec<(&str, usize, &[StepId], &[StepId])> = Vec::new();
    made.extend(things.iter().map(|name| (*name, 1, &[][..], &[][..])));
    let all: Vec<StepId> = (0..things.len()).collect();
    made.push(("proxy", 1, &[], &all));
    let mut plan = plan(&made);
    let awaited = things
        .iter()
        .map(|name| ((*name).to_owned(), address(name)));
    let told = ProxyControl {
        program: String::new(),
        folder: String::new(),
        request: Request::Status,
        keys: Keys::default(),
        awaited: awaited.collect(),
        tells_more: false,
        timeout: None,
    };
    plan.steps.last_mut().unwrap().effect = Effect::ProxyControl(Box::new(told));
    plan
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_nothing_names_what_was_not_done() {
    let fails = |names: &[&str]| {
        let fates = names
            .iter()
            .map(|name| (format!("thing.{name}"), Fate::Fails));
        Gates {
            fates: fates.collect(),
            ..Gates::default()
        }
    };
    let (report, _) = Walk::begin(telling(&["a"]), fails(&["a"])).end().await;
    assert_eq!(
        report.skipped,
        [(address("proxy"), "n/thing.a was not done".to_owned())]
    );
    let (report, _) = Walk::begin(telling(&["a", "b"]), fails(&["a", "b"]))
        .end()
        .await;
    let both = "n/thing.a and n/thing.b were not done".to_owned();
    assert_eq!(report.skipped, [(address("proxy"), both)]);
    let (report, _) = Walk::begin(telling(&["a", "b"]), fails(&["a"])).end().await;
    assert_eq!(
        names(&report.applied),
        ["b", "proxy"],
        "it is told of the other"
    );
}

/// What it waits for is planned anew, once what that is made of was done: nothing failed.
#[tokio::test(start_paused = true)]
async fn where_nothing_failed_nothing_is_said() {
    let mut plan = telling(&["a"]);
    plan.steps.remove(0);
    plan.steps[0].after.clear();
    let (report, told) = Walk::begin(plan, Gates::default()).end().await;
    assert!(report.applied.is_empty() && report.failed.is_empty() && report.skipped.is_empty());
    assert_eq!(told, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn no_more_are_at_work_than_there_are_places() {
    let things = plan(&[
        ("a", 1, &[], &[]),
        ("b", 1, &[], &[]),
        ("c", 1, &[], &[]),
        ("d", 1, &[0], &[]),
    ]);
    let world = Gates::default();
    world.shut([0, 1, 2]);
    let walk = Walk::begin_with(things, world, NonZeroUsize::new(2));
    let world = Arc::clone(&walk.world);
    world.saw(&["thing.a begins 0", "thing.b begins 1"]).await;
    // Whoever could begin has had its turn: time goes on where nobody is left to.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(world.account().len(), 2, "{:?}", world.account());
    world.open(1);
    world.saw(&["thing.b ends 1", "thing.c begins 2"]).await;
    // What waits for another holds no place: `d` would keep `c` from its own.
    world.open(0);
    world.saw(&["thing.a ends 0", "thing.d begins 3"]).await;
    world.open(2);
    let (report, _) = walk.end().await;
    assert_eq!(names(&report.applied), ["a", "b", "c", "d"]);
}
