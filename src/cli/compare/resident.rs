//! Whether the engines of all arms are up at the same time: where memory allows it.

use super::Comparison;
use crate::compare::Outcome;
use crate::plan::{Action, Change};
use crate::view::compare as view;

impl Comparison<'_> {
    /// Whether something is tuned first, so that not all engines are known before.
    pub(super) fn tunes(&self) -> bool {
        self.experiment.arms.values().any(|arm| arm.tune.is_some())
    }

    /// Has the engines of all arms stand beside each other from now on, where arms have engines of their own, it
    /// is not declared otherwise, and every node has room. What was decided before a comparison was interrupted
    /// holds: its blocks would else begin in another way than those that were measured.
    pub(super) async fn stands_together(&mut self, outcome: &mut Outcome) {
        let together = self
            .experiment
            .co_resident
            .then(|| self.experiment.resident());
        let Some(together) = together.flatten() else {
            return;
        };
        let was_decided = outcome.co_resident.filter(|_| !outcome.blocks.is_empty());
        let why_not = match was_decided {
            Some(true) => None,
            Some(false) => return,
            None => self.why_not_together(outcome, &together).await,
        };
        outcome.co_resident = Some(why_not.is_none());
        match why_not {
            None => {
                let up = together.arms.values().next();
                let up = up.map_or(0, |arm| arm.topology.instances.len());
                self.screen.note(&view::together(up));
                self.experiment = together;
            }
            Some(why) => self.screen.note(&view::not_together(&why)),
        }
    }

    /// What is blocked where all engines are to be up, and is not where those of one arm are.
    async fn why_not_together(
        &self,
        outcome: &Outcome,
        together: &crate::compare::Experiment,
    ) -> Option<Change> {
        let (_, name) = outcome.rest().into_iter().next()?;
        let mut blocked = Vec::new();
        for experiment in [&self.experiment, together] {
            let workspace = self.workspace.arm(&experiment.arms[&name].topology);
            let (_, plan) = workspace.plan(&workspace.without_benchmarks()).await;
            let all = plan.changes.into_iter();
            blocked.push(
                all.filter(|it| it.action == Action::Blocked)
                    .collect::<Vec<_>>(),
            );
        }
        let with_all = blocked.pop()?;
        let alone = blocked.pop()?;
        let is_new = |change: &Change| !alone.iter().any(|it| it.address == change.address);
        with_all.into_iter().find(is_new)
    }
}
