//! What the arguments of a server name beside its model: other models, such as the draft of
//! speculative decoding and adapters, and files of its node.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::argv::Arguments;
use crate::resource::argument::Argument;

/// One thing that an argument names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The argument: `speculative_config.model`.
    pub argument: String,
    /// What it names, as it is written.
    pub what: String,
    /// What that is to be.
    pub sort: Sort,
}

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    /// A model that proposes tokens.
    Draft,
    /// Weights that are laid over those of the model.
    Adapter,
    /// A model whose tokenizer is taken.
    Tokenizer,
    /// A chat template: a file of the node, or one that comes with vLLM.
    Template,
    /// A file or a folder of the node.
    File,
}

/// The arguments that name a file or a folder, and nothing else.
const FILES: &[&str] = &[
    "allowed_local_media_path",
    "log_config_file",
    "reasoning_parser_plugin",
    "tool_parser_plugin",
];

/// Those that name one where they are the path of one, and something else elsewhere.
const FILES_BY_PATH: &[&str] = &["generation_config", "hf_config_path"];

/// The ways to speculate without a model.
const WITHOUT_A_DRAFT: [&str; 3] = ["ngram", "[ngram]", "suffix"];

const SPECULATIVE: &str = "speculative_config";
const DRAFT: &str = "speculative_config.model";
const METHOD: &str = "speculative_config.method";
const ADAPTERS: &str = "lora_modules";
const TOKENIZER: &str = "tokenizer";

/// Says what stands for a model that is named; nothing where that stays as it is written.
type Replace<'a> = &'a mut dyn FnMut(Named) -> Option<String>;

impl Arguments {
    /// Everything that they name.
    pub fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        self.with_models(&mut |named| {
            found.push(named);
            None
        });
        let all = self.iter();
        found.extend(all.filter_map(|(name, value)| match value {
            Argument::Text(text) => file(name, text),
            _ => None,
        }));
        found
    }

    /// The same with something else in the place of the models that they name.
    pub(super) fn with_models(&self, replace: Replace<'_>) -> Self {
        let speculates = |text: &str| !WITHOUT_A_DRAFT.contains(&text);
        let has_draft = self.text(METHOD).is_none_or(speculates);
        let all = self.iter().map(|(name, value)| {
            let value = match (name.as_str(), value) {
                (TOKENIZER, Argument::Text(text)) => model(Sort::Tokenizer, name, text, replace),
                (DRAFT, Argument::Text(text)) if has_draft && speculates(text) => {
                    model(Sort::Draft, name, text, replace)
                }
                (SPECULATIVE, value) => map(value).and_then(|map| draft(&map, replace)),
                (ADAPTERS, Argument::List(items)) => {
                    let items = items.iter();
                    let items = items.map(|it| adapter(it, replace).unwrap_or(it.clone()));
                    Some(Argument::List(items.collect()))
                }
                (ADAPTERS, value) => adapter(value, replace),
                _ => None,
            };
            value.map(|value| (name.clone(), value))
        });
        let replaced: BTreeMap<_, _> = all.flatten().collect();
        Self::new(self.all(), &replaced)
    }
}

/// A map, which may be written as JSON.
fn map(value: &Argument) -> Option<IndexMap<String, Argument>> {
    match value {
        Argument::Map(map) => Some(map.clone()),
        Argument::Text(text) => match serde_json::from_str(text).ok()? {
            Argument::Map(map) => Some(map),
            _ => None,
        },
        _ => None,
    }
}

fn model(sort: Sort, argument: &str, what: &str, replace: Replace<'_>) -> Option<Argument> {
    let named = Named {
        argument: argument.to_owned(),
        what: what.to_owned(),
        sort,
    };
    replace(named).map(Argument::Text)
}

fn draft(map: &IndexMap<String, Argument>, replace: Replace<'_>) -> Option<Argument> {
    let Argument::Text(what) = map.get("model")? else {
        return None;
    };
    let has_none = |text: &str| WITHOUT_A_DRAFT.contains(&text);
    if has_none(what) || matches!(map.get("method"), Some(Argument::Text(it)) if has_none(it)) {
        return None;
    }
    in_map(map, "model", model(Sort::Draft, DRAFT, what, replace)?)
}

/// `name=path`, or a map with both.
fn adapter(item: &Argument, replace: Replace<'_>) -> Option<Argument> {
    if let Argument::Text(text) = item
        && let Some((name, what)) = text.split_once('=')
        && !text.contains(',')
    {
        let Argument::Text(what) = model(Sort::Adapter, ADAPTERS, what, replace)? else {
            return None;
        };
        return Some(Argument::Text(format!("{name}={what}")));
    }
    let map = map(item)?;
    let Argument::Text(what) = map.get("path")? else {
        return None;
    };
    in_map(&map, "path", model(Sort::Adapter, ADAPTERS, what, replace)?)
}

fn in_map(map: &IndexMap<String, Argument>, key: &str, value: Argument) -> Option<Argument> {
    let mut map = map.clone();
    *map.get_mut(key)? = value;
    Some(Argument::Map(map))
}

fn file(name: &str, text: &str) -> Option<Named> {
    // A template may be written out where its file could be named.
    let is_template = name == "chat_template" && !text.contains(['{', '}', '\n']);
    let is_file = FILES.contains(&name) || (FILES_BY_PATH.contains(&name) && is_path(text));
    let sort = match (is_template, is_file) {
        (true, _) => Sort::Template,
        (_, true) => Sort::File,
        _ => return None,
    };
    Some(Named {
        argument: name.to_owned(),
        what: text.to_owned(),
        sort,
    })
}

/// Whether a text can be nothing but a path.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with(['/', '~', '.'])
}

impl Named {
    /// Whether it may be the name of a repository: `owner/name`, or a name alone as once was.
    pub fn may_be_repository(&self) -> bool {
        let is_model = matches!(self.sort, Sort::Draft | Sort::Adapter | Sort::Tokenizer);
        let is_part = |part: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            !part.is_empty() && part.chars().all(inner)
        };
        let mut parts = self.what.splitn(3, '/');
        is_model && !is_path(&self.what) && parts.clone().count() < 3 && parts.all(is_part)
    }

    /// How it would be declared, and named.
    pub fn as_declared(&self) -> String {
        let (name, named) = match self.sort {
            Sort::Draft => ("draft", "`speculative_config: {model: draft, ...}`"),
            Sort::Adapter => ("adapter", "`lora_modules: [name=adapter]`"),
            _ => ("tokens", "`tokenizer: tokens`"),
        };
        let what = &self.what;
        format!("`models: {{{name}: {{repo: {what}}}}}`, and name that: {named}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn args(args: Value) -> Arguments {
        let args: BTreeMap<_, _> = serde_json::from_value(args).unwrap();
        Arguments::new(&BTreeMap::new(), &args)
    }

    fn named(value: Value) -> String {
        let all = args(value).named().into_iter();
        let words = all.map(|it| format!("{:?} {} {}", it.sort, it.argument, it.what));
        words.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn models_and_files_are_found_however_they_are_written() {
        let draft = "Draft speculative_config.model o/d";
        assert_eq!(
            named(json!({"speculative-config": {"model": "o/d", "num_speculative_tokens": 3}})),
            draft
        );
        assert_eq!(
            named(json!({"speculative_config": r#"{"model": "o/d"}"#})),
            draft
        );
        assert_eq!(named(json!({"speculative_config.model": "o/d"})), draft);
        assert_eq!(
            named(
                json!({"lora_modules": ["a=/x", r#"{"name": "b", "path": "o/l"}"#, {"name": "c", "path": "~/y"}]})
            ),
            "Adapter lora_modules /x; Adapter lora_modules o/l; Adapter lora_modules ~/y"
        );
        assert_eq!(
            named(json!({"lora_modules": "a=b"})),
            "Adapter lora_modules b"
        );
        assert_eq!(
            named(
                json!({"tokenizer": "o/t", "chat_template": "x.jinja", "tool_parser_plugin": "k", "hf_config_path": "/c"})
            ),
            "Tokenizer tokenizer o/t; Template chat_template x.jinja; File hf_config_path /c; File tool_parser_plugin k"
        );
    }

    #[test]
    fn what_names_nothing_is_passed_over() {
        for value in [
            json!({"speculative_config": {"method": "ngram", "model": "o/d"}}),
            json!({"speculative_config": {"model": "[ngram]"}}),
            json!({"speculative_config.method": "suffix", "speculative_config.model": "x"}),
            json!({"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}}),
            json!({"speculative_config": "not json"}),
            json!({"lora_modules": ["a", 3, {"name": "a"}]}),
            json!({"chat_template": "{{ messages }}", "hf_config_path": "o/c", "generation_config": "vllm"}),
            json!({"tokenizer": 3, "max_model_len": 10}),
        ] {
            assert_eq!(named(value.clone()), "", "{value}");
        }
    }

    #[test]
    fn models_are_replaced_and_all_else_stays() {
        let args = args(json!({
            "lora_modules": ["a=lora", {"name": "b", "path": "lora"}, "c=o/other"],
            "speculative_config": r#"{"model": "draft", "num_speculative_tokens": 3}"#,
            "tokenizer": "draft",
            "seed": 1,
        }));
        let replaced = args.with_models(&mut |named| match named.what.as_str() {
            "lora" => Some("/l".to_owned()),
            "draft" => Some("/d".to_owned()),
            _ => None,
        });
        assert_eq!(
            replaced.words().join(" "),
            r#"--lora-modules a=/l {"name":"b","path":"/l"} c=o/other --seed 1 --speculative-config {"model":"/d","num_speculative_tokens":3} --tokenizer /d"#
        );
        assert_eq!(args.with_models(&mut |_| None), args);
    }

    #[test]
    fn a_repository_is_told_from_a_path() {
        let may_be = |what: &str| {
            let named = Named {
                argument: String::new(),
                what: what.to_owned(),
                sort: Sort::Draft,
            };
            named.may_be_repository()
        };
        assert!(may_be("o/d") && may_be("gpt2"));
        for path in ["/o/d", "~/d", "./d", "a/b/c", "o/", "o d/x"] {
            assert!(!may_be(path), "{path}");
        }
    }
}
