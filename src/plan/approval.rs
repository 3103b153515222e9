//! What somebody has seen and agreed to: nothing beyond it is done unasked.

use std::collections::BTreeMap;

use super::{Action, Address, Change, Field, Plan};

/// What may be done without asking again.
#[derive(Debug, Clone)]
pub enum Approval {
    /// Whatever it takes: that was said with the command.
    Everything,
    /// What a plan said.
    Of(Approved),
}

/// The changes of a plan that was agreed to.
#[derive(Debug, Clone)]
pub struct Approved {
    changes: BTreeMap<Address, (Action, Vec<Field>)>,
}

impl Approved {
    /// Everything that a plan does.
    pub fn of(plan: &Plan) -> Self {
        let acting = plan.changes.iter().filter(|change| change.action.acts());
        let changes = acting.map(|it| (it.address.clone(), (it.action, it.fields.clone())));
        Self {
            changes: changes.collect(),
        }
    }

    /// What a later plan does beyond this, or does in another way. What it no longer does needs no
    /// word: nothing is touched for it.
    pub fn news<'a>(&self, later: &'a Plan) -> Vec<&'a Change> {
        let is_approved = |change: &&Change| {
            let approved = self.changes.get(&change.address);
            approved.is_some_and(|(action, fields)| {
                *action == change.action && *fields == change.fields
            })
        };
        let acting = later.changes.iter().filter(|change| change.action.acts());
        acting.filter(|change| !is_approved(change)).collect()
    }
}

impl Approval {
    /// Whether a change that is found while the plan is carried out belongs to it: it is of a thing
    /// that the plan was to change in any case, or it stops nothing, as a proxy that is told of a
    /// server.
    pub fn covers(&self, change: &Change) -> bool {
        match self {
            Approval::Everything => true,
            Approval::Of(approved) => {
                change.action == Action::Update || approved.changes.contains_key(&change.address)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Planned;

    fn change(address: &str, action: Action) -> Change {
        Change::new(&address.parse().unwrap(), action, Vec::new())
    }

    fn plan(changes: impl IntoIterator<Item = Change>) -> Plan {
        Plan {
            changes: changes.into_iter().collect(),
            ..Plan::default()
        }
    }

    fn news(approved: &Plan, later: &Plan) -> Vec<String> {
        let news = Approved::of(approved).news(later);
        news.iter().map(|it| it.address.to_string()).collect()
    }

    #[test]
    fn what_is_more_or_other_is_news_and_what_is_less_is_none() {
        let seen = plan([
            change("n/instance.a", Action::Keep),
            change("n/instance.b", Action::Create),
            change("benchmark.one", Action::Create),
        ]);
        assert!(news(&seen, &seen).is_empty());
        let made = plan([change("n/instance.b", Action::Keep)]);
        assert!(news(&seen, &made).is_empty(), "somebody else did it");
        let died = plan([
            change("n/instance.a", Action::Replace),
            change("n/instance.b", Action::Create),
        ]);
        assert_eq!(news(&seen, &died), ["n/instance.a"]);
        let other = plan([change("n/instance.b", Action::Replace)]);
        assert_eq!(news(&seen, &other), ["n/instance.b"]);
        let field = Field {
            path: "args.max_num_seqs".to_owned(),
            old: None,
            new: Planned::AfterApply,
            forces_replacement: false,
        };
        let more = change("n/instance.b", Action::Create).with_fields(vec![field]);
        assert_eq!(news(&seen, &plan([more])), ["n/instance.b"]);
    }

    #[test]
    fn while_it_is_carried_out_only_what_it_was_about_is_repaired() {
        let seen = plan([
            change("n/instance.a", Action::Keep),
            change("n/instance.b", Action::Create),
        ]);
        let approval = Approval::Of(Approved::of(&seen));
        assert!(approval.covers(&change("n/instance.b", Action::Replace)));
        assert!(approval.covers(&change("n/proxy", Action::Update)));
        assert!(!approval.covers(&change("n/instance.a", Action::Replace)));
        assert!(!approval.covers(&change("n/instance.c", Action::Destroy)));
        assert!(Approval::Everything.covers(&change("n/instance.a", Action::Replace)));
    }
}
