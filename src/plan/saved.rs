//! A plan that is kept to be carried out later, and holds only while what it rests on is as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Action, Address, Change, Plan};

/// What a plan comes to: its changes, each with what was seen of its thing. The steps are no part of
/// it: they are decided anew, from the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline {
    changes: Vec<OutlinedChange>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutlinedChange {
    address: Address,
    action: Action,
    fields: Value,
    seen: Option<String>,
}

/// Why a kept plan does not hold: one thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The thing.
    pub address: Address,
    /// How it was, or what was to become of it.
    pub expected: String,
    /// How it is, or what would become of it now.
    pub found: String,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            expected,
            found,
        } = self;
        write!(f, "{address}: expected {expected}, found {found}")
    }
}

impl Outline {
    /// What a plan comes to.
    pub fn of(plan: &Plan) -> Self {
        let changes = plan.changes.iter().map(|change| OutlinedChange {
            address: change.address.clone(),
            action: change.action,
            fields: json!(change.fields),
            // What was measured changes nothing on a node.
            seen: plan.seen.get(&change.address).cloned(),
        });
        Self {
            changes: changes.collect(),
        }
    }

    /// Where a plan that is decided anew is another than this. What was done meanwhile, as it was to
    /// be done, is none: a plan that was carried out to its end, or a part of the way, holds for the rest.
    pub fn moved(&self, now: &Plan) -> Vec<Moved> {
        if now.is_converged() {
            return Vec::new();
        }
        let found: BTreeMap<&Address, &Change> =
            now.changes.iter().map(|it| (&it.address, it)).collect();
        let known: BTreeSet<&Address> = self.changes.iter().map(|it| &it.address).collect();
        let seen = |address: &Address| now.seen.get(address).map(String::as_str);
        let changed = self.changes.iter().filter_map(|expected| {
            let found = found.get(&expected.address).copied();
            expected.moved(found, seen(&expected.address))
        });
        let new = now.changes.iter().filter(|it| !known.contains(&it.address));
        let new = new.filter(|it| it.action != Action::Keep).map(|it| Moved {
            address: it.address.clone(),
            expected: "no part of the plan".to_owned(),
            found: worded(it.action, seen(&it.address)),
        });
        changed.chain(new).collect()
    }
}

impl OutlinedChange {
    fn moved(&self, found: Option<&Change>, seen: Option<&str>) -> Option<Moved> {
        let action = found.map(|it| it.action);
        let is_done = match action {
            None => self.action == Action::Destroy,
            Some(action) => action == Action::Keep && self.action.acts(),
        };
        let fields = found.map(|it| json!(it.fields));
        let is_same = action == Some(self.action)
            && fields.as_ref() == Some(&self.fields)
            && seen == self.seen.as_deref();
        if is_done || is_same {
            return None;
        }
        let (mut expected, mut found) = (
            worded(self.action, self.seen.as_deref()),
            action.map_or_else(|| "not there".to_owned(), |action| worded(action, seen)),
        );
        if expected == found {
            expected = self.fields.to_string();
            found = fields.unwrap_or_default().to_string();
        }
        Some(Moved {
            address: self.address.clone(),
            expected,
            found,
        })
    }
}

/// What becomes of a thing, and what was seen of it.
fn worded(action: Action, seen: Option<&str>) -> String {
    let action = match action {
        Action::Keep => "kept",
        Action::Create => "to create",
        Action::Update => "to update",
        Action::Replace => "to replace",
        Action::Destroy => "to destroy",
        Action::Blocked => "blocked",
    };
    match seen {
        Some(seen) => format!("{action} ({seen})"),
        None => action.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Field, Planned};

    fn plan(things: &[(&str, Action, &str)]) -> Plan {
        let address = |text: &str| text.parse::<Address>().unwrap();
        let changes = things.iter();
        Plan {
            changes: changes
                .clone()
                .map(|(it, action, _)| Change::new(&address(it), *action, Vec::new()))
                .collect(),
            seen: changes
                .filter(|(_, _, seen)| !seen.is_empty())
                .map(|(it, _, seen)| (address(it), (*seen).to_owned()))
                .collect(),
            ..Plan::default()
        }
    }

    fn moved(kept: &[(&str, Action, &str)], now: &[(&str, Action, &str)]) -> String {
        let outline = json!(Outline::of(&plan(kept)));
        let outline: Outline = serde_json::from_value(outline).unwrap();
        let moved = outline.moved(&plan(now));
        let lines: Vec<String> = moved.iter().map(|it| format!("{it}\n")).collect();
        lines.concat()
    }

    use Action::{Blocked, Create, Destroy, Keep, Replace};

    const KEPT: [(&str, Action, &str); 4] = [
        ("n/instance.a", Replace, "start 1"),
        ("n/instance.b", Keep, "start 1"),
        ("n/instance.c", Create, ""),
        ("n/instance.d", Destroy, "start 1"),
    ];

    #[test]
    fn a_plan_holds_while_all_is_as_it_was() {
        assert_eq!(moved(&KEPT, &KEPT), "");
    }

    #[test]
    fn what_is_done_already_leaves_the_rest() {
        let half = [
            ("n/instance.a", Keep, "start 2"),
            ("n/instance.b", Keep, "start 1"),
            ("n/instance.c", Create, ""),
        ];
        assert_eq!(moved(&KEPT, &half), "");
        let whole = [
            ("n/instance.a", Keep, "start 2"),
            ("n/instance.b", Keep, "start 7"),
        ];
        assert_eq!(moved(&KEPT, &whole), "", "nothing is left to do");
    }

    #[test]
    fn what_is_another_is_told_with_what_it_was() {
        let now = [
            ("n/instance.a", Replace, "start 2"),
            ("n/instance.b", Keep, "start 2"),
            ("n/instance.c", Blocked, ""),
            ("n/instance.d", Destroy, "start 1"),
            ("n/instance.e", Destroy, "start 9"),
            ("n/instance.f", Keep, "start 1"),
        ];
        insta::assert_snapshot!(moved(&KEPT, &now), @"
        n/instance.a: expected to replace (start 1), found to replace (start 2)
        n/instance.b: expected kept (start 1), found kept (start 2)
        n/instance.c: expected to create, found blocked
        n/instance.e: expected no part of the plan, found to destroy (start 9)
        ");
        insta::assert_snapshot!(moved(&KEPT, &now[2..3]), @"
        n/instance.a: expected to replace (start 1), found not there
        n/instance.b: expected kept (start 1), found not there
        n/instance.c: expected to create, found blocked
        ");
    }

    #[test]
    fn another_field_is_another_plan() {
        let mut now = plan(&KEPT);
        now.changes[0].fields.push(Field {
            path: "args.max_num_seqs".to_owned(),
            old: None,
            new: Planned::Known(json!(8)),
            forces_replacement: true,
        });
        let moved = Outline::of(&plan(&KEPT)).moved(&now);
        assert_eq!(moved.len(), 1);
        assert!(moved[0].found.contains("max_num_seqs"), "{moved:?}");
    }
}
