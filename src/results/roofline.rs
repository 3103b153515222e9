//! The roofline: what the memory of the GPUs allows at most. No token of a stream comes sooner than
//! the weights are read that it takes, so that its bandwidth over what is read bounds its rate, and
//! of `c` streams that are decoded together no more than `c` times that comes.
//!
//! Nothing else is counted: no cache of keys and values, no arithmetic, no traffic between GPUs. All
//! of that makes it slower, so that the bound holds with it too. Where it is not certain how much is
//! read for a token there is no bound, and it is said why.

mod cards;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::Conditions;
use super::quantile::tidy;
use crate::logs::loaded_gib;
use crate::plan::NodeConditions;
use crate::quantity::Bandwidth;

/// The families of models of which it is certain that every weight is read for every token, but for
/// the table of embeddings, as `model_type` in their `config.json`. Others have experts, other
/// senses, or tables by the layer.
const READ_WHOLE: [&str; 20] = [
    "apertus",
    "cohere",
    "exaone4",
    "gemma",
    "gemma2",
    "glm",
    "glm4",
    "gpt_neox",
    "granite",
    "internlm2",
    "llama",
    "mistral",
    "nemotron",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "seed_oss",
    "smollm3",
];

/// Less than this is not bounded: a part of it stays in the caches of the larger GPUs, in GiB.
const FEWEST_GIB: f64 = 2.0;

const GIB: f64 = 1_073_741_824.0;

/// What bounds the rate of a stream of one instance, where that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// It is.
    Known(Roofline),
    /// Why it is not.
    Unknown {
        /// A fragment.
        why: String,
    },
}

/// The bound, and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Tokens a second of one stream, at most: `memory_gb_s / read_gb`.
    pub tok_s_user: f64,
    /// How fast a GPU reads its memory, in GB/s.
    pub memory_gb_s: f64,
    /// Who says so: `the manifest`, or the GPU whose data sheet does.
    pub memory_of: String,
    /// What the engine loaded, as its log says, in GiB; of one GPU, where several share a model.
    pub weights_gib: f64,
    /// What of it is read for every token, in GB: all but the table of embeddings, of which a row is
    /// read where the head has a table of its own.
    pub read_gb: f64,
}

impl Bound {
    /// The bound, where it is known.
    pub fn known(&self) -> Option<&Roofline> {
        match self {
            Self::Known(roofline) => Some(roofline),
            Self::Unknown { .. } => None,
        }
    }
}

/// The bound of every instance that a job's provenance tells of, by name.
pub(crate) fn rooflines(conditions: &Conditions, topology: &Value) -> BTreeMap<String, Bound> {
    let instances = topology["instances"].as_array().into_iter().flatten();
    let named = instances.filter_map(|it| Some((it["name"].as_str()?, it)));
    named
        .map(|(name, told)| {
            let bound = roofline(name, told, conditions);
            let unknown = |why| Bound::Unknown { why };
            (name.to_owned(), bound.map_or_else(unknown, Bound::Known))
        })
        .collect()
}

fn roofline(name: &str, told: &Value, conditions: &Conditions) -> Result<Roofline, String> {
    let unless = |why: &str| why.to_owned();
    is_read_whole(told)?;
    let mut nodes = conditions.before.values();
    let node = nodes.find(|node| node.servers.contains_key(name));
    let node = node.ok_or_else(|| unless("nobody looked at its node"))?;
    let (memory_gb_s, memory_of) = memory(told, node)?;
    let lines = node.servers[name].named.iter();
    // Of several that share a model, the one with the most bounds them all.
    let weights_gib = lines.filter_map(|line| loaded_gib(line));
    let weights_gib = weights_gib.max_by(f64::total_cmp);
    let weights_gib =
        weights_gib.ok_or_else(|| unless("its log does not say how much it loaded"))?;
    if weights_gib < FEWEST_GIB {
        return Err(format!(
            "its {weights_gib} GiB of weights may stay in the caches of a GPU"
        ));
    }
    let read_gb = (weights_gib * GIB - embeddings(told)) / 1e9;
    Ok(Roofline {
        tok_s_user: tidy(memory_gb_s / read_gb),
        memory_gb_s,
        memory_of,
        weights_gib,
        read_gb: tidy(read_gb),
    })
}

/// Says why it is not certain that all weights are read for each token.
fn is_read_whole(told: &Value) -> Result<(), String> {
    let args = &told["spec"]["args"];
    let keys = args.as_object().into_iter().flatten();
    for (key, value) in keys {
        if *value == Value::Bool(false) || value.is_null() {
            continue;
        }
        let why = match key.as_str() {
            key if key.contains("speculative") => "several tokens come of one step (speculation)",
            "enable_lora" | "lora_modules" => "adapters are loaded that not every request reads",
            "cpu_offload_gb" => "a part of the weights is not in the memory of the GPU",
            "pipeline_parallel_size" if *value != 1 => "its layers are spread over GPUs",
            _ => continue,
        };
        return Err(why.to_owned());
    }
    match told["config"]["model_type"].as_str() {
        Some(sort) if READ_WHOLE.contains(&sort) => Ok(()),
        Some(sort) => Err(format!(
            "it is not certain how much of a model of type `{sort}` is read for a token"
        )),
        None => Err("its model's config.json was not read".to_owned()),
    }
}

/// How fast the memory is, in GB/s, and who says so.
fn memory(told: &Value, node: &NodeConditions) -> Result<(f64, String), String> {
    if let Some(stated) = told["memory_bandwidth"].as_str() {
        let stated: Bandwidth = stated.parse().map_err(|error| format!("{error}"))?;
        return Ok((stated.gb_per_s(), "the manifest".to_owned()));
    }
    if !told["spec"]["engine"]["simulate"].is_null() {
        return Err("a simulated engine reads no memory, and none is stated".to_owned());
    }
    let mut names = node
        .gpus
        .iter()
        .map(|gpu| gpu.name.as_deref().unwrap_or("?"));
    let first = names.next().ok_or("its node tells of no GPU")?;
    if let Some(other) = names.find(|name| *name != first) {
        return Err(format!(
            "its node has different GPUs: `{first}` and `{other}`"
        ));
    }
    let known = cards::memory_gb_s(first);
    let unknown = || format!("the bandwidth of `{first}` is not known: state `memory_bandwidth`");
    Ok((known.ok_or_else(unknown)?, first.to_owned()))
}

/// How much of what was loaded is a table of which a row is read, in bytes; it is shared where the
/// GPUs share the model.
fn embeddings(told: &Value) -> f64 {
    let config = &told["config"];
    if config["tie_word_embeddings"] == Value::Bool(true) {
        return 0.0;
    }
    let of = |key: &str| config[key].as_f64().unwrap_or_default();
    let args = &told["spec"]["args"];
    let types = [&args["dtype"], &config["torch_dtype"], &config["dtype"]];
    let is_wide = types
        .iter()
        .any(|it| matches!(it.as_str(), Some("float32" | "float")));
    let bytes = if is_wide { 4.0 } else { 2.0 };
    let shared_by = args["tensor_parallel_size"].as_f64().unwrap_or(1.0);
    of("vocab_size") * of("hidden_size") * bytes / shared_by.max(1.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{GpuConditions, ServerConditions};

    fn spark() -> Value {
        json!({
            "name": "a",
            "spec": {"args": {}, "engine": {"venv": "~/vllm"}},
            "config": {"model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096,
                "tie_word_embeddings": false, "torch_dtype": "bfloat16"},
        })
    }

    fn seen(gpus: &[&str], named: &[&str]) -> Conditions {
        let gpu = |name: &&str| GpuConditions {
            name: Some((*name).to_owned()),
            ..GpuConditions::default()
        };
        let server = ServerConditions {
            named: named.iter().map(|it| (*it).to_owned()).collect(),
            ..ServerConditions::default()
        };
        let node = NodeConditions {
            gpus: gpus.iter().map(gpu).collect(),
            servers: [("a".to_owned(), server)].into(),
            ..NodeConditions::default()
        };
        let before = [("spark-01".parse().unwrap(), node)].into();
        Conditions {
            before,
            ..Conditions::default()
        }
    }

    const LOADED: &str = "Model loading took 14.9890 GiB memory and 77.2 seconds";

    fn bound(told: &Value, conditions: &Conditions) -> Result<Roofline, String> {
        let told = json!({"instances": [told]});
        match rooflines(conditions, &told).remove("a").unwrap() {
            Bound::Known(roofline) => Ok(roofline),
            Bound::Unknown { why } => Err(why),
        }
    }

    /// `weights 14.989 GiB = 16.09 GB; minus the 1.05 GB input embedding ≈ 15.04 GB; 273 GB/s ⇒ 18.1`.
    #[test]
    fn an_8b_on_a_gb10_gives_a_stream_eighteen_tokens_a_second_at_most() {
        let found = bound(&spark(), &seen(&["NVIDIA GB10"], &[LOADED])).unwrap();
        assert!((found.tok_s_user - 18.14).abs() < 0.01, "{found:?}");
        assert!((found.read_gb - 15.04).abs() < 0.01, "{found:?}");
        assert_eq!(found.memory_of, "NVIDIA GB10");
        let mut tied = spark();
        tied["config"]["tie_word_embeddings"] = true.into();
        let tied = bound(&tied, &seen(&["NVIDIA GB10"], &[LOADED])).unwrap();
        assert!((tied.tok_s_user - 16.96).abs() < 0.01, "{tied:?}");
    }

    #[test]
    fn what_the_manifest_states_stands_over_the_data_sheet() {
        let mut stated = spark();
        stated["memory_bandwidth"] = "546 GB/s".into();
        let found = bound(&stated, &seen(&["NVIDIA GB10"], &[LOADED])).unwrap();
        assert!((found.tok_s_user - 36.29).abs() < 0.01, "{found:?}");
        assert_eq!(found.memory_of, "the manifest");
        let mut simulated = stated.clone();
        simulated["spec"]["engine"] = json!({"simulate": {"profile": "fast"}});
        assert!(bound(&simulated, &seen(&[], &[LOADED])).is_ok());
    }

    /// Each of two reads its half, the larger of which bounds both.
    #[test]
    fn gpus_that_share_a_model_each_read_their_part() {
        let mut shared = spark();
        shared["spec"]["args"]["tensor_parallel_size"] = 2.into();
        let lines = [
            "Model loading took 7.4 GiB memory and 40.0 seconds",
            "Model loading took 7.5 GiB memory and 41.0 seconds",
        ];
        let gpus = ["NVIDIA H100 80GB HBM3"; 2];
        let found = bound(&shared, &seen(&gpus, &lines)).unwrap();
        assert!((found.weights_gib - 7.5).abs() < 1e-9);
        assert!((found.read_gb - 7.528).abs() < 0.001, "{found:?}");
    }

    #[test]
    fn where_it_is_not_certain_nothing_is_claimed_and_it_is_said_why() {
        let on_spark = || seen(&["NVIDIA GB10"], &[LOADED]);
        let with = |key: &str, value: Value| {
            let mut told = spark();
            told["spec"]["args"][key] = value;
            bound(&told, &on_spark()).unwrap_err()
        };
        assert!(with("speculative_config", json!({"method": "ngram"})).contains("speculation"));
        assert!(with("enable_lora", true.into()).contains("adapters"));
        assert!(with("cpu_offload_gb", 4.into()).contains("not in the memory"));
        assert!(with("pipeline_parallel_size", 2.into()).contains("spread"));
        let of_type = |sort: &str| {
            let mut told = spark();
            told["config"]["model_type"] = sort.into();
            bound(&told, &on_spark()).unwrap_err()
        };
        for sort in ["mixtral", "qwen3_moe", "gemma3", "gpt_oss", "llava"] {
            assert!(of_type(sort).contains("not certain"), "{sort}");
        }
        let mut unread = spark();
        unread["config"] = json!(null);
        assert!(
            bound(&unread, &on_spark())
                .unwrap_err()
                .contains("config.json")
        );
        let of = |gpus: &[&str], lines: &[&str]| bound(&spark(), &seen(gpus, lines)).unwrap_err();
        assert!(of(&[], &[LOADED]).contains("no GPU"));
        assert!(of(&["NVIDIA X"], &[LOADED]).contains("state `memory_bandwidth`"));
        assert!(of(&["NVIDIA GB10", "NVIDIA L4"], &[LOADED]).contains("different"));
        assert!(of(&["NVIDIA GB10"], &[]).contains("log does not say"));
        let small = "Model loading took 0.9 GiB memory and 1 seconds";
        assert!(of(&["NVIDIA GB10"], &[small]).contains("caches"));
        let mut simulated = spark();
        simulated["spec"]["engine"] = json!({"simulate": {"profile": "fast"}});
        assert!(
            bound(&simulated, &on_spark())
                .unwrap_err()
                .contains("simulated")
        );
        assert!(
            bound(&spark(), &Conditions::default())
                .unwrap_err()
                .contains("nobody")
        );
    }

    #[test]
    fn both_sorts_of_bound_read_back_as_themselves() {
        let known = bound(&spark(), &seen(&["NVIDIA GB10"], &[LOADED])).unwrap();
        let why = "no".to_owned();
        for bound in [Bound::Known(known), Bound::Unknown { why }] {
            let json = serde_json::to_string(&bound).unwrap();
            assert_eq!(serde_json::from_str::<Bound>(&json).unwrap(), bound);
        }
    }
}
