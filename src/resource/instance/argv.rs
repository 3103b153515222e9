//! vLLM arguments: from the manifest's names and values to an argument list.

use std::collections::BTreeMap;

use serde_json::Value;

/// Renders arguments as vLLM's command line takes them, in the order of their names: `true` is
/// `--flag`, `false` is `--no-flag`, a list is several words, a map is one word of JSON, null is
/// left out.
pub(super) fn render(args: &BTreeMap<String, Value>) -> Vec<String> {
    let mut argv = Vec::new();
    for (name, value) in args {
        let flag = name.replace('_', "-");
        match value {
            Value::Null => {}
            Value::Bool(true) => argv.push(format!("--{flag}")),
            Value::Bool(false) => argv.push(format!("--no-{flag}")),
            Value::Array(items) => {
                argv.push(format!("--{flag}"));
                argv.extend(items.iter().map(word));
            }
            other => {
                argv.push(format!("--{flag}"));
                argv.push(word(other));
            }
        }
    }
    argv
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
            "kv_transfer_config": {"kv_connector": "NixlConnector", "kv_role": "kv_both"},
        }))
        .unwrap();
        assert_eq!(
            render(&args).join(" "),
            "--allowed-origins a b --dtype bfloat16 --no-enable-prefix-caching --enforce-eager \
             --gpu-memory-utilization 0.3 \
             --kv-transfer-config {\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"} \
             --tensor-parallel-size 1"
        );
    }
}
