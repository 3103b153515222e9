//! Which files of a model vLLM loads, and which others tell how many there are: as its loader of
//! 0.13 looks for them (`model_executor/model_loader/default_loader.py`).

use std::collections::BTreeMap;

use super::wanted::LoadFormat;

/// The weights that are loaded of those that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Their names.
    pub(super) files: Vec<String>,
    /// The index that names all of them, where there is one.
    pub(super) index: &'static str,
    /// Whether what the index does not name is left out.
    pub(super) is_by_index: bool,
}

/// The index of shards in safetensors.
pub(super) const INDEX: &str = "model.safetensors.index.json";
const INDEX_OF_MISTRAL: &str = "consolidated.safetensors.index.json";
const INDEX_OF_BIN: &str = "pytorch_model.bin.index.json";

/// What training leaves beside weights.
const OF_TRAINING: [&str; 5] = [
    "training_args.bin",
    "optimizer.bin",
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
];

/// How many shards of one model are believed: a name may say any number.
const MOST_SHARDS: u32 = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    Safetensors,
    Consolidated,
    Bin,
    Pt,
}

impl Pattern {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Safetensors => has_ending(name, ".safetensors"),
            Self::Consolidated => {
                name.starts_with("consolidated") && has_ending(name, ".safetensors")
            }
            Self::Bin => has_ending(name, ".bin"),
            Self::Pt => has_ending(name, ".pt"),
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Safetensors => INDEX,
            Self::Consolidated => INDEX_OF_MISTRAL,
            Self::Bin | Self::Pt => INDEX_OF_BIN,
        }
    }
}

/// The weights that are loaded of a folder with these files; nothing where nothing is claimed.
pub(super) fn chosen<'a>(
    format: LoadFormat,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<Chosen> {
    let at_top = names.filter(|name| !name.contains('/') && !name.starts_with('.'));
    let matching = |pattern: Pattern| -> Vec<String> {
        let names = at_top.clone().filter(|name| pattern.matches(name));
        names.map(str::to_owned).collect()
    };
    let patterns = patterns(format, || !matching(Pattern::Consolidated).is_empty())?;
    let mut found = patterns
        .iter()
        .map(|pattern| (*pattern, matching(*pattern)));
    let Some((pattern, mut files)) = found.find(|(_, files)| !files.is_empty()) else {
        return Some(Chosen {
            index: patterns[0].index(),
            ..Chosen::default()
        });
    };
    let is_by_index = matches!(pattern, Pattern::Safetensors | Pattern::Consolidated);
    if !is_by_index {
        files.retain(|name| !OF_TRAINING.iter().any(|other| name.ends_with(other)));
    }
    Some(Chosen {
        files,
        index: pattern.index(),
        is_by_index,
    })
}

/// What is looked for, the first that is there being taken.
fn patterns(format: LoadFormat, has_mistral: impl Fn() -> bool) -> Option<Vec<Pattern>> {
    use Pattern::{Bin, Consolidated, Pt, Safetensors};
    Some(match format {
        LoadFormat::Auto if has_mistral() => vec![Consolidated, Pt],
        LoadFormat::Auto | LoadFormat::HuggingFace => vec![Safetensors, Bin, Pt],
        LoadFormat::Safetensors => vec![Safetensors, Pt],
        LoadFormat::Mistral => vec![Consolidated, Pt],
        LoadFormat::Pt => vec![Pt],
        LoadFormat::NumpyCache => vec![Bin, Pt],
        LoadFormat::Other => return None,
    })
}

/// What is looked for, in words.
pub(super) fn sorts(format: LoadFormat) -> &'static str {
    match format {
        LoadFormat::Auto | LoadFormat::HuggingFace => ".safetensors, .bin or .pt",
        LoadFormat::Safetensors => ".safetensors or .pt",
        LoadFormat::Mistral => "consolidated*.safetensors or .pt",
        LoadFormat::Pt => ".pt",
        LoadFormat::NumpyCache => ".bin or .pt",
        LoadFormat::Other => "of its own sort",
    }
}

/// Whether a name has this ending and something before it.
pub(super) fn has_ending(name: &str, ending: &str) -> bool {
    name.len() > ending.len() && name.ends_with(ending)
}

/// The shards that are not there, where those that are say how many there are: of
/// `m-00001-of-00002.bin` alone, `m-00002-of-00002.bin`.
pub(super) fn unseen_shards(files: &[String]) -> Vec<String> {
    let mut families: BTreeMap<Family<'_>, Vec<u32>> = BTreeMap::new();
    for name in files {
        if let Some((family, number)) = Family::of(name) {
            families.entry(family).or_default().push(number);
        }
    }
    let unseen = families.into_iter().flat_map(|(family, seen)| {
        // A few count from none.
        let first = u32::from(!seen.contains(&0));
        let all = first..family.count + first;
        let unseen = all.filter(move |number| !seen.contains(number));
        unseen.map(move |number| family.name(number))
    });
    unseen.collect()
}

/// All shards of one set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Family<'a> {
    before: &'a str,
    width: usize,
    written_count: &'a str,
    count: u32,
    after: &'a str,
}

impl<'a> Family<'a> {
    fn of(name: &'a str) -> Option<(Self, u32)> {
        let (front, rest) = name.rsplit_once("-of-")?;
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
        let width = front.chars().rev().take_while(char::is_ascii_digit).count();
        let (before, number) = front.split_at(front.len() - width);
        let (written_count, after) = rest.split_at(digits(rest));
        let count: u32 = written_count.parse().ok()?;
        let number: u32 = number.parse().ok()?;
        let is_one = (1..=MOST_SHARDS).contains(&count) && number <= count;
        let family = Self {
            before,
            width,
            written_count,
            count,
            after,
        };
        (is_one && after.starts_with('.')).then_some((family, number))
    }

    fn name(&self, number: u32) -> String {
        let (before, count, after) = (self.before, self.written_count, self.after);
        format!(
            "{before}{number:0width$}-of-{count}{after}",
            width = self.width
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(format: LoadFormat, names: &str) -> String {
        let chosen = chosen(format, names.split(' ')).unwrap();
        chosen.files.join(" ")
    }

    #[test]
    fn the_first_sort_that_is_there_is_loaded() {
        use LoadFormat::{Auto, HuggingFace, Mistral, NumpyCache, Pt, Safetensors};
        let all = "a.safetensors b.bin c.pt consolidated.safetensors config.json";
        assert_eq!(loaded(Auto, all), "consolidated.safetensors");
        assert_eq!(
            loaded(HuggingFace, all),
            "a.safetensors consolidated.safetensors"
        );
        assert_eq!(loaded(Mistral, all), "consolidated.safetensors");
        assert_eq!(loaded(NumpyCache, all), "b.bin");
        assert_eq!(loaded(Pt, all), "c.pt");
        assert_eq!(loaded(Safetensors, "b.bin c.pt"), "c.pt");
        assert_eq!(loaded(Auto, "b.bin c.pt"), "b.bin");
        assert_eq!(chosen(LoadFormat::Other, all.split(' ')), None);
    }

    #[test]
    fn what_vllm_does_not_look_at_is_not_loaded() {
        for names in [
            "sub/a.safetensors",
            ".a.safetensors",
            "a.safetensors.index.json",
            "asafetensors",
            "training_args.bin optimizer.bin",
            // The first sort that is there is taken, whatever is left of it.
            "training_args.bin a.pt",
        ] {
            assert_eq!(loaded(LoadFormat::Auto, names), "", "{names}");
        }
    }

    #[test]
    fn names_say_how_many_shards_there_are() {
        let unseen = |names: &str| {
            let files: Vec<_> = names.split(' ').map(str::to_owned).collect();
            unseen_shards(&files).join(" ")
        };
        assert_eq!(unseen("m-00001-of-00002.bin m-00002-of-00002.bin"), "");
        assert_eq!(unseen("m-00002-of-00002.bin"), "m-00001-of-00002.bin");
        assert_eq!(unseen("m-1-of-3.bin"), "m-2-of-3.bin m-3-of-3.bin");
        assert_eq!(unseen("m-00000-of-00002.bin"), "m-00001-of-00002.bin");
        assert_eq!(
            unseen("m-00002-of-000002.safetensors"),
            "m-00001-of-000002.safetensors"
        );
        assert_eq!(
            unseen("a-1-of-2.bin b-2-of-2.bin"),
            "a-2-of-2.bin b-1-of-2.bin"
        );
        for names in [
            "model.bin",
            "best-of-2.bin",
            "m-3-of-2.bin",
            "m-1-of-99999999999.bin",
            "m-1-of-1000000.bin",
            "m-1-of-2",
            "m-1-of-0.bin",
        ] {
            assert_eq!(unseen(names), "", "{names}");
        }
    }
}
