//! What going over to an arm did, and whether one arm always began with new engines and another never
//! did: then that differs between them too, whatever is declared.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::outcome::Block;
use crate::name::ArmName;
use crate::plan::{Action, Address, Change};
use crate::resource::instance;

/// What going over to an arm did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// What was done to each thing, in the order in which it was.
    pub changes: IndexMap<Address, Action>,
    /// The instances that answer in the arm and whose engines were started by it: they begin the block
    /// as new ones.
    pub started: Vec<String>,
}

/// In how many blocks of two arms an engine that answers had just been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    /// Of ours.
    pub ours: Begun,
    /// Of theirs.
    pub theirs: Begun,
}

/// How blocks of an arm began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Blocks of which it is known.
    pub blocks: u32,
    /// Those of them that began with an engine that had just been started.
    pub fresh: u32,
}

impl Switch {
    /// What these changes did, of an arm in which those instances answer of which `answers` says so.
    pub fn of(changes: &[Change], answers: impl Fn(&str) -> bool) -> Self {
        let mut switch = Self::default();
        for change in changes {
            let Change {
                address, action, ..
            } = change;
            // What took several rounds is what it was in the first.
            switch.changes.entry(address.clone()).or_insert(*action);
            let is_started = address.kind == instance::KIND && action.starts();
            let name = address.name.as_deref().filter(|name| answers(name));
            if let Some(name) = name.filter(|_| is_started) {
                switch.started.push(name.to_owned());
            }
        }
        switch.started.sort();
        switch.started.dedup();
        switch
    }
}

impl Begun {
    /// How the blocks of an arm began.
    pub fn of(blocks: &[Block], arm: &ArmName) -> Self {
        let own = blocks.iter().filter(|block| block.arm == *arm);
        let known = own.filter_map(|block| block.switch.as_ref());
        known.fold(Self::default(), |sum, switch| Self {
            blocks: sum.blocks + 1,
            fresh: sum.fresh + u32::from(!switch.started.is_empty()),
        })
    }

    fn share(self) -> f64 {
        f64::from(self.fresh) / f64::from(self.blocks.max(1))
    }

    fn words(self) -> String {
        match (self.fresh, self.blocks) {
            (0, _) => "none".to_owned(),
            (fresh, blocks) if fresh == blocks => "every block".to_owned(),
            (fresh, blocks) => format!("{fresh} of {blocks} blocks"),
        }
    }
}

impl Fresh {
    /// How the blocks of both began; nothing where that is not known of both.
    pub(super) fn of(blocks: &[Block], arm: &ArmName, against: &ArmName) -> Option<Self> {
        let (ours, theirs) = (Begun::of(blocks, arm), Begun::of(blocks, against));
        (ours.blocks > 0 && theirs.blocks > 0).then_some(Self { ours, theirs })
    }

    /// Whether new engines are a difference between the arms: half of the blocks of the one began with
    /// some, beyond those of the other. The very first block begins so whatever the arm.
    pub fn is_systematic(self) -> bool {
        (self.ours.share() - self.theirs.share()).abs() >= 0.5 && self.ours.blocks > 1
    }

    /// That it is one, in words.
    pub fn words(self, arm: &ArmName, against: &ArmName) -> Option<String> {
        let (many, few) = if self.ours.share() > self.theirs.share() {
            ((arm, self.ours), (against, self.theirs))
        } else {
            ((against, self.theirs), (arm, self.ours))
        };
        let begun = format!(
            "{} of `{}` began with an engine that had just been started, and {} of `{}`: what a new \
             engine does otherwise is in the ratio too",
            many.1.words(),
            many.0,
            few.1.words(),
            few.0
        );
        self.is_systematic().then_some(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(address: &str, action: Action) -> Change {
        Change::new(&address.parse().unwrap(), action, Vec::new())
    }

    #[test]
    fn what_was_done_is_told_thing_by_thing_and_engines_that_began_anew_by_name() {
        let changes = [
            change("n/instance.c", Action::Destroy),
            change("n/instance.b", Action::Replace),
            change("m/instance.a", Action::Create),
            change("n/instance.idle", Action::Create),
            change("n/proxy", Action::Update),
            change("n/proxy", Action::Update),
        ];
        let switch = Switch::of(&changes, |name| name != "idle");
        let json = serde_json::json!(switch);
        let expected = serde_json::json!({
            "changes": {
                "n/instance.c": "destroy", "n/instance.b": "replace", "m/instance.a": "create",
                "n/instance.idle": "create", "n/proxy": "update",
            },
            "started": ["a", "b"],
        });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Switch>(json).unwrap(), switch);
    }

    fn said(ours: (u32, u32), theirs: (u32, u32)) -> Option<String> {
        let begun = |(fresh, blocks)| Begun { blocks, fresh };
        let fresh = Fresh {
            ours: begun(ours),
            theirs: begun(theirs),
        };
        fresh.words(&"tuned".parse().unwrap(), &"plain".parse().unwrap())
    }

    #[test]
    fn an_arm_that_always_begins_with_new_engines_differs_in_that() {
        assert_eq!(
            said((6, 6), (0, 6)).unwrap(),
            "every block of `tuned` began with an engine that had just been started, and none of \
             `plain`: what a new engine does otherwise is in the ratio too"
        );
        let other = said((1, 6), (4, 6)).unwrap();
        assert!(other.starts_with("4 of 6 blocks of `plain`"), "{other}");
        assert!(other.contains("and 1 of 6 blocks of `tuned`"), "{other}");
        // The first block of all, or as often as the other.
        assert_eq!(said((1, 6), (0, 6)), None);
        assert_eq!(said((3, 6), (3, 6)), None);
        assert_eq!(said((1, 1), (0, 1)), None);
    }
}
