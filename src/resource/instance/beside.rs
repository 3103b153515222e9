//! Whether what the arguments of a server name is on its node: nothing is fetched while it serves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::argv::Arguments;
use super::named::{Named, Sort, is_path};
use super::{Instance, Server};
use crate::node::{quote, quote_path};
use crate::plan::{Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::environment::EnvValue;
use crate::resource::facts::{Fact, Facts};
use crate::resource::model::{Cached, ModelDeclaration, cache_of, folder_of};

/// By which the tools of the Hugging Face are kept from fetching.
const OFFLINE: &str = "HF_HUB_OFFLINE";

/// The files by which a folder is known to be what is named: one of them.
fn within(sort: Sort) -> &'static [&'static str] {
    match sort {
        Sort::Draft => &["config.json", "params.json"],
        Sort::Adapter => &["adapter_config.json"],
        Sort::Tokenizer | Sort::Template | Sort::File => &[],
    }
}

impl Server {
    /// Whether it is kept from fetching, as it is unless its environment says otherwise.
    pub fn is_offline(&self) -> bool {
        match self.env.get(OFFLINE) {
            Some(EnvValue::Plain(text)) => {
                let text = text.to_ascii_lowercase();
                ["1", "true", "yes", "on"].contains(&text.as_str())
            }
            _ => true,
        }
    }
}

impl Instance {
    /// What is named beside the models that the manifest declares.
    fn undeclared(&self) -> Vec<Named> {
        let Some(vllm) = self.server.runtime.vllm() else {
            return Vec::new();
        };
        let named = self.server.args.named().into_iter();
        let served = &self.server.model;
        named
            .filter(|it| vllm.declared(served, it).is_none())
            .collect()
    }

    /// Where all of that may be.
    pub(super) fn beside_fact(&self) -> Option<Fact> {
        let vllm = self.server.runtime.vllm()?;
        let named = self.undeclared();
        if named.is_empty() {
            return None;
        }
        let cache = ModelDeclaration::default().in_environment(&self.server.env);
        let mut script = format!(
            "r_cache={}\nr_venv={}\n{}",
            cache_of(&cache),
            quote_path(&vllm.engine.venv),
            include_str!("beside.sh")
        );
        for (number, named) in named.iter().enumerate() {
            // What is no path from the root is looked for where the server runs.
            let path = if is_path(&named.what) && !named.what.starts_with('.') {
                named.what.clone()
            } else {
                format!("{}/{}", self.managed.folder.run(), named.what)
            };
            let path = quote_path(&path);
            let _ = match named.sort {
                Sort::Template => {
                    writeln!(script, "r_template {number} {path} {}", quote(&named.what))
                }
                sort => writeln!(script, "r_file {number} {path} {}", within(sort).join(" ")),
            };
            if named.may_be_repository() {
                let folder = quote(&folder_of(&named.what));
                let _ = writeln!(script, "r_repository {number} {folder}");
            }
        }
        script.push_str("echo looked\n");
        Some(Fact::new(self.beside_id(&named), script))
    }

    fn beside_id(&self, named: &[Named]) -> String {
        let words = named.iter().map(|it| it.what.as_str());
        let words: Vec<_> = words.collect();
        format!("beside {} {words:?}", self.managed.address.local())
    }

    /// What of that is there, by its place among all; nothing where the node did not tell.
    fn beside(&self, named: &[Named], facts: &Facts) -> Option<BTreeMap<usize, String>> {
        let text = facts.get(&self.beside_id(named));
        let lines = || text.lines().map(|line| line.trim_end_matches('\r'));
        let found = lines().filter_map(|line| {
            let (number, path) = line.strip_prefix("there ")?.split_once(' ')?;
            Some((number.parse().ok()?, path.to_owned()))
        });
        lines()
            .any(|line| line == "looked")
            .then(|| found.collect())
    }

    /// Each thing that is named and is not there.
    pub(super) fn lacks_beside(&self, facts: &Facts) -> Vec<Reason> {
        let named = self.undeclared();
        let Some(there) = self.beside(&named, facts) else {
            return Vec::new();
        };
        let missing = named.iter().enumerate();
        let missing = missing.filter(|(number, _)| !there.contains_key(number));
        missing.filter_map(|(_, named)| self.lacks(named)).collect()
    }

    fn lacks(&self, named: &Named) -> Option<Reason> {
        let Named { argument, what, .. } = named;
        if !named.may_be_repository() {
            let within = within(named.sort).join(" or ");
            let within = match within.as_str() {
                "" => within,
                files => format!(", or has no {files}"),
            };
            let text = format!("`{argument}` names {what}, which is not on the node{within}");
            let hint = if is_path(what) && !what.starts_with('.') {
                "put it there, or correct the argument"
            } else {
                "write where it is: begin it with `~/` (the node's home) or with `/`"
            };
            return Some(Reason::new(ReasonCode::NoFile, text).hinted(hint));
        }
        if !self.server.is_offline() {
            return None;
        }
        let text = format!(
            "`{argument}` names {what}, which is not in the cache, and nothing is fetched while a server runs"
        );
        let hint = format!("declare it, {}", named.as_declared());
        Some(Reason::new(ReasonCode::NotCached, text).hinted(hint))
    }

    /// The arguments with the places of the models that they name: vLLM looks for nothing by a
    /// name that the manifest gave.
    pub(super) fn placed_arguments(&self, observed: &Observation) -> Arguments {
        let args = &self.server.args;
        let (Some(vllm), Some(facts)) =
            (self.server.runtime.vllm(), observed.of(&self.managed.node))
        else {
            return args.clone();
        };
        let undeclared = self.undeclared();
        let there = self.beside(&undeclared, facts).unwrap_or_default();
        args.with_models(&mut |named| {
            if let Some((_, declared)) = vllm.declared(&self.server.model, &named) {
                let path = Cached::read(declared, facts).path;
                return (!path.is_empty()).then_some(path);
            }
            // Inside of JSON nobody but this knows the node's home.
            let number = undeclared.iter().position(|it| *it == named)?;
            let path = there.get(&number)?;
            named.what.starts_with("~/").then(|| path.clone())
        })
    }
}
