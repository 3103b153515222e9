//! Which token ids stand for ordinary text.

use serde::{Deserialize, Serialize};

/// A row of token ids that are drawn from: a vocabulary has markers among them, which have a meaning
/// of their own for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdWindow {
    /// The first of them.
    pub first: u32,
    /// How many they are.
    pub count: u32,
}

/// Most vocabularies have their markers and single bytes below this, and words above it.
const WORDS: u32 = 1_000;
/// No vocabulary of a model that is served ends below this, but for those of tests.
const SAFE_END: u32 = 20_000;

impl IdWindow {
    /// The longest row of ids of a vocabulary without a marker; `markers` are rows of ids, each with
    /// its first and its last one. Nothing where there is no row of two.
    pub fn between(vocabulary: u32, markers: &[(u32, u32)]) -> Option<Self> {
        let mut markers: Vec<_> = markers.to_vec();
        markers.sort_unstable();
        let mut first = 0;
        let mut longest = Self { first, count: 0 };
        for (from, to) in markers.into_iter().chain([(vocabulary, vocabulary)]) {
            let count = from.min(vocabulary).saturating_sub(first);
            if count > longest.count {
                longest = Self { first, count };
            }
            first = first.max(to.saturating_add(1));
        }
        (longest.count > 1).then_some(longest)
    }

    /// The row that is safe where nothing is known of the markers, of a vocabulary of this size where
    /// that is known.
    pub fn safe(vocabulary: Option<u32>) -> Self {
        let end = vocabulary.map_or(SAFE_END, |all| all.min(SAFE_END)).max(2);
        let first = if end >= 2 * WORDS { WORDS } else { end / 2 };
        Self {
            first,
            count: end - first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(vocabulary: u32, markers: &[(u32, u32)]) -> Option<(u32, u32)> {
        IdWindow::between(vocabulary, markers).map(|it| (it.first, it.first + it.count))
    }

    #[test]
    fn it_is_the_longest_row_without_a_marker() {
        // Llama 3, Mistral, Qwen 2.5 (whose rows are padded), the model of our tests.
        assert_eq!(between(128_256, &[(128_000, 128_255)]), Some((0, 128_000)));
        assert_eq!(between(32_000, &[(0, 2)]), Some((3, 32_000)));
        assert_eq!(between(152_064, &[(151_643, 151_664)]), Some((0, 151_643)));
        assert_eq!(between(512, &[(410, 511), (0, 6)]), Some((7, 410)));
        assert_eq!(between(10, &[(20, 30)]), Some((0, 10)));
        assert_eq!(between(100, &[(0, 50), (10, 20)]), Some((51, 100)));
        assert_eq!(between(4, &[(0, 3)]), None);
        assert_eq!(between(0, &[]), None);
    }

    #[test]
    fn without_knowledge_it_is_in_the_middle_of_any_vocabulary() {
        let safe = |vocabulary| {
            let IdWindow { first, count } = IdWindow::safe(vocabulary);
            (first, first + count)
        };
        assert_eq!(safe(None), (1_000, 20_000));
        assert_eq!(safe(Some(128_256)), (1_000, 20_000));
        assert_eq!(safe(Some(2_000)), (1_000, 2_000));
        assert_eq!(safe(Some(512)), (256, 512));
    }
}
