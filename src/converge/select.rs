//! Part of a plan: what somebody chose, with all that it takes, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::NodeName;
use crate::plan::{Address, Change, Plan, Reason, ReasonCode, Relations, Stand};

/// What a plan is to be about, as `terraform -target` and `ansible --limit` choose it. Everything,
/// where nothing is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// These things, with what they require.
    pub targets: BTreeSet<Address>,
    /// What these nodes hold. What it requires of others must be there.
    pub nodes: BTreeSet<NodeName>,
}

impl Selection {
    /// Whether it leaves anything out.
    pub fn is_partial(&self) -> bool {
        !self.targets.is_empty() || !self.nodes.is_empty()
    }

    /// Lets everything that is not chosen stand as it is, so that what is chosen is decided beside it.
    /// Returns what was left out and should have changed, or whose node did not answer.
    pub fn narrow(&self, stands: &mut [Stand]) -> LeftOut {
        let mut left_out = LeftOut::default();
        if !self.is_partial() {
            return left_out;
        }
        let wanted = self.with_requirements(stands);
        let is_chosen = |stand: &Stand| {
            let is_on = |node: &NodeName| self.nodes.contains(node);
            let is_near = self.nodes.is_empty() || stand.change.node.as_ref().is_some_and(is_on);
            let is_wanted = self.targets.is_empty() || wanted.contains(stand.address());
            is_near && is_wanted
        };
        for stand in stands.iter_mut().filter(|stand| !is_chosen(stand)) {
            if stand.change.action.acts() {
                left_out.changes.insert(stand.address().clone());
            }
            left_out.all.insert(stand.address().clone());
            let summary = std::mem::take(&mut stand.change.summary);
            stand.change = Change::keep(stand.address(), summary);
        }
        for stand in stands.iter_mut().filter(|stand| stand.change.action.acts()) {
            let lacks = tied(&stand.relations).find(|one| left_out.changes.contains(one));
            if let Some(one) = lacks {
                let text = format!("{one} is not as declared, and left out");
                let reason = Reason::new(ReasonCode::NeedBlocked, text);
                let summary = std::mem::take(&mut stand.change.summary);
                stand.change = Change::blocked(stand.address(), reason).described(summary);
            }
        }
        left_out
    }

    /// The targets, and what they come to need of each other.
    fn with_requirements(&self, stands: &[Stand]) -> BTreeSet<Address> {
        let relations: BTreeMap<&Address, &Relations> = stands
            .iter()
            .map(|it| (it.address(), &it.relations))
            .collect();
        let mut wanted = self.targets.clone();
        let mut open: Vec<Address> = wanted.iter().cloned().collect();
        while let Some(one) = open.pop() {
            let needs = relations.get(&one).into_iter().flat_map(|it| tied(it));
            for need in needs {
                if wanted.insert(need.clone()) {
                    open.push(need.clone());
                }
            }
        }
        wanted
    }
}

/// What must be as declared before a thing can be.
fn tied(relations: &Relations) -> impl Iterator<Item = &Address> {
    let Relations {
        requires,
        replan_after,
        waits_for,
        ..
    } = relations;
    requires.iter().chain(replan_after).chain(waits_for)
}

/// What a selection leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// What should have changed.
    changes: BTreeSet<Address>,
    all: BTreeSet<Address>,
}

impl LeftOut {
    /// The plan without what is left out, which it names where that should have changed.
    #[must_use]
    pub fn of(self, mut plan: Plan) -> Plan {
        if self.all.is_empty() {
            return plan;
        }
        plan.changes.retain(|it| !self.all.contains(&it.address));
        plan.seen.retain(|address, _| !self.all.contains(address));
        let is_silent = plan.changes.iter().any(Change::is_out_of_reach);
        let holds = |node: &NodeName| plan.changes.iter().any(|it| it.node.as_ref() == Some(node));
        let mut unreachable = std::mem::take(&mut plan.unreachable);
        // Something may hang on a node that holds nothing of what was chosen.
        unreachable.retain(|(node, _)| is_silent || holds(node));
        Plan {
            unreachable,
            left_out: self.changes.into_iter().collect(),
            ..plan
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::converge::decide;
    use crate::plan::Action;
    use crate::resource::Observation;

    fn thing(address: &str, action: Action, needs: &[&str]) -> Stand {
        let address = address.parse().unwrap();
        Stand {
            relations: Relations {
                requires: needs.iter().map(|it| it.parse().unwrap()).collect(),
                ..Relations::default()
            },
            ..Stand::new(Change::new(&address, action, Vec::new()))
        }
    }

    /// Two nodes, each with an engine and a server of it, and a proxy that waits for both.
    fn stands() -> Vec<Stand> {
        let mut proxy = thing("c/proxy", Action::Update, &[]);
        proxy.relations.waits_for = vec![
            "m/instance.a".parse().unwrap(),
            "n/instance.b".parse().unwrap(),
        ];
        vec![
            thing("m/engine.e", Action::Keep, &[]),
            thing("n/engine.e", Action::Create, &[]),
            thing("m/instance.a", Action::Create, &["m/engine.e"]),
            thing("n/instance.b", Action::Create, &["n/engine.e"]),
            proxy,
            thing("benchmark.x", Action::Create, &["c/proxy"]),
        ]
    }

    fn planned(targets: &[&str], nodes: &[&str]) -> String {
        let selection = Selection {
            targets: targets.iter().map(|it| it.parse().unwrap()).collect(),
            nodes: nodes.iter().map(|it| it.parse().unwrap()).collect(),
        };
        let mut stands = stands();
        let left_out = selection.narrow(&mut stands);
        let plan = left_out.of(decide(stands, &Observation::default()));
        let changes = plan.changes.iter().map(|it| {
            let why: Vec<String> = it.why().map(|why| format!(" ({why})")).collect();
            let why = why.concat();
            format!("{} {}{why}\n", it.action.sign(), it.address)
        });
        let left_out = plan.left_out.iter().map(|it| format!("left out {it}\n"));
        changes.chain(left_out).collect()
    }

    #[test]
    fn a_target_comes_with_all_that_it_requires() {
        insta::assert_snapshot!(planned(&["n/instance.b"], &[]), @r"
        + n/engine.e
        + n/instance.b
        left out benchmark.x
        left out c/proxy
        left out m/instance.a
        ");
        insta::assert_snapshot!(planned(&["c/proxy"], &[]), @r"
        = m/engine.e
        + n/engine.e
        + m/instance.a
        + n/instance.b
        ~ c/proxy
        left out benchmark.x
        ");
    }

    #[test]
    fn of_a_node_all_is_chosen_and_what_needs_another_is_blocked() {
        insta::assert_snapshot!(planned(&[], &["m"]), @r"
        = m/engine.e
        + m/instance.a
        left out benchmark.x
        left out c/proxy
        left out n/engine.e
        left out n/instance.b
        ");
        insta::assert_snapshot!(planned(&[], &["c"]), @"
        ! c/proxy (m/instance.a is not as declared, and left out)
        left out benchmark.x
        left out m/instance.a
        left out n/engine.e
        left out n/instance.b
        ");
        insta::assert_snapshot!(planned(&["m/instance.a"], &["n"]), @r"
        left out benchmark.x
        left out c/proxy
        left out m/instance.a
        left out n/engine.e
        left out n/instance.b
        ");
    }

    #[test]
    fn where_nothing_is_chosen_all_is() {
        let mut all = stands();
        let left_out = Selection::default().narrow(&mut all);
        assert_eq!(all, stands());
        assert_eq!(left_out, LeftOut::default());
    }
}
