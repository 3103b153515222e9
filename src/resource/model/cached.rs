//! What a Hugging Face cache holds of a model, and whether that is all of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ModelDeclaration;
use crate::node::{quote, quote_path};
use crate::resource::facts::{Fact, Facts};

/// One revision, as the cache holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cached {
    /// The commit: the declared one, else what `refs/main` says.
    pub revision: String,
    /// The folder of the snapshot on the node, absolute.
    pub path: String,
    /// The folder of all models on the node, absolute.
    pub(super) cache: String,
    /// Bytes that are free on the disk of the cache, where the node told.
    pub(super) free: Option<u64>,
    /// Whether the cache, or the folder that it would come into, can be written.
    pub(super) is_writable: bool,
    /// Whether something of it was once begun to be fetched, and not ended.
    has_incomplete: bool,
    /// Whether the declared folder holds a model.
    pub(super) has_directory: bool,
    files: BTreeMap<String, u64>,
    /// The files of the commit with their sizes, where the hub's tools noted them.
    tree: BTreeMap<String, u64>,
    /// What each safetensors file says that it is long.
    headers: BTreeMap<String, u64>,
    dangling: Vec<String>,
    shards: Vec<String>,
    has_repo: bool,
}

/// One way in which a model is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortfall {
    /// The file, if it is one file that is there and wrong: it must go before it is fetched.
    pub(super) damaged: Option<String>,
    /// It in words.
    pub(super) text: String,
}

/// The fact that [`Cached`] is read from.
///
/// The cache's place follows the rules of `huggingface_hub`: `HF_HUB_CACHE`, then `HF_HOME`, then
/// `XDG_CACHE_HOME`. Files under `original/` are no part of what vLLM loads.
pub(super) fn fact(declared: &ModelDeclaration) -> Fact {
    let cache = declared.cache.as_deref().map_or_else(
        || {
            "\"${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}\""
                .to_owned()
        },
        quote_path,
    );
    let script = format!(
        "r_cache={cache}\nr_from={}\nr_repo={}\nr_revision={}\n{}",
        quote_path(declared.directory.as_deref().unwrap_or_default()),
        quote(&folder(declared)),
        quote(declared.revision.as_deref().unwrap_or_default()),
        include_str!("look.sh")
    );
    Fact::new(id(declared), script)
}

/// The name of a repository's folder in a cache.
pub(super) fn folder(declared: &ModelDeclaration) -> String {
    format!("models--{}", declared.repo.replace('/', "--"))
}

fn id(declared: &ModelDeclaration) -> String {
    let ModelDeclaration {
        repo,
        revision,
        cache,
        directory,
        ..
    } = declared;
    format!("model {repo} {revision:?} {cache:?} {directory:?}")
}

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
            ("cache", path) => path.clone_into(&mut self.cache),
            ("free", kib) => self.free = kib.parse().ok().map(|kib: u64| kib * 1024),
            ("revision", revision) => revision.clone_into(&mut self.revision),
            ("path", path) => path.clone_into(&mut self.path),
            ("dangling", name) => self.dangling.push(name.to_owned()),
            ("shard", name) => self.shards.push(name.to_owned()),
            ("tree", text) => self.tree = tree(text),
            ("file", rest) => self.files.extend(sized(rest)),
            ("header", rest) => self.headers.extend(header(rest)),
            _ => {}
        }
    }

    /// Whether the cache knows the repository.
    pub(super) fn has_repo(&self) -> bool {
        self.has_repo
    }

    /// Whether nothing falls short.
    pub(super) fn is_whole(&self, declared: &ModelDeclaration) -> bool {
        self.shortfalls(declared).is_empty()
    }

    /// The bytes that another cache has of it and this one has not.
    pub(super) fn lacks(&self, other: &Self) -> u64 {
        let lacking = other
            .files
            .iter()
            .filter(|(name, size)| self.files.get(*name) != Some(*size));
        lacking.map(|(_, size)| size).sum()
    }

    /// Everything by which this falls short of a model that can be loaded.
    pub(super) fn shortfalls(&self, declared: &ModelDeclaration) -> Vec<Shortfall> {
        let mut shortfalls = self.lacking(declared);
        // A whole model may have such a rest beside it.
        if self.has_incomplete && !shortfalls.is_empty() {
            let text = "it was once begun to be fetched, and not ended";
            shortfalls.push(Shortfall::of_all(text));
        }
        shortfalls
    }

    fn lacking(&self, declared: &ModelDeclaration) -> Vec<Shortfall> {
        let whole = |text: String| vec![Shortfall::of_all(text)];
        if !self.has_repo {
            return whole(format!("{} is not in the cache", declared.repo));
        }
        if self.path.is_empty() {
            return whole(match (&declared.revision, self.revision.as_str()) {
                (Some(revision), _) => format!("revision {revision} is not in the cache"),
                (None, "") => "the cache has no refs/main for it".to_owned(),
                (None, main) => {
                    format!("revision {main}, which refs/main names, is not in the cache")
                }
            });
        }
        let mut shortfalls: Vec<_> = self.dangling.iter().map(|name| dangling(name)).collect();
        shortfalls.extend(self.missing());
        shortfalls.extend(self.damaged());
        shortfalls
    }

    /// What is not there at all, though the index or the hub's note names it.
    fn missing(&self) -> impl Iterator<Item = Shortfall> {
        let mut names = self.files.keys().chain(&self.dangling);
        let has_weights = names.any(|name| name.ends_with(".safetensors"));
        let none = (self.shards.is_empty() && !has_weights)
            .then(|| Shortfall::of_all("it has no .safetensors file"));
        let mut wanted = vec!["config.json"];
        wanted.extend(self.shards.iter().map(String::as_str));
        wanted.extend(self.tree.keys().map(String::as_str));
        wanted.sort_unstable();
        wanted.dedup();
        let is_there = |name: &str| {
            self.files
                .get(name)
                .is_some_and(|&size| size > 0 || self.tree.get(name) == Some(&0))
        };
        wanted.retain(|name| !is_there(name) && !self.dangling.iter().any(|it| it == name));
        let missing = wanted.into_iter().map(|name| Shortfall {
            // An empty one is in the way of a whole one.
            damaged: self.files.contains_key(name).then(|| name.to_owned()),
            text: format!("{name} is missing"),
        });
        let all: Vec<_> = none.into_iter().chain(missing).collect();
        all.into_iter()
    }

    /// What is there and has another size than it should.
    fn damaged(&self) -> impl Iterator<Item = Shortfall> {
        self.files.iter().filter_map(|(name, &size)| {
            let noted = self.tree.get(name).copied();
            let should = noted.or_else(|| self.headers.get(name).copied())?;
            // What is empty is told as missing.
            if size == should || size == 0 {
                return None;
            }
            let text = if should == 0 {
                format!("{name} is no safetensors file")
            } else {
                format!("{name} has {size} of {should} bytes")
            };
            Some(Shortfall::of_file(name, text))
        })
    }
}

fn dangling(name: &str) -> Shortfall {
    Shortfall::of_file(name, format!("{name} points to a file that is not there"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shortfalls(answer: &str) -> Vec<String> {
        let declared = ModelDeclaration {
            repo: "o/m".into(),
            ..ModelDeclaration::default()
        };
        let facts = [(id(&declared), answer.to_owned())].into_iter().collect();
        let found = Cached::read(&declared, &facts).shortfalls(&declared);
        found.into_iter().map(|shortfall| shortfall.text).collect()
    }

    const WHOLE: &str = "repo\nrevision abc\npath /c/snapshots/abc\nfile 10 config.json\n";

    #[test]
    fn every_shard_that_the_index_names_must_be_there() {
        let with = |more: &str| shortfalls(&format!("{WHOLE}{more}"));
        assert_eq!(with("file 9 model.safetensors\n"), [""; 0]);
        assert_eq!(
            with("shard m-1.safetensors\nshard m-2.safetensors\nfile 9 m-1.safetensors\n"),
            ["m-2.safetensors is missing"]
        );
        assert_eq!(
            with("dangling m-1.safetensors\nshard m-1.safetensors\n"),
            ["m-1.safetensors points to a file that is not there"]
        );
        assert_eq!(with(""), ["it has no .safetensors file"]);
        assert_eq!(shortfalls(""), ["o/m is not in the cache"]);
        let begun = "incomplete blobs/0f.incomplete\n";
        assert_eq!(
            with(begun),
            [
                "it has no .safetensors file",
                "it was once begun to be fetched, and not ended"
            ]
        );
        assert_eq!(with(&format!("file 9 model.safetensors\n{begun}")), [""; 0]);
        assert_eq!(
            shortfalls("repo\nrevision \n"),
            ["the cache has no refs/main for it"]
        );
    }

    #[test]
    fn a_file_must_be_as_long_as_it_says() {
        let with = |more: &str| shortfalls(&format!("{WHOLE}file 172 m.safetensors\n{more}"));
        assert_eq!(with("header 100 64 m.safetensors\n"), [""; 0]);
        assert_eq!(
            with("header 100 128 m.safetensors\n"),
            ["m.safetensors has 172 of 236 bytes"]
        );
        assert_eq!(
            with("header 0 0 m.safetensors\n"),
            ["m.safetensors is no safetensors file"]
        );
    }

    #[test]
    fn what_the_hub_noted_of_the_commit_must_be_there() {
        let tree = r#"tree {"format_version": 1, "files": {"config.json": {"size": 10}, "a.bin": {"size": 5},
            "m.safetensors": {"size": 200}, "original/x.pth": {"size": 9}}}"#
            .replace('\n', " ");
        assert_eq!(
            shortfalls(&format!(
                "{WHOLE}file 172 m.safetensors\nheader 100 64 m.safetensors\n{tree}\n"
            )),
            ["a.bin is missing", "m.safetensors has 172 of 200 bytes"]
        );
    }
}
