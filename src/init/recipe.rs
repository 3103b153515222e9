//! A recipe of sparkrun: one YAML file of a model, a container and the arguments of its server.
//!
//! What its keys mean stands in <https://github.com/spark-arena/sparkrun/blob/main/RECIPES.md>: a `command`
//! with `{key}` in it, filled in from `defaults`, or else vLLM's arguments are what `defaults` has.

use serde_json::{Map, Value};

use super::asked::{Asked, Given, Unreadable};
use super::command_line;

/// What `defaults` calls differently than vLLM does.
const CALLED: [(&str, &str); 3] = [
    ("tensor_parallel", "tensor_parallel_size"),
    ("pipeline_parallel", "pipeline_parallel_size"),
    ("data_parallel", "data_parallel_size"),
];

/// Keys that say nothing of how the model is served, or are read here.
const OTHERS: [&str; 16] = [
    "command",
    "container",
    "defaults",
    "description",
    "env",
    "maintainer",
    "max_nodes",
    "metadata",
    "min_nodes",
    "mode",
    "model",
    "model_revision",
    "name",
    "recipe_version",
    "runtime",
    "solo_only",
];

/// Reads a recipe.
pub(super) fn read(recipe: &Map<String, Value>) -> Result<Asked, Unreadable> {
    let text = |key: &str| recipe.get(key).and_then(Value::as_str);
    let runtime = text("runtime").unwrap_or("vllm");
    if !runtime.starts_with("vllm") {
        return Err(Unreadable::new(
            format!("the recipe is for `{runtime}`"),
            "replica runs vLLM: take a recipe whose `runtime` is `vllm`",
        ));
    }
    let none = Map::new();
    let defaults = recipe
        .get("defaults")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let model = text("model").unwrap_or_default();
    let mut asked = match text("command") {
        Some(command) => command_line::read(&filled(command, model, defaults))?,
        None => of_defaults(model, defaults).whole()?,
    };
    "a sparkrun recipe".clone_into(&mut asked.source);
    if let Some(revision) = text("model_revision") {
        asked.revise(revision);
    }
    for (name, value) in recipe
        .get("env")
        .and_then(Value::as_object)
        .unwrap_or(&none)
    {
        asked.set(name, &plain(value));
    }
    if let Some(image) = text("container") {
        asked.image(image);
    }
    let others = recipe.keys().filter(|key| !OTHERS.contains(&key.as_str()));
    let others: Vec<_> = others.map(|key| format!("`{key}`")).collect();
    if !others.is_empty() {
        asked
            .left
            .push(format!("{} of the recipe", others.join(", ")));
    }
    Ok(asked)
}

/// A command whose `{key}` are filled in by the defaults; what is not known there stays as it is.
fn filled(command: &str, model: &str, defaults: &Map<String, Value>) -> String {
    let mut text = command.replace("{model}", model);
    for (key, value) in defaults {
        text = text.replace(&format!("{{{key}}}"), &plain(value));
    }
    text
}

fn of_defaults(model: &str, defaults: &Map<String, Value>) -> Asked {
    let mut asked = Asked {
        model: model.to_owned(),
        ..Asked::default()
    };
    for (key, value) in defaults {
        let called = CALLED.iter().find(|(name, _)| name == key);
        let name = called.map_or(key.as_str(), |(_, name)| name);
        match value {
            // A switch that is off is left out of the command line that sparkrun makes.
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => asked.take(name, Given::Switch(true)),
            Value::Number(number) => asked.take(name, Given::Words(vec![number.to_string()])),
            Value::String(text) if text.starts_with(['{', '[']) => {
                let value = serde_json::from_str(text).unwrap_or_else(|_| value.clone());
                asked.take(name, Given::Value(value));
            }
            other => asked.take(name, Given::Value(other.clone())),
        }
    }
    asked
}

/// A value as it stands in a command line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ModelName;

    fn written(text: &str) -> String {
        let asked = Asked::read(text).unwrap();
        let args: Vec<_> = asked
            .args
            .iter()
            .map(|(name, given)| format!("{name}: {}", given.written()))
            .collect();
        format!(
            "{} as {:?}, port {:?}, version {:?}\n{}\n{:?}\n{}",
            asked.model,
            asked.name.as_ref().map(ModelName::as_str),
            asked.port,
            asked.version,
            args.join("\n"),
            asked.env,
            asked.left.join("\n")
        )
    }

    /// The keys and values of `recipes/nemotron-super-120b-nvfp4.yaml` of styles01/sparkrun-recipes.
    #[test]
    fn a_recipe_with_a_command_is_read_by_it() {
        insta::assert_snapshot!(written(
            r#"
recipe_version: "2"
name: nemotron-super-120b-nvfp4
model: nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4
runtime: vllm
container: vllm/vllm-openai:v0.20.0-aarch64-cu130-ubuntu2404
solo_only: true
defaults:
  port: 8000
  host: 0.0.0.0
  tensor_parallel: 1
  gpu_memory_utilization: 0.85
  served_model_name: "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4 nemotron-3-super"
  speculative_config: '{"method":"mtp","num_speculative_tokens":1}'
env:
  OMP_NUM_THREADS: "4"
  PYTORCH_CUDA_ALLOC_CONF: expandable_segments:True
benchmark: {framework: spark-arena}
command: |
  vllm serve {model} \
    --served-model-name {served_model_name} \
    --tensor-parallel-size {tensor_parallel} \
    --port {port} --host {host} \
    --gpu-memory-utilization {gpu_memory_utilization} \
    --async-scheduling \
    --speculative-config '{speculative_config}'
"#
        ), @r#"
        nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4 as Some("nemotron-3-super"), port Some(8000), version Some("0.20.0")
        tensor_parallel_size: 1
        gpu_memory_utilization: 0.85
        async_scheduling: true
        speculative_config: {method: mtp, num_speculative_tokens: 1}
        {"OMP_NUM_THREADS": Plain("4"), "PYTORCH_CUDA_ALLOC_CONF": Plain("expandable_segments:True")}
        `host`: a server listens where the proxy dials it
        the image `vllm/vllm-openai:v0.20.0-aarch64-cu130-ubuntu2404`: vLLM is installed into a virtual environment of the node
        `benchmark` of the recipe
        "#);
    }

    /// The minimal recipe of sparkrun's own reference.
    #[test]
    fn a_recipe_without_a_command_is_read_by_its_defaults() {
        insta::assert_snapshot!(written(
            "model: Qwen/Qwen3-1.7B\nruntime: vllm-distributed\ncontainer: scitrera/dgx-spark-vllm:latest\n\
             defaults: {port: 8000, tensor_parallel: 2, enforce_eager: false, trust_remote_code: true, kv_cache_dtype: fp8}\n\
             env: {HF_TOKEN: abc}\n"
        ), @r#"
        Qwen/Qwen3-1.7B as None, port Some(8000), version None
        tensor_parallel_size: 2
        trust_remote_code: true
        kv_cache_dtype: fp8
        {"HF_TOKEN": OfCaller}
        the image `scitrera/dgx-spark-vllm:latest`: vLLM is installed into a virtual environment of the node
        "#);
    }

    #[test]
    fn a_recipe_for_another_server_is_refused() {
        let refused = Asked::read("model: Qwen/Qwen3-1.7B\nruntime: sglang\n").unwrap_err();
        assert!(refused.to_string().contains("sglang"), "{refused}");
        assert!(refused.hint().contains("vllm"));
        assert!(Asked::read("model: Qwen3\n").is_err());
    }
}
