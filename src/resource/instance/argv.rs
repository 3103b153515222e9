//! vLLM arguments: from the manifest's names and values to an argument list.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::resource::argument::Argument;

/// Lists that vLLM takes as one word of JSON.
const AS_JSON: &[&str] = &["allowed_headers", "allowed_methods", "allowed_origins"];

/// Lists of which vLLM takes one item each time that the flag is given.
const REPEATED: &[&str] = &["middleware"];

/// Switches that have no `--no-…`: without them they are off.
const ONE_SIDED: &[&str] = &["aggregate_engine_logging", "disable_log_stats", "headless"];

/// The arguments of a server, each by the name by which arguments are compared: `max-num-seqs` is
/// `max_num_seqs`. What comes after a dot is the key of a map, which is taken as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Arguments(BTreeMap<String, Argument>);

impl Arguments {
    /// The arguments of an engine, and over them a server's own.
    pub(super) fn new(
        engine: &BTreeMap<String, Argument>,
        own: &BTreeMap<String, Argument>,
    ) -> Self {
        let all = engine.iter().chain(own);
        let normal = all.map(|(name, value)| (normal(name), value.clone()));
        Self(normal.collect())
    }

    /// Gives one of them by what replica decides.
    pub(super) fn set(&mut self, name: &str, value: Argument) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Argument)> {
        self.0.iter()
    }

    pub(super) fn all(&self) -> &BTreeMap<String, Argument> {
        &self.0
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// The text that an argument is, where it is given and is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            Argument::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number that an argument is, where it is given and is one.
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.meaning().as_u64()
    }

    /// An argument as one word, where it is given.
    pub(crate) fn word(&self, name: &str) -> Option<String> {
        self.0.get(name).map(Argument::word)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Argument::Bool(true))
    }

    /// The words by which vLLM's command line takes them, in the order of their names: `true` is
    /// `--flag`, `false` is `--no-flag`, a list is several words, a map is one word of JSON, null is
    /// left out. A part of a map, `--flag.key`, takes one word of JSON. Numbers stay as written.
    pub(crate) fn words(&self) -> Vec<String> {
        let all = self.0.iter();
        all.flat_map(|(name, value)| one(name, value)).collect()
    }
}

/// The words by which vLLM's command line takes one argument.
pub fn words_of(name: &str, value: &Argument) -> Vec<String> {
    one(&normal(name), value)
}

fn normal(name: &str) -> String {
    match name.split_once('.') {
        Some((flag, key)) => format!("{}.{key}", flag.replace('-', "_")),
        None => name.replace('-', "_"),
    }
}

fn one(name: &str, value: &Argument) -> Vec<String> {
    if let Some((flag, key)) = name.split_once('.') {
        let flag = format!("--{}.{key}", flag.replace('_', "-"));
        return match value {
            Argument::Null => Vec::new(),
            value => given(flag, part(value)),
        };
    }
    let flag = format!("--{}", name.replace('_', "-"));
    match value {
        Argument::Null => Vec::new(),
        Argument::Bool(false) if ONE_SIDED.contains(&name) => Vec::new(),
        Argument::Bool(true) => vec![flag],
        Argument::Bool(false) => vec![flag.replacen("--", "--no-", 1)],
        Argument::List(items) if REPEATED.contains(&name) => {
            let each = items.iter().map(|item| given(flag.clone(), item.word()));
            each.flatten().collect()
        }
        Argument::List(items) if !AS_JSON.contains(&name) => {
            let words = items.iter().map(Argument::word);
            std::iter::once(flag).chain(words).collect()
        }
        other => given(flag, other.word()),
    }
}

/// A flag with its value: in one word where the value would else be taken for a flag.
fn given(flag: String, value: String) -> Vec<String> {
    if value.starts_with('-') {
        vec![format!("{flag}={value}")]
    } else {
        vec![flag, value]
    }
}

/// A part of a map: vLLM reads it as JSON where it is some, and as a text elsewhere.
fn part(value: &Argument) -> String {
    match value {
        Argument::Text(text) if serde_json::from_str::<serde_json::Value>(text).is_err() => {
            text.clone()
        }
        other => other.json(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words(args: Value) -> Vec<String> {
        let args: BTreeMap<_, _> = serde_json::from_value(args).unwrap();
        Arguments::new(&BTreeMap::new(), &args).words()
    }

    #[test]
    fn every_sort_of_value_becomes_what_vllm_takes() {
        let words = words(json!({
            "gpu_memory_utilization": 0.3,
            "tensor_parallel_size": 1,
            "enforce_eager": true,
            "enable_prefix_caching": false,
            "dtype": "bfloat16",
            "seed": null,
            "allowed_origins": ["a", "b"],
            "cudagraph_capture_sizes": [1, 2],
            "middleware": ["x.y", "z"],
            "kv_transfer_config": {"kv_connector": "NixlConnector", "kv_role": "kv_both"},
        }));
        assert_eq!(
            words.join(" "),
            "--allowed-origins [\"a\",\"b\"] --cudagraph-capture-sizes 1 2 --dtype bfloat16 --no-enable-prefix-caching --enforce-eager \
             --gpu-memory-utilization 0.3 \
             --kv-transfer-config {\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"} \
             --middleware x.y --middleware z --tensor-parallel-size 1"
        );
    }

    #[test]
    fn a_part_of_a_map_is_json_under_its_own_key() {
        let words = words(json!({
            "compilation-config.pass_config.fuse_norm-quant": false,
            "compilation_config.backend": "inductor",
            "compilation_config.cudagraph_capture_sizes": [1, 2],
            "hf_overrides.revision": "12",
            "hf_overrides.none": null,
        }));
        assert_eq!(
            words.join(" "),
            "--compilation-config.backend inductor \
             --compilation-config.cudagraph_capture_sizes [1,2] \
             --compilation-config.pass_config.fuse_norm-quant false \
             --hf-overrides.revision \"12\""
        );
    }

    #[test]
    fn a_value_is_never_taken_for_a_flag() {
        let words = words(json!({
            "disable_log_stats": false, "headless": true, "response_role": "-x", "seed": -1.5,
        }));
        assert_eq!(words, ["--headless", "--response-role=-x", "--seed=-1.5"]);
    }

    #[test]
    fn a_server_has_its_own_over_those_of_its_engine() {
        let map = |value| serde_json::from_value(value).unwrap();
        let engine = map(json!({"max-num-seqs": 8, "seed": 1, "a-b.c-d": 1}));
        let own = map(json!({"max_num_seqs": 16, "a_b.c_d": 2}));
        let args = Arguments::new(&engine, &own);
        assert_eq!(args.whole("max_num_seqs"), Some(16));
        assert_eq!(
            json!(args).to_string(),
            r#"{"a_b.c-d":1,"a_b.c_d":2,"max_num_seqs":16,"seed":1}"#
        );
    }
}
