//! The arguments that a version of vLLM knows: read from its own files where it is installed, and
//! from a list of ours where it is not yet. Of other versions nothing is claimed.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use strsim::damerau_levenshtein;

/// What `vllm serve --help=all` lists, by version; one a line.
const LISTS: &[(&str, &str)] = &[("0.13.0", include_str!("known/0.13.0.txt"))];

/// The types of models that a version and its transformers know without code of others.
const TYPES: &[(&str, &str)] = &[("0.13.0", include_str!("known/types.0.13.0.txt"))];

/// Arguments that every version has. What is said to be a list without them is none.
const LANDMARKS: &[&str] = &[
    "gpu-memory-utilization",
    "host",
    "max-model-len",
    "port",
    "served-model-name",
];

/// The arguments of one version, without the dashes before them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    flags: BTreeSet<String>,
}

impl Known {
    /// Reads the flags that a node found in vLLM's files. Nothing where they are not what vLLM
    /// takes: another version may write them elsewhere.
    pub(super) fn read(words: &str) -> Option<Self> {
        let flags: BTreeSet<_> = words.split_whitespace().map(str::to_owned).collect();
        let is_whole = LANDMARKS.iter().all(|landmark| flags.contains(*landmark));
        is_whole.then_some(Self { flags })
    }

    /// What a version knows that is listed here, whatever its build variant.
    pub(super) fn listed(version: &str) -> Option<Self> {
        let release = release(version);
        let (_, words) = LISTS.iter().find(|(version, _)| *version == release)?;
        Self::read(words)
    }

    /// Whether an argument of a manifest is one of them, as vLLM's parser sees it: `a_b` is
    /// `a-b`, `a.b` sets a part of `a`, and what only one of them begins with stands for that one.
    pub(super) fn has(&self, argument: &str) -> bool {
        let flag = flag(argument);
        if self.is_there(&flag) {
            return true;
        }
        let begins = |known: &&String| known.starts_with(&flag);
        // A part of an argument is never named by a part of its name.
        !argument.contains('.') && self.flags.iter().filter(begins).count() == 1
    }

    fn is_there(&self, flag: &str) -> bool {
        // Files do not tell which of them are switches, each of which can be negated.
        let positive = flag.strip_prefix("no-").unwrap_or(flag);
        self.flags.contains(flag) || self.flags.contains(positive)
    }

    /// Those that an unknown one may have been meant to be, the likeliest first, as a
    /// manifest writes them.
    pub(super) fn nearest(&self, argument: &str) -> Vec<String> {
        let flag = flag(argument);
        let mut near: Vec<_> = self
            .flags
            .iter()
            .filter(|known| !known.starts_with("no-"))
            .filter_map(|known| Some((unlikeness(&flag, known)?, known)))
            .collect();
        near.sort();
        near.iter()
            .take(3)
            .map(|(_, known)| known.replace('-', "_"))
            .collect()
    }
}

/// Whether a version that is listed here is known to know a type of models; nothing of others.
pub(super) fn knows_type(version: &str, kind: &str) -> Option<bool> {
    let release = release(version);
    let (_, types) = TYPES.iter().find(|(version, _)| *version == release)?;
    Some(types.lines().any(|known| known == kind))
}

/// The release of a version: `0.13.0+cu130` is a build of `0.13.0`.
pub(super) fn release(version: &str) -> &str {
    version.split('+').next().unwrap_or_default()
}

/// The flag of an argument, as far as it is one.
fn flag(argument: &str) -> String {
    let name = argument.split('.').next().unwrap_or_default();
    name.replace('_', "-")
}

/// How unlike two names are: of the letters a third may differ, or else words be the same.
fn unlikeness(flag: &str, known: &str) -> Option<(usize, Reverse<usize>)> {
    let distance = damerau_levenshtein(flag, known);
    let longer = flag.len().max(known.len());
    if distance <= longer / 3 {
        return Some((distance, Reverse(0)));
    }
    let words: BTreeSet<_> = flag.split('-').collect();
    let shared = known.split('-').filter(|word| words.contains(word)).count();
    (shared > 1).then_some((longer, Reverse(shared)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known::listed("0.13.0+cu130").unwrap()
    }

    #[test]
    fn every_way_to_write_an_argument_is_known() {
        for argument in [
            "gpu_memory_utilization",
            "gpu-memory-utilization",
            "no_enable_prefix_caching",
            "kv_transfer_config.kv_role",
            "kv_cache_memory",
            "tokens_only",
        ] {
            assert!(known().has(argument), "{argument}");
        }
    }

    #[test]
    fn what_vllm_would_refuse_is_not() {
        for argument in [
            "gpu_memory_utilisation",
            "shutdown_timeout",
            "enable",
            "max_model_lenn",
            "kv_transfer.kv_role",
            "no",
        ] {
            assert!(!known().has(argument), "{argument}");
        }
    }

    #[test]
    fn the_nearest_come_first() {
        let nearest = |argument| known().nearest(argument).join(" ");
        assert_eq!(nearest("gpu_memory_utilisation"), "gpu_memory_utilization");
        assert_eq!(nearest("max_modle_len"), "max_model_len max_log_len");
        assert_eq!(
            nearest("prefix_caching"),
            "enable_prefix_caching prefix_caching_hash_algo"
        );
        assert_eq!(nearest("shutdown_timeout"), "");
    }

    #[test]
    fn types_of_models_are_those_of_transformers_and_of_vllm() {
        for kind in ["llama", "gpt2", "kimi_vl", "deepseek_v3"] {
            assert_eq!(knows_type("0.13.0+cu130", kind), Some(true), "{kind}");
        }
        assert_eq!(knows_type("0.13.0", "mine"), Some(false));
    }

    #[test]
    fn of_other_versions_nothing_is_claimed() {
        assert_eq!(knows_type("0.33.0", "llama"), None);
        assert_eq!(Known::listed("0.33.0"), None);
        assert_eq!(Known::read("host port"), None);
        assert_eq!(Known::read(""), None);
    }
}
