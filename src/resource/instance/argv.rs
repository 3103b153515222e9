//! vLLM arguments: from the manifest's names and values to an argument list.

use std::collections::BTreeMap;

use serde_json::Value;

/// Lists that vLLM takes as one word of JSON.
const AS_JSON: &[&str] = &["allowed_headers", "allowed_methods", "allowed_origins"];

/// Lists of which vLLM takes one item each time that the flag is given.
const REPEATED: &[&str] = &["middleware"];

/// Switches that have no `--no-…`: without them they are off.
const ONE_SIDED: &[&str] = &["aggregate_engine_logging", "disable_log_stats", "headless"];

/// Returns the name by which arguments are compared: `max-num-seqs` is `max_num_seqs`. What comes
/// after a dot is the key of a map, which is taken as it is.
pub(super) fn normal(name: &str) -> String {
    match name.split_once('.') {
        Some((flag, key)) => format!("{}.{key}", flag.replace('-', "_")),
        None => name.replace('-', "_"),
    }
}

/// Renders arguments as vLLM's command line takes them, in the order of their names: `true` is
/// `--flag`, `false` is `--no-flag`, a list is several words, a map is one word of JSON, null is
/// left out. A part of a map, `--flag.key`, takes one word of JSON.
pub(super) fn render(args: &BTreeMap<String, Value>) -> Vec<String> {
    args.iter()
        .flat_map(|(name, value)| one(&normal(name), value))
        .collect()
}

fn one(name: &str, value: &Value) -> Vec<String> {
    if let Some((flag, key)) = name.split_once('.') {
        let flag = format!("--{}.{key}", flag.replace('_', "-"));
        return if value.is_null() {
            Vec::new()
        } else {
            given(flag, part(value))
        };
    }
    let flag = format!("--{}", name.replace('_', "-"));
    match value {
        Value::Null => Vec::new(),
        Value::Bool(false) if ONE_SIDED.contains(&name) => Vec::new(),
        Value::Bool(true) => vec![flag],
        Value::Bool(false) => vec![flag.replacen("--", "--no-", 1)],
        Value::Array(items) if REPEATED.contains(&name) => {
            let each = items.iter().map(|item| given(flag.clone(), word(item)));
            each.flatten().collect()
        }
        Value::Array(items) if !AS_JSON.contains(&name) => {
            let words = items.iter().map(word);
            std::iter::once(flag).chain(words).collect()
        }
        other => given(flag, word(other)),
    }
}

/// Returns a flag with its value: in one word where the value would else be taken for a flag.
fn given(flag: String, value: String) -> Vec<String> {
    if value.starts_with('-') {
        vec![format!("{flag}={value}")]
    } else {
        vec![flag, value]
    }
}

/// Returns a part of a map: vLLM reads it as JSON where it is some, and as a text elsewhere.
fn part(value: &Value) -> String {
    match value {
        Value::String(text) if serde_json::from_str::<Value>(text).is_err() => text.clone(),
        other => other.to_string(),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_sort_of_value_becomes_what_vllm_takes() {
        let args: BTreeMap<String, Value> = serde_json::from_value(json!({
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
        }))
        .unwrap();
        assert_eq!(
            render(&args).join(" "),
            "--allowed-origins [\"a\",\"b\"] --cudagraph-capture-sizes 1 2 --dtype bfloat16 --no-enable-prefix-caching --enforce-eager \
             --gpu-memory-utilization 0.3 \
             --kv-transfer-config {\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"} \
             --middleware x.y --middleware z --tensor-parallel-size 1"
        );
    }

    #[test]
    fn a_part_of_a_map_is_json_under_its_own_key() {
        let args: BTreeMap<String, Value> = serde_json::from_value(json!({
            "compilation-config.pass_config.fuse_norm-quant": false,
            "compilation_config.backend": "inductor",
            "compilation_config.cudagraph_capture_sizes": [1, 2],
            "hf_overrides.revision": "12",
            "hf_overrides.none": null,
        }))
        .unwrap();
        assert_eq!(
            render(&args).join(" "),
            "--compilation-config.pass_config.fuse_norm-quant false \
             --compilation-config.backend inductor \
             --compilation-config.cudagraph_capture_sizes [1,2] \
             --hf-overrides.revision \"12\""
        );
    }

    #[test]
    fn a_value_is_never_taken_for_a_flag() {
        let args: BTreeMap<String, Value> = serde_json::from_value(json!({
            "disable_log_stats": false, "headless": true, "response_role": "-x", "seed": -1.5,
        }))
        .unwrap();
        assert_eq!(
            render(&args),
            ["--headless", "--response-role=-x", "--seed=-1.5"]
        );
    }
}
