//! What a Hugging Face cache holds of a model.

use std::collections::BTreeMap;

use super::ModelDeclaration;
use crate::node::{quote, quote_path};
use crate::resource::contract::{Answers, Question};

/// One revision, as the cache holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cached {
    /// The commit: the declared one, else what `refs/main` says.
    pub revision: String,
    /// The folder of the snapshot on the node, absolute.
    pub path: String,
    files: BTreeMap<String, u64>,
    dangling: Vec<String>,
    shards: Vec<String>,
    has_repo: bool,
}

/// Returns the question that [`Cached`] is read from.
///
/// The cache's place follows the rules of `huggingface_hub`: `HF_HUB_CACHE`, then `HF_HOME`, then
/// `XDG_CACHE_HOME`. Files under `original/` are no part of what vLLM loads.
pub(super) fn question(declared: &ModelDeclaration) -> Question {
    let cache = declared.cache.as_deref().map_or_else(
        || {
            "\"${HF_HUB_CACHE:-${HUGGINGFACE_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}}\""
                .to_owned()
        },
        quote_path,
    );
    let repo = quote(&format!("models--{}", declared.repo.replace('/', "--")));
    let revision = quote(declared.revision.as_deref().unwrap_or_default());
    let script = format!(
        "cd {cache}/{repo} 2>/dev/null || exit 0\necho repo\nrevision={revision}\n\
         [ -n \"$revision\" ] || revision=$(cat refs/main 2>/dev/null)\necho \"revision $revision\"\n\
         [ -n \"$revision\" ] && cd \"snapshots/$revision\" 2>/dev/null || exit 0\n\
         echo \"path $(pwd -P)\"\n\
         find . -path ./original -prune -o -type l ! -exec test -e {{}} \\; -print | sed 's|^./|dangling |'\n\
         find -L . -path ./original -prune -o -type f -exec stat -L -c 'file %s %n' {{}} + | sed 's| \\./| |'\n\
         [ -f model.safetensors.index.json ] && tr ',{{' '\\n\\n' < model.safetensors.index.json |\n\
         \x20 sed -n 's/.*: *\"\\([^\"]*\\.safetensors\\)\".*/shard \\1/p' | sort -u\ntrue\n"
    );
    Question::new(id(declared), script)
}

fn id(declared: &ModelDeclaration) -> String {
    format!("model {declared:?}")
}

impl Cached {
    /// Reads the answer to the question.
    pub fn read(declared: &ModelDeclaration, answers: &Answers) -> Self {
        let mut cached = Self::default();
        for line in answers.to(&id(declared)).lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("repo", _) => cached.has_repo = true,
                ("revision", revision) => revision.clone_into(&mut cached.revision),
                ("path", path) => path.clone_into(&mut cached.path),
                ("dangling", name) => cached.dangling.push(name.to_owned()),
                ("shard", name) => cached.shards.push(name.to_owned()),
                ("file", rest) => {
                    if let Some((size, name)) = rest.split_once(' ')
                        && let Ok(size) = size.parse()
                    {
                        cached.files.insert(name.to_owned(), size);
                    }
                }
                _ => {}
            }
        }
        cached
    }

    /// Returns everything by which this falls short of a model that can be loaded, in words.
    pub(super) fn shortfalls(&self, declared: &ModelDeclaration) -> Vec<String> {
        if !self.has_repo {
            return vec![format!("{} is not in the cache", declared.repo)];
        }
        if self.path.is_empty() {
            return vec![match (&declared.revision, self.revision.as_str()) {
                (Some(revision), _) => format!("revision {revision} is not in the cache"),
                (None, "") => "the cache has no refs/main for it".to_owned(),
                (None, main) => {
                    format!("revision {main}, which refs/main names, is not in the cache")
                }
            }];
        }
        let mut shortfalls: Vec<_> = self
            .dangling
            .iter()
            .map(|name| format!("{name} points to a file that is not there"))
            .collect();
        let is_there = |name: &str| self.files.get(name).is_some_and(|&size| size > 0);
        let mut names = self.files.keys().chain(&self.dangling);
        if self.shards.is_empty() && !names.any(|name| name.ends_with(".safetensors")) {
            shortfalls.push("it has no .safetensors file".to_owned());
        }
        for name in std::iter::once("config.json").chain(self.shards.iter().map(String::as_str)) {
            if !is_there(name) && !self.dangling.iter().any(|dangling| dangling == name) {
                shortfalls.push(format!("{name} is missing"));
            }
        }
        shortfalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortfalls(answer: &str) -> Vec<String> {
        let declared = ModelDeclaration {
            repo: "o/m".into(),
            revision: None,
            cache: None,
        };
        let answers = [(id(&declared), answer.to_owned())].into_iter().collect();
        Cached::read(&declared, &answers).shortfalls(&declared)
    }

    #[test]
    fn every_shard_that_the_index_names_must_be_there() {
        let whole = "repo\nrevision abc\npath /c/snapshots/abc\nfile 10 config.json\n";
        assert_eq!(
            shortfalls(&format!("{whole}file 9 model.safetensors\n")),
            [""; 0]
        );
        assert_eq!(
            shortfalls(&format!(
                "{whole}shard m-1.safetensors\nshard m-2.safetensors\nfile 9 m-1.safetensors\n"
            )),
            ["m-2.safetensors is missing"]
        );
        assert_eq!(
            shortfalls(&format!(
                "{whole}dangling m-1.safetensors\nshard m-1.safetensors\n"
            )),
            ["m-1.safetensors points to a file that is not there"]
        );
        assert_eq!(shortfalls(whole), ["it has no .safetensors file"]);
        assert_eq!(shortfalls(""), ["o/m is not in the cache"]);
        assert_eq!(
            shortfalls("repo\nrevision \n"),
            ["the cache has no refs/main for it"]
        );
    }
}
