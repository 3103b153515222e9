//! What a recipe or a command line of somebody else's asks for, as a manifest can have it.

use indexmap::IndexMap;
use serde_json::Value;

use super::yaml;
use crate::manifest::is_name_of_secret;
use crate::name::ModelName;

/// What is to be served, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// What it was read from: `a sparkrun recipe`.
    pub(super) source: String,
    /// The repository, or the folder of the node.
    pub(super) model: String,
    /// The commit.
    pub(super) revision: Option<String>,
    /// What clients call it, where that is a name.
    pub(super) name: Option<ModelName>,
    pub(super) port: Option<u16>,
    /// The version of vLLM, where an image says it.
    pub(super) version: Option<String>,
    /// vLLM's arguments, as a manifest names them.
    pub(super) args: IndexMap<String, Given>,
    pub(super) env: IndexMap<String, Variable>,
    /// What a manifest cannot have of it, and why, a line each.
    pub(super) left: Vec<String>,
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// A switch.
    Switch(bool),
    /// Words of a command line.
    Words(Vec<String>),
    /// A value that has a structure.
    Value(Value),
}

impl Given {
    /// As a manifest has it.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Switch(is_on) => is_on.to_string(),
            Self::Words(words) => match &words[..] {
                [word] => yaml::word(word),
                words => {
                    let words: Vec<_> = words.iter().map(|it| yaml::word(it)).collect();
                    format!("[{}]", words.join(", "))
                }
            },
            Self::Value(value) => yaml::value(value),
        }
    }
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Plain(String),
    /// It is secret, and not written down.
    OfCaller,
}

/// Why a text asks for nothing that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    message: String,
    hint: String,
}

impl Unreadable {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// What would help.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// The names of vLLM's arguments that a manifest says elsewhere, or not at all.
enum Place {
    Port,
    Model,
    Revision,
    Name,
    /// It is a secret of every server.
    Key,
    /// It is nowhere, for this reason.
    Nowhere(&'static str),
}

fn place(argument: &str) -> Option<Place> {
    Some(match argument {
        "port" => Place::Port,
        "model" | "model_tag" => Place::Model,
        "revision" => Place::Revision,
        "served_model_name" => Place::Name,
        "api_key" => Place::Key,
        "host" => Place::Nowhere("a server listens where the proxy dials it"),
        "uds" => Place::Nowhere("servers are reached over TCP"),
        "config" => Place::Nowhere("write what stands in that file under `args`"),
        "nnodes"
        | "node_rank"
        | "master_addr"
        | "master_port"
        | "headless"
        | "data_parallel_address"
        | "data_parallel_rpc_port"
        | "distributed_executor_backend" => Place::Nowhere("a server is on one node here"),
        _ => return None,
    })
}

impl Asked {
    /// Takes an argument to where a manifest has it.
    pub(super) fn take(&mut self, name: &str, given: Given) {
        let name = name.replace('-', "_");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            self.left
                .push(format!("`{name}`: no argument is called so"));
            return;
        }
        let first = match &given {
            Given::Words(words) => words.first().cloned(),
            Given::Value(value) => value.as_str().map(str::to_owned),
            Given::Switch(_) => None,
        };
        match (place(&name), first) {
            (None, _) => drop(self.args.insert(name, given)),
            (Some(Place::Port), Some(port)) => match port.parse() {
                Ok(number) if number > 0 => self.port = Some(number),
                _ => self.left.push(format!("`port`: `{port}` is none")),
            },
            (Some(Place::Model), Some(model)) => self.model = model,
            (Some(Place::Revision), Some(revision)) => self.revise(&revision),
            (Some(Place::Name), Some(_)) => self.name = name_among(&given),
            (Some(Place::Key), _) => drop(
                self.env
                    .insert("VLLM_API_KEY".to_owned(), Variable::OfCaller),
            ),
            (Some(Place::Nowhere(why)), _) => {
                self.left
                    .push(format!("`{}`: {why}", name.replace('_', "-")));
            }
            (Some(_), None) => self.left.push(format!("`{name}`: it has no value")),
        }
    }

    /// Takes a commit; a branch is not one.
    pub(super) fn revise(&mut self, revision: &str) {
        if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.revision = Some(revision.to_ascii_lowercase());
        } else {
            self.left.push(format!(
                "revision `{revision}`: `revision:` takes a commit, 40 hex digits"
            ));
        }
    }

    /// Takes a variable. What is secret by its name is not written down.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        if !is_variable(name) {
            self.left
                .push(format!("`{name}`: no variable is called so"));
            return;
        }
        let value = if is_name_of_secret(name) {
            Variable::OfCaller
        } else {
            Variable::Plain(value.to_owned())
        };
        self.env.insert(name.to_owned(), value);
    }

    /// Takes what an image is called: its tag may be a version of vLLM.
    pub(super) fn image(&mut self, image: &str) {
        let (repository, tag) = image.rsplit_once(':').unwrap_or((image, ""));
        let version = tag.strip_prefix('v').unwrap_or_default();
        let version = version.split('-').next().unwrap_or_default();
        let is_version = version.split('.').count() == 3
            && version
                .split('.')
                .all(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()));
        if is_version && repository.ends_with("vllm-openai") {
            self.version = Some(version.to_owned());
        }
        self.left.push(format!(
            "the image `{image}`: vLLM is installed into a virtual environment of the node"
        ));
    }

    /// It, once it is known what is served.
    pub(super) fn whole(self) -> Result<Self, Unreadable> {
        let is_repo = self.model.split('/').count() == 2 && !self.model.contains(':');
        let is_path = self.model.starts_with('/') || self.model.starts_with("~/");
        match self.model.as_str() {
            "" => Err(Unreadable::new(
                "it names no model",
                "as in `vllm serve org/name`, or `model: org/name` in a recipe",
            )),
            _ if is_repo || is_path => Ok(self),
            model => Err(Unreadable::new(
                format!("`{model}` is neither a repository nor a folder"),
                "a model is `org/name`, or an absolute path of the node",
            )),
        }
    }
}

/// Whether a variable of the environment may be called so.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a program is one that starts containers.
pub(super) fn runs_containers(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    matches!(name, "docker" | "podman" | "nerdctl")
}

/// The first of the names that a server is to have which a manifest can give it.
fn name_among(given: &Given) -> Option<ModelName> {
    let names = match given {
        Given::Words(words) => words.join(" "),
        Given::Value(Value::String(text)) => text.clone(),
        Given::Value(_) | Given::Switch(_) => String::new(),
    };
    names.split([' ', ',']).find_map(|name| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_tell_the_version() {
        for (image, version) in [
            (
                "vllm/vllm-openai:v0.20.0-aarch64-cu130-ubuntu2404",
                Some("0.20.0"),
            ),
            ("vllm/vllm-openai:nightly-aarch64", None),
            ("registry.example:5000/vllm-openai", None),
            ("nvcr.io/nvidia/vllm:25.09", None),
        ] {
            let mut asked = Asked::default();
            asked.image(image);
            assert_eq!(asked.version.as_deref(), version, "{image}");
        }
    }

    #[test]
    fn what_a_manifest_says_elsewhere_is_no_argument() {
        let mut asked = Asked::default();
        let words = |word: &str| Given::Words(vec![word.to_owned()]);
        asked.take("port", words("9000"));
        asked.take("served-model-name", words("org/a a b"));
        asked.take("api-key", words("hush"));
        asked.take("host", words("0.0.0.0"));
        asked.take("revision", words("main"));
        asked.take("max-model-len", words("4096"));
        assert_eq!(asked.port, Some(9000));
        assert_eq!(asked.name.as_ref().map(ModelName::as_str), Some("a"));
        assert_eq!(asked.env["VLLM_API_KEY"], Variable::OfCaller);
        assert_eq!(asked.args.keys().collect::<Vec<_>>(), ["max_model_len"]);
        assert_eq!(asked.left.len(), 2, "{:?}", asked.left);
        assert!(!format!("{asked:?}").contains("hush"));
    }

    #[test]
    fn what_is_neither_a_repository_nor_a_path_is_refused() {
        for model in ["", "llama", "a/b/c", "Qwen/Q-GGUF:Q4_K_M"] {
            let asked = Asked {
                model: model.to_owned(),
                ..Asked::default()
            };
            assert!(asked.whole().is_err(), "{model}");
        }
    }
}
