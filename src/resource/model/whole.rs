//! Whether what a node holds of a model is all that vLLM loads of it.
//!
//! The measure is vLLM 0.13 itself: a model of which it makes a server is whole, in whatever files
//! it comes, and what it does not read may be missing.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ModelDeclaration;
use super::cached::{Cached, Spoilt};
use super::layout::{self, Chosen, has_ending};
use super::wanted::{ConfigFormat, LoadFormat, Wanted, Weights};

/// One way in which a model is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// The file, if it is one file that is there and wrong: it must go before it is fetched.
    pub(super) damaged: Option<String>,
    /// It in words.
    pub(super) text: String,
}

/// The files that a tokenizer is read from beside its vocabulary.
const BESIDE_A_VOCABULARY: [&str; 3] = [
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

/// The endings of files that hold weights for somebody.
const WEIGHTS: [&str; 10] = [
    ".bin",
    ".ckpt",
    ".gguf",
    ".h5",
    ".msgpack",
    ".onnx",
    ".ot",
    ".pt",
    ".pth",
    ".safetensors",
];

/// The endings of the other files that vLLM reads.
const TEXTS: [&str; 5] = [".jinja", ".json", ".model", ".py", ".tiktoken"];

/// Folders of a repository that are for others.
const FOR_OTHERS: [&str; 5] = ["coreml/", "metal/", "onnx/", "openvino/", "original/"];

impl Shortfall {
    fn of_all(text: impl Into<String>) -> Self {
        Self {
            damaged: None,
            text: text.into(),
        }
    }

    fn of_file(name: &str, text: String) -> Self {
        Self {
            damaged: Some(name.to_owned()),
            text,
        }
    }
}

impl Cached {
    /// Whether nothing falls short.
    pub(super) fn is_whole(&self, declared: &ModelDeclaration, wanted: &BTreeSet<Wanted>) -> bool {
        self.shortfalls(declared, wanted).is_empty()
    }

    /// Everything by which this falls short of a model that can be loaded.
    pub(super) fn shortfalls(
        &self,
        declared: &ModelDeclaration,
        wanted: &BTreeSet<Wanted>,
    ) -> Vec<Shortfall> {
        if let Some(text) = self.absent(declared) {
            return self.with_incomplete(vec![Shortfall::of_all(text)]);
        }
        if self.is_gguf {
            return Vec::new();
        }
        if declared.path.is_some() && self.files.is_empty() {
            let text = format!(
                "{} is neither the folder of a model nor a file of GGUF",
                declared.words()
            );
            return vec![Shortfall::of_all(text)];
        }
        // In a cache, what leads nowhere can be fetched; elsewhere it matters where it is read.
        let told = |name: &&String| declared.path.is_none() || is_for_vllm(name);
        let dangling = self.dangling.iter().filter(told).map(|name| {
            Shortfall::of_file(name, format!("{name} points to a file that is not there"))
        });
        let mut all: Vec<_> = dangling.collect();
        all.extend(wanted.iter().flat_map(|one| match one {
            Wanted::Weights(weights) => self.short_of_weights(weights),
            Wanted::Adapter => self.short_of_adapter(),
        }));
        let mut seen = BTreeSet::new();
        all.retain(|shortfall| seen.insert(shortfall.text.clone()));
        self.with_incomplete(all)
    }

    /// A whole model may have such a rest beside it.
    fn with_incomplete(&self, mut shortfalls: Vec<Shortfall>) -> Vec<Shortfall> {
        if self.has_incomplete && !shortfalls.is_empty() {
            let text = "it was once begun to be fetched, and not ended";
            shortfalls.push(Shortfall::of_all(text));
        }
        shortfalls
    }

    /// Why there is nothing of it at all.
    fn absent(&self, declared: &ModelDeclaration) -> Option<String> {
        if let Some(path) = &declared.path {
            let closed = format!("{path} cannot be entered by this user");
            let none = format!("{path} is not there");
            let text = if self.is_closed { closed } else { none };
            return self.path.is_empty().then_some(text);
        }
        if !self.has_repo() {
            return Some(format!("{} is not in the cache", declared.repo));
        }
        if !self.path.is_empty() {
            return None;
        }
        Some(match (&declared.revision, self.revision.as_str()) {
            (Some(revision), _) => format!("revision {revision} is not in the cache"),
            (None, "") => "the cache has no refs/main for it".to_owned(),
            (None, main) => format!("revision {main}, which refs/main names, is not in the cache"),
        })
    }

    fn short_of_weights(&self, wanted: &Weights) -> Vec<Shortfall> {
        let loaded = layout::chosen(wanted.format, self.names());
        let loaded = loaded.map(|chosen| (self.loaded(&chosen), chosen));
        let mut all: Vec<_> = self.short_of_config(wanted.config).into_iter().collect();
        if let Some((files, chosen)) = &loaded {
            all.extend(self.short_of_files(files, chosen));
            if files.is_empty() {
                all.push(self.without_weights(wanted.format));
            }
        }
        if wanted.tokenizer {
            all.extend(self.short_of_tokenizer());
        }
        if wanted.code {
            all.extend(self.short_of_code(wanted.tokenizer));
        }
        // What the commit has and vLLM reads.
        let files = loaded.map(|(files, _)| files).unwrap_or_default();
        let noted = self.tree.keys().filter(|name| {
            let is_code = has_ending(name, ".py");
            is_read(name, &files)
                && (wanted.code || !is_code)
                && (wanted.tokenizer || !is_of_tokenizer(name))
        });
        all.extend(noted.filter_map(|name| self.short_of_file(name)));
        all
    }

    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let all = self.files.keys().chain(&self.dangling);
        all.map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.is_dangling(name)
    }

    fn is_dangling(&self, name: &str) -> bool {
        self.dangling.iter().any(|it| it == name)
    }

    /// All files of weights that are to be there.
    fn loaded(&self, chosen: &Chosen) -> BTreeSet<String> {
        let named = self.shards_of(chosen.index);
        if chosen.is_by_index && !named.is_empty() {
            return named.iter().cloned().collect();
        }
        let unseen = layout::unseen_shards(&chosen.files);
        let all = named.iter().chain(&chosen.files).cloned();
        all.chain(unseen).collect()
    }

    fn shards_of(&self, index: &str) -> &[String] {
        self.shards.get(index).map_or(&[], Vec::as_slice)
    }

    fn short_of_files(&self, files: &BTreeSet<String>, chosen: &Chosen) -> Vec<Shortfall> {
        let mut all: Vec<_> = files
            .iter()
            .filter_map(|it| self.short_of_file(it))
            .collect();
        if chosen.is_by_index && self.has(chosen.index) {
            let index = chosen.index;
            let names_none = || {
                let text = format!("{index} names no weights");
                let is_empty = self.shards_of(index).is_empty();
                is_empty.then(|| Shortfall::of_file(index, text))
            };
            all.extend(self.short_of_file(index).or_else(names_none));
        }
        all
    }

    /// That there are no weights, and what is there instead.
    fn without_weights(&self, format: LoadFormat) -> Shortfall {
        let first = |endings: &[&str]| {
            let mut names = self.names().filter(|name| !name.starts_with("original/"));
            names.find(|name| endings.iter().any(|ending| has_ending(name, ending)))
        };
        let sorts = layout::sorts(format);
        let text = match (first(&[".safetensors", ".bin", ".pt"]), first(&[".gguf"])) {
            (Some(other), _) if other.contains('/') => {
                format!("it has no weights where vLLM looks for them: {other} is in a folder below")
            }
            (Some(other), _) => {
                format!("it has no weights that are loaded ({sorts}), only {other}")
            }
            (None, Some(gguf)) => {
                format!(
                    "it has no weights that are loaded ({sorts}): vLLM takes {gguf} by its path alone"
                )
            }
            (None, None) => format!("it has no weights ({sorts})"),
        };
        Shortfall::of_all(text)
    }

    fn short_of_config(&self, format: ConfigFormat) -> Option<Shortfall> {
        let name = match format {
            ConfigFormat::Auto if self.has("params.json") => "params.json",
            ConfigFormat::Auto | ConfigFormat::HuggingFace => "config.json",
            ConfigFormat::Mistral => "params.json",
            ConfigFormat::Other => return None,
        };
        self.short_of_file(name).or_else(|| {
            let is_map = self.json(name).is_some_and(|value| value.is_object());
            let text = format!("{name} is not the JSON that it should be");
            let is_told = self.texts.contains_key(name);
            (is_told && !is_map).then(|| Shortfall::of_file(name, text))
        })
    }

    /// What a text holds, where it was told and is JSON.
    fn json(&self, name: &str) -> Option<Value> {
        as_python_reads(self.texts.get(name)?)
    }

    /// The type that `config.json` gives, where it gives one, and the file of code that it names
    /// for that type.
    pub fn type_of_model(&self) -> Option<(Option<String>, Option<String>)> {
        // Mistral's own is known by its place.
        if self.has("params.json") {
            return None;
        }
        let config = self.json("config.json")?;
        let kind = config["model_type"].as_str().map(str::to_owned);
        let is_given = config["auto_map"]["AutoConfig"].is_string();
        let code = self.names_code("config.json", "AutoConfig").next();
        Some((
            kind,
            code.or_else(|| is_given.then(|| "code of another repository".to_owned())),
        ))
    }

    fn short_of_tokenizer(&self) -> Vec<Shortfall> {
        let names: BTreeSet<_> = self.names().filter(|name| !name.contains('/')).collect();
        let has_vocabulary = names.iter().any(|name| is_vocabulary(name));
        let brings_code = self
            .names_code("tokenizer_config.json", "AutoTokenizer")
            .next()
            .is_some();
        let none = (!has_vocabulary && !brings_code).then(|| {
            let text = "it has no tokenizer (tokenizer.json, tokenizer.model, tekken.json or another vocabulary)";
            Shortfall::of_all(text)
        });
        let is_read = self.read_by_tokenizer(&names);
        let files = names.iter().filter(|name| is_read(name));
        let files: Vec<_> = files.filter_map(|name| self.short_of_file(name)).collect();
        none.into_iter().chain(files).collect()
    }

    /// Which files a tokenizer is made of: Mistral's own where there is one, else the one file that
    /// holds all of it, else whatever there is.
    fn read_by_tokenizer(&self, names: &BTreeSet<&str>) -> impl Fn(&str) -> bool {
        let mistrals: Vec<_> = if names.contains("tekken.json") {
            vec!["tekken.json".to_owned()]
        } else {
            let versions = names
                .iter()
                .filter(|name| name.starts_with("tokenizer.model.v"));
            versions.map(|name| (*name).to_owned()).collect()
        };
        let has_one_file = names.contains("tokenizer.json");
        let names_added = self.names_added_tokens;
        move |name| match name {
            _ if !mistrals.is_empty() => mistrals.iter().any(|it| it == name),
            "tokenizer.json" | "tokenizer_config.json" => true,
            // They are read where the configuration does not say what they say.
            "added_tokens.json" | "special_tokens_map.json" => !names_added,
            _ => is_vocabulary(name) && !has_one_file,
        }
    }

    fn short_of_code(&self, with_tokenizer: bool) -> Vec<Shortfall> {
        let of_config = self.names_code("config.json", "AutoConfig");
        let of_tokenizer = self.names_code("tokenizer_config.json", "AutoTokenizer");
        let of_tokenizer = of_tokenizer.filter(|_| with_tokenizer);
        let all = of_config.chain(of_tokenizer);
        all.filter_map(|name| self.short_of_file(&name)).collect()
    }

    /// The files of code that a text names for a class of transformers: `a.B` is `B` of `a.py`. What
    /// is in another repository, `o/m--a.B`, is none of these.
    pub(super) fn names_code(&self, text: &str, class: &str) -> impl Iterator<Item = String> {
        let json = self.json(text);
        let named = json
            .map(|json| json["auto_map"][class].clone())
            .unwrap_or_default();
        let named = match named {
            // A slow tokenizer, and a fast one.
            Value::Array(both) => both,
            one => vec![one],
        };
        named.into_iter().filter_map(|reference| {
            let (module, _) = reference.as_str()?.rsplit_once('.')?;
            (!module.contains("--")).then(|| module.replace('.', "/") + ".py")
        })
    }

    /// `adapter_model.*` with what says how it is laid over the weights.
    fn short_of_adapter(&self) -> Vec<Shortfall> {
        let weights = [
            "adapter_model.safetensors",
            "adapter_model.bin",
            "adapter_model.pt",
        ];
        let found = weights.into_iter().find(|name| self.has(name));
        let weights = match found {
            Some(name) => self.short_of_file(name),
            None => Some(Shortfall::of_all("it has no adapter_model.safetensors")),
        };
        let config = self.short_of_file("adapter_config.json");
        config.into_iter().chain(weights).collect()
    }

    /// What is wrong with a file that is to be there. That its link leads nowhere is told elsewhere.
    fn short_of_file(&self, name: &str) -> Option<Shortfall> {
        if self.is_dangling(name) {
            return None;
        }
        let Some(&size) = self.files.get(name) else {
            return Some(Shortfall::of_all(format!("{name} is missing")));
        };
        let noted = self.tree.get(name).copied();
        if size == 0 && noted != Some(0) {
            return Some(Shortfall::of_file(name, format!("{name} is empty")));
        }
        let text = match self.spoilt.get(name) {
            Some(Spoilt::Pointer) => format!("{name} is a pointer of Git LFS, not the file itself"),
            Some(Spoilt::NoJson) => format!("{name} is not the JSON that it should be"),
            Some(Spoilt::Cut) => format!("{name} is cut short"),
            Some(Spoilt::NoWeights) => format!("{name} holds no weights"),
            None => wrong_size(
                name,
                size,
                noted.or_else(|| self.headers.get(name).copied())?,
            )?,
        };
        Some(Shortfall::of_file(name, text))
    }
}

fn wrong_size(name: &str, size: u64, should: u64) -> Option<String> {
    match should {
        _ if size == should => None,
        0 => Some(format!("{name} is no safetensors file")),
        _ => Some(format!("{name} has {size} of {should} bytes")),
    }
}

/// Whether vLLM may read a file of this name.
fn is_for_vllm(name: &str) -> bool {
    let mut endings = WEIGHTS.iter().chain(&TEXTS);
    endings.any(|ending| has_ending(name, ending)) || is_of_tokenizer(name)
}

/// Whether vLLM reads a file, of whose weights it loads these.
fn is_read(name: &str, loaded: &BTreeSet<String>) -> bool {
    let ends_in = |endings: &[&str]| endings.iter().any(|ending| has_ending(name, ending));
    if ends_in(&WEIGHTS) {
        return loaded.contains(name);
    }
    let is_hidden = name.split('/').any(|part| part.starts_with('.'));
    let is_for_others = FOR_OTHERS.iter().any(|folder| name.starts_with(folder));
    // An index is judged with the weights that it names.
    let is_index = name.ends_with(".index.json");
    (ends_in(&TEXTS) || is_of_tokenizer(name)) && !is_hidden && !is_for_others && !is_index
}

fn is_of_tokenizer(name: &str) -> bool {
    is_vocabulary(name) || BESIDE_A_VOCABULARY.contains(&name)
}

fn is_vocabulary(name: &str) -> bool {
    matches!(name, "tokenizer.json" | "tekken.json")
        || name.starts_with("tokenizer.model")
        || [".model", ".tiktoken"]
            .iter()
            .any(|it| has_ending(name, it))
        || (name.contains("vocab") && [".json", ".txt"].iter().any(|it| has_ending(name, it)))
}

/// JSON as Python reads it, which knows numbers that are none.
fn as_python_reads(text: &str) -> Option<Value> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' {
            string(rest)
        } else if let Some(word) = ["-Infinity", "Infinity", "NaN"]
            .iter()
            .find(|it| rest.starts_with(**it))
        {
            plain.push_str("null");
            rest = &rest[word.len()..];
            continue;
        } else {
            c.len_utf8()
        };
        plain.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    serde_json::from_str(&plain).ok()
}

/// How long the string is that a text begins with, quotes included.
fn string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests;
