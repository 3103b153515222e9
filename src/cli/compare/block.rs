//! One block: an arm is made, and everything is measured of it once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use indexmap::IndexMap;
use jiff::Timestamp;

use super::super::bench;
use super::super::error::Error;
use super::super::run::{RunOutcome, WatchedRun};
use super::super::workspace::Workspace;
use crate::compare::{Block, NodeCanary, Outcome, Store, Switch};
use crate::converge::survey;
use crate::name::{ArmName, BenchmarkName, InstanceName, NodeName};
use crate::plan::{Action, Approval, Change, Look, Plan};
use crate::results::{Conditions, Surveyed, is_on_cpus, is_simulated};
use crate::view::{Screen, compare as view, plan};

/// What is measured, and on what.
pub(super) struct Measuring<'a> {
    pub(super) screen: &'a Screen,
    /// The arm's.
    pub(super) workspace: &'a Workspace,
    pub(super) benchmarks: &'a [BenchmarkName],
    /// The nodes of all arms.
    pub(super) nodes: &'a BTreeSet<NodeName>,
    /// What the results are called.
    pub(super) tags: BTreeMap<String, String>,
}

/// How a block went.
pub(super) enum Went {
    Measured {
        block: Box<Block>,
        simulated: bool,
        on_cpus: bool,
    },
    /// Somebody stopped it, and nothing of it counts.
    Interrupted,
}

/// By what the results of a block are found again.
pub(super) fn tags(outcome: &Outcome, arm: &ArmName, round: u32) -> BTreeMap<String, String> {
    let began = outcome.started.strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
    BTreeMap::from([
        ("arm".to_owned(), arm.to_string()),
        ("compare".to_owned(), began),
        ("round".to_owned(), (round + 1).to_string()),
    ])
}

impl Measuring<'_> {
    /// Makes the arm and measures it.
    ///
    /// # Errors
    ///
    /// When the arm cannot be made, or a benchmark cannot be run: what was measured before stays.
    pub(super) async fn block(
        &self,
        store: &Store,
        round: u32,
        arm: &ArmName,
    ) -> Result<Went, Error> {
        let started = Timestamp::now();
        let Some(measured) = self.measure().await? else {
            return Ok(Went::Interrupted);
        };
        let results = &measured.run.measured;
        for result in results {
            for why in view::invalid(&result.result) {
                self.screen.warning(&why);
            }
        }
        let in_order: Vec<_> = results.iter().map(|it| &it.result).collect();
        let named = results.iter().filter_map(|it| {
            let name: BenchmarkName = it.result.job.name.parse().ok()?;
            Some((name, store.relative(&it.path)))
        });
        let named: IndexMap<_, _> = named
            .filter(|(name, _)| self.benchmarks.contains(name))
            .collect();
        Ok(Went::Measured {
            simulated: results.iter().any(|it| is_simulated(&it.result.topology)),
            on_cpus: results.iter().any(|it| is_on_cpus(&it.result.topology)),
            block: Box::new(Block {
                round,
                arm: arm.clone(),
                started,
                switched_s: measured.switched_s,
                switch: Some(measured.switch),
                measured_s: measured.measured_s,
                canaries: NodeCanary::of(self.nodes, &in_order),
                idle: measured.idle,
                results: named,
            }),
        })
    }

    /// Makes the arm as it is declared, then runs every benchmark. Nothing where it was interrupted.
    pub(super) async fn measure(&self) -> Result<Option<Done>, Error> {
        let workspace = self.workspace;
        let wish = workspace.without_benchmarks();
        let began = Instant::now();
        let (_, plan) = workspace.plan(&wish).await;
        // Whoever agreed to the comparison agreed to its arms.
        let run = WatchedRun::begin(workspace, self.screen, Approval::Everything);
        let converged = run.converge(&wish, plan).await;
        let switched = began.elapsed();
        if !converged
            .left
            .changes
            .iter()
            .all(|it| it.action == Action::Keep)
        {
            return self.not_made(run.end().await.interrupted, &converged.left);
        }
        let switch = Switch::of(&converged.applied, |name| self.answers(name));
        let told = view::switched(&switch, switched, self.screen.talk());
        self.screen.say(&told);
        let before = self.look_at_idle().await;
        let labels = bench::Labels::tagged(self.tags.clone());
        let asked = bench::asked(workspace, &converged.observed, &labels, |_| true);
        let plan = crate::converge::decide(asked, &converged.observed);
        let report = run.execute(&plan).await;
        let is_done = report.undone().next().is_none();
        let run = run.end().await;
        if run.interrupted {
            return Ok(None);
        }
        if !is_done {
            return Err(Error::refused(
                "a benchmark could not be run, so that the comparison stops here",
                "what was measured is kept: run the same again once that is mended",
            ));
        }
        Ok(Some(Done {
            run,
            idle: Conditions {
                before,
                begun: Surveyed::default(),
                after: self.look_at_idle().await,
            },
            switch,
            switched_s: switched.as_secs_f64(),
            measured_s: began.elapsed().saturating_sub(switched).as_secs_f64(),
        }))
    }

    /// What the nodes of all arms are like on which nobody answers in this one. Those that serve are looked at
    /// by what is measured of them.
    async fn look_at_idle(&self) -> Surveyed {
        let instances = &self.workspace.topology().instances;
        let serves = |node: &NodeName| {
            let mut own = instances.iter().filter(|(_, it)| it.node == *node);
            own.any(|(name, _)| self.answers(name.as_str()))
        };
        let idle = self.nodes.iter().filter(|node| !serves(node));
        let idle = idle.map(|node| (node.clone(), Vec::new())).collect();
        survey(self.workspace.fleet.clone(), idle, Look::Whole).await
    }

    /// Whether an instance answers in this arm.
    fn answers(&self, name: &str) -> bool {
        let topology = self.workspace.topology();
        let proxy = topology.proxy.as_ref();
        let serves = |it: &InstanceName| proxy.is_none_or(|proxy| proxy.serves_from(it));
        let mut instances = topology.instances.keys();
        instances.any(|it| it.as_str() == name && serves(it))
    }

    fn not_made(&self, interrupted: bool, left: &Plan) -> Result<Option<Done>, Error> {
        if interrupted {
            return Ok(None);
        }
        let open = left.changes.iter().filter(|it| it.action != Action::Keep);
        let open: Vec<&Change> = open.collect();
        self.screen.say(&plan::news(&open, self.screen.talk()));
        Err(Error::refused(
            "an arm could not be made as it is declared, so that the comparison stops here",
            "what was measured is kept: run the same again once that is mended",
        ))
    }
}

/// An arm that was made and measured.
pub(super) struct Done {
    pub(super) run: RunOutcome,
    /// What the nodes were like that the arm leaves idle.
    pub(super) idle: Conditions,
    pub(super) switch: Switch,
    pub(super) switched_s: f64,
    pub(super) measured_s: f64,
}
