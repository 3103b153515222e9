//! What a Hugging Face cache holds of a model, or a plain folder.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ModelDeclaration;
use super::layout::INDEX;
use crate::node::{quote, quote_path};
use crate::prompts::IdWindow;
use crate::resource::facts::{Fact, Facts};
use crate::resource::machine::Bytes;

/// One revision, as a node holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cached {
    /// The commit: the declared one, else what `refs/main` says. Of a folder, a digest of what is
    /// in it.
    pub revision: String,
    /// The folder of the snapshot on the node, or the place that is declared; absolute.
    pub path: String,
    /// The folder of all models on the node, absolute.
    pub(super) cache: String,
    /// Bytes that are free on the disk of the cache, where the node told.
    pub(super) free: Option<u64>,
    /// Whether the cache, or the folder that it would come into, can be written.
    pub(super) is_writable: bool,
    /// Whether something of it was once begun to be fetched, and not ended.
    pub(super) has_incomplete: bool,
    /// Whether the declared folder holds a model.
    pub(super) has_directory: bool,
    /// From where all of it was fetched, where it is what came of that.
    pub(super) fetched_from: Option<String>,
    /// Its files with their sizes.
    pub(super) files: BTreeMap<String, u64>,
    /// The files of the commit with their sizes, where the hub's tools noted them.
    pub(super) tree: BTreeMap<String, u64>,
    /// What each safetensors file says that it is long.
    pub(super) headers: BTreeMap<String, u64>,
    /// The links that lead nowhere.
    pub(super) dangling: Vec<String>,
    /// What each index names.
    pub(super) shards: BTreeMap<String, Vec<String>>,
    /// What of each file is wrong with its content, as far as that can be seen.
    pub(super) spoilt: BTreeMap<String, Spoilt>,
    /// The texts that say how it is to be loaded.
    pub(super) texts: BTreeMap<String, String>,
    has_repo: bool,
    /// Whether the configuration of its tokenizer names the tokens that were added to it.
    pub(super) names_added_tokens: bool,
    /// Whether the place is a file of GGUF.
    pub(super) is_gguf: bool,
    /// Whether the place is there and cannot be entered.
    pub(super) is_closed: bool,
    /// The tokens that were added to its vocabulary, as rows of their ids: markers, and no text.
    pub(super) markers: Vec<(u32, u32)>,
    /// The index that was read last.
    index: String,
}

/// What a result tells of a model's `config.json`.
const TOLD: [&str; 10] = [
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "tie_word_embeddings",
    "torch_dtype",
    "dtype",
];

/// What is wrong with the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoilt {
    /// It stands for a file that Git LFS holds.
    Pointer,
    /// It is not the JSON that its name says.
    NoJson,
    /// It is an archive without its end.
    Cut,
    /// It is nothing that torch writes.
    NoWeights,
}

/// The fact that [`Cached`] is read from.
///
/// The cache's place follows the rules of `huggingface_hub`: `HF_HUB_CACHE`, then `HF_HOME`, then
/// `XDG_CACHE_HOME`. Files under `original/` are no part of what vLLM loads.
///
/// A model in a folder of its own is looked at there.
pub(super) fn fact(declared: &ModelDeclaration) -> Fact {
    if let Some(path) = &declared.path {
        let look = include_str!("place.sh");
        let script = format!("r_path={}\n{LISTING}{look}{FILES}", quote_path(path));
        return Fact::new(id(declared), script);
    }
    let script = format!(
        "r_cache={}\nr_from={}\nr_repo={}\nr_revision={}\n{LISTING}{}{FILES}",
        cache_of(declared),
        quote_path(declared.directory.as_deref().unwrap_or_default()),
        quote(&folder(declared)),
        quote(declared.revision.as_deref().unwrap_or_default()),
        include_str!("look.sh")
    );
    Fact::new(id(declared), script)
}

/// Says how the files of a folder are listed.
pub(super) const LISTING: &str = include_str!("listing.sh");

/// Looks at the files of a folder.
const FILES: &str = include_str!("files.sh");

/// The name of a repository's folder in a cache.
pub(super) fn folder(declared: &ModelDeclaration) -> String {
    folder_of(&declared.repo)
}

/// The name of a repository's folder in a cache.
pub fn folder_of(repo: &str) -> String {
    format!("models--{}", repo.replace('/', "--"))
}

/// The folder of all models, as a shell has it.
pub fn cache_of(declared: &ModelDeclaration) -> String {
    declared.cache.as_deref().map_or_else(
        || {
            "\"${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}\""
                .to_owned()
        },
        quote_path,
    )
}

pub(super) fn id(declared: &ModelDeclaration) -> String {
    let ModelDeclaration {
        repo,
        revision,
        cache,
        directory,
        path,
        ..
    } = declared;
    if let Some(path) = path {
        return format!("model at {path}");
    }
    format!("model {repo} {revision:?} {cache:?} {directory:?}")
}

impl Cached {
    /// Reads the fact.
    pub fn read(declared: &ModelDeclaration, facts: &Facts) -> Self {
        let mut cached = Self::default();
        for line in facts.get(&id(declared)).lines() {
            let line = line.trim_end_matches('\r');
            cached.line(line.split_once(' ').unwrap_or((line, "")));
        }
        cached
    }

    fn line(&mut self, line: (&str, &str)) {
        match line {
            ("repo", _) => self.has_repo = true,
            ("writable", _) => self.is_writable = true,
            ("incomplete", _) => self.has_incomplete = true,
            ("directory", _) => self.has_directory = true,
            ("added_tokens", _) => self.names_added_tokens = true,
            ("added", ids) => self.markers.extend(row(ids)),
            ("gguf", _) => self.is_gguf = true,
            ("closed", _) => self.is_closed = true,
            ("cache", path) => path.clone_into(&mut self.cache),
            ("free", kib) => self.free = kib.parse().ok().map(|kib: u64| kib * 1024),
            ("revision", revision) => revision.clone_into(&mut self.revision),
            ("path", path) => path.clone_into(&mut self.path),
            ("fetched", origin) => self.fetched_from = Some(origin.to_owned()),
            ("tree", text) => self.tree = tree(text),
            _ => self.line_of_a_file(line),
        }
    }

    fn line_of_a_file(&mut self, line: (&str, &str)) {
        let spoilt = match line {
            ("dangling", name) => return self.dangling.push(name.to_owned()),
            ("index", name) => return name.clone_into(&mut self.index),
            ("shard", name) => {
                let index = Some(&self.index).filter(|index| !index.is_empty());
                let index = index.map_or(INDEX, String::as_str).to_owned();
                let shards = self.shards.entry(index).or_default();
                return shards.push(name.to_owned());
            }
            ("file", rest) => return self.files.extend(sized(rest)),
            ("header", rest) => return self.headers.extend(header(rest)),
            ("text", rest) => {
                let text = rest.split_once(' ');
                return self
                    .texts
                    .extend(text.map(|(name, text)| (name.to_owned(), text.to_owned())));
            }
            ("pointer", _) => Spoilt::Pointer,
            ("broken", _) => Spoilt::NoJson,
            ("cut", _) => Spoilt::Cut,
            ("odd", _) => Spoilt::NoWeights,
            _ => return,
        };
        // A pointer is no JSON either: what was seen first says more.
        self.spoilt.entry(line.1.to_owned()).or_insert(spoilt);
    }

    /// The ids that stand for ordinary text, as far as its files tell: a row of its vocabulary
    /// without a token that was added to it.
    pub fn ordinary_ids(&self) -> IdWindow {
        let config = self.texts.get("config.json");
        let config: Option<Value> = config.and_then(|text| serde_json::from_str(text).ok());
        let size = |config: &Value| {
            let own = &config["vocab_size"];
            let inner = &config["text_config"]["vocab_size"];
            own.as_u64().or_else(|| inner.as_u64())
        };
        let vocabulary = config.as_ref().and_then(size);
        let vocabulary = vocabulary.and_then(|size| u32::try_from(size).ok());
        let between = vocabulary.filter(|_| !self.markers.is_empty());
        between
            .and_then(|vocabulary| IdWindow::between(vocabulary, &self.markers))
            .unwrap_or_else(|| IdWindow::safe(vocabulary))
    }

    /// What its `config.json` tells of its size, as it stands there; what it does not tell is left
    /// out, and nothing is told of a file that could not be read.
    pub fn config_told(&self) -> Value {
        let config = self.texts.get("config.json");
        let config: Option<Value> = config.and_then(|text| serde_json::from_str(text).ok());
        let Some(Value::Object(mut config)) = config else {
            return Value::Null;
        };
        config.retain(|key, _| TOLD.contains(&key.as_str()));
        Value::Object(config)
    }

    /// The folder of all models on the node, where the node told of it.
    pub fn cache(&self) -> Option<&str> {
        Some(self.cache.as_str()).filter(|cache| !cache.is_empty())
    }

    /// What is free on the disk of the cache, where the node told.
    pub fn free(&self) -> Option<Bytes> {
        self.free.map(Bytes)
    }

    /// All that it holds of the model.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.files.values().sum())
    }

    /// Whether the cache knows the repository.
    pub(super) fn has_repo(&self) -> bool {
        self.has_repo
    }

    /// The bytes that another cache has of it and this one has not.
    pub(super) fn lacks(&self, other: &Self) -> u64 {
        let lacking = other
            .files
            .iter()
            .filter(|(name, size)| self.files.get(*name) != Some(*size));
        lacking.map(|(_, size)| size).sum()
    }
}

/// Reads `FIRST LAST`.
fn row(ids: &str) -> Option<(u32, u32)> {
    let (first, last) = ids.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Reads `SIZE NAME`.
fn sized(rest: &str) -> Option<(String, u64)> {
    let (size, name) = rest.split_once(' ')?;
    Some((name.to_owned(), size.parse().ok()?))
}

/// Reads `LENGTH END NAME`: a whole file has eight bytes, the header, and the tensors. One whose
/// header says nothing is not long in any way.
fn header(rest: &str) -> Option<(String, u64)> {
    let mut words = rest.splitn(3, ' ');
    let length: u64 = words.next()?.parse().ok()?;
    let end: u64 = words.next()?.parse().ok()?;
    let size = if length == 0 { 0 } else { 8 + length + end };
    Some((words.next()?.to_owned(), size))
}

/// Reads what `huggingface_hub` notes of a commit, from 1.22 on: `{"files": {path: {"size": …}}}`.
fn tree(text: &str) -> BTreeMap<String, u64> {
    let Ok(tree) = serde_json::from_str::<Value>(text) else {
        return BTreeMap::new();
    };
    let files = tree["files"].as_object().into_iter().flatten();
    files
        .filter(|(path, _)| !path.starts_with("original/"))
        .filter_map(|(path, file)| Some((path.clone(), file["size"].as_u64()?)))
        .collect()
}
