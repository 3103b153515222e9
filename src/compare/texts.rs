//! Whether the arms answer the same: an arm that is faster because it answers something else is not
//! better.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answered::{Answered, UnequallyAnswered};
use crate::name::ArmName;
use crate::results::Record;

/// The digest of the answer to each prompt of a load, by the number of the prompt.
pub type Digests = BTreeMap<u32, String>;

/// How many answers to the same prompt are the same text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Texts {
    /// Of one arm and of the other, in one round.
    pub between: Answered,
    /// Of one arm in two rounds: what is alike there at most, as a batch of another size may add in
    /// another order.
    pub within: Answered,
}

/// The answers of a block to one load.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers<'a> {
    pub(super) arm: &'a ArmName,
    pub(super) round: u32,
    pub(super) digests: &'a Digests,
}

/// The digests of a load's answers. A prompt that was asked several times counts once.
pub(super) fn digests(records: &[Record]) -> Digests {
    let ok = records.iter().filter(|record| record.is_ok());
    let told = ok.filter_map(|record| Some((record.prompt_number?, record.text_sha256.clone()?)));
    told.collect()
}

impl Texts {
    /// Nothing where no two answers can be compared.
    pub(super) fn of(blocks: &[Answers<'_>], arm: &ArmName, other: &ArmName) -> Option<Self> {
        let of = |arm: &ArmName, round: u32| {
            blocks
                .iter()
                .find(|block| block.arm == arm && block.round == round)
        };
        let rounds = blocks.iter().map(|block| block.round).max()? + 1;
        let mut texts = Self {
            between: Answered {
                asked: 0,
                answered: 0,
            },
            within: Answered {
                asked: 0,
                answered: 0,
            },
        };
        for round in 0..rounds {
            compare(of(arm, round), of(other, round), &mut texts.between);
            for arm in [arm, other] {
                compare(of(arm, round), of(arm, round + 1), &mut texts.within);
            }
        }
        (texts.between.asked > 0).then_some(texts)
    }

    /// Why the two are not the same thing done twice, where they answer something else more often than
    /// each does by itself.
    pub fn words(&self, arm: &ArmName, other: &ArmName) -> Option<String> {
        let (between, within) = (self.between, self.within);
        UnequallyAnswered::of(between, within)?;
        let share = |it: Answered| 100.0 * it.answered as f64 / it.asked.max(1) as f64;
        (share(between) < share(within)).then(|| {
            format!(
                "`{arm}` and `{other}` do not answer the same: {:.0} % of {} answers are alike, of one arm \
                 in two rounds {:.0} %",
                share(between),
                between.asked,
                share(within)
            )
        })
    }
}

fn compare(ours: Option<&Answers<'_>>, theirs: Option<&Answers<'_>>, into: &mut Answered) {
    let Some((ours, theirs)) = ours.zip(theirs) else {
        return;
    };
    for (prompt, digest) in ours.digests {
        if let Some(other) = theirs.digests.get(prompt) {
            into.asked += 1;
            into.answered += u64::from(digest == other);
        }
    }
}
