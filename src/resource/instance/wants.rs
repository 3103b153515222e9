//! What a server wants of the models that it names, as its arguments say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::named::{Named, Sort};
use super::{Server, VllmRuntime};
use crate::name::ModelName;
use crate::resource::model::{ConfigFormat, LoadFormat, ModelDeclaration, Wanted, Weights};

impl Server {
    /// What it wants of a model: nothing where it does not name it.
    pub fn wants(&self, model: &ModelName) -> Vec<Wanted> {
        let Some(vllm) = self.runtime.vllm() else {
            return Vec::new();
        };
        let main = (*model == self.model).then(|| Wanted::Weights(self.main_weights()));
        let named = self.args.named().into_iter();
        let beside = named.filter(|named| {
            let (name, _) = vllm.declared(&self.model, named).unzip();
            name == Some(model)
        });
        let beside = beside.filter_map(|named| self.wanted_beside(named.sort));
        main.into_iter().chain(beside).collect()
    }

    fn main_weights(&self) -> Weights {
        let word = |name| self.args.text(name);
        let load_format = word("load_format").map_or(LoadFormat::Auto, LoadFormat::of);
        let config_format = word("config_format").map_or(ConfigFormat::Auto, ConfigFormat::of);
        Weights {
            format: load_format,
            config: match word("hf_config_path") {
                // It is read from elsewhere.
                Some(_) => ConfigFormat::Other,
                None => config_format,
            },
            tokenizer: word("tokenizer").is_none() && !self.args.is_on("skip_tokenizer_init"),
            code: self.args.is_on("trust_remote_code"),
        }
    }

    fn wanted_beside(&self, sort: Sort) -> Option<Wanted> {
        let main = self.main_weights();
        Some(match sort {
            // It takes the tokenizer of what it proposes to.
            Sort::Draft => Wanted::Weights(Weights {
                config: ConfigFormat::Auto,
                tokenizer: false,
                ..main
            }),
            Sort::Tokenizer => Wanted::Weights(Weights {
                format: LoadFormat::Other,
                config: ConfigFormat::Other,
                tokenizer: true,
                code: main.code,
            }),
            Sort::Adapter => Wanted::Adapter,
            Sort::Template | Sort::File => return None,
        })
    }
}

impl VllmRuntime {
    /// All models that it has, the one that it serves first.
    pub fn models<'a>(
        &'a self,
        served: &'a ModelName,
    ) -> impl Iterator<Item = (&'a ModelName, &'a ModelDeclaration)> {
        let beside = self.beside.iter().filter(move |(name, _)| *name != served);
        let beside = beside.map(|(name, declared)| (name, declared.as_ref()));
        std::iter::once((served, self.model.as_ref())).chain(beside)
    }

    /// The declared model that an argument names: by its own name, or by that of its repository,
    /// where no other has the same.
    pub fn declared<'a>(
        &'a self,
        served: &'a ModelName,
        named: &Named,
    ) -> Option<(&'a ModelName, &'a ModelDeclaration)> {
        if !matches!(named.sort, Sort::Draft | Sort::Adapter | Sort::Tokenizer) {
            return None;
        }
        let by_name = self
            .models(served)
            .find(|(name, _)| name.as_str() == named.what);
        by_name.or_else(|| {
            let mut of_repo = self.models(served).filter(|(_, it)| it.repo == named.what);
            let first = of_repo.next()?;
            of_repo.next().is_none().then_some(first)
        })
    }

    /// The same with no more models than those that are named, of all that a manifest declares.
    pub(super) fn with_named(mut self, served: &ModelName, all: &[Named]) -> Self {
        let named: BTreeMap<ModelName, Arc<ModelDeclaration>> = {
            let found = all.iter().filter_map(|named| self.declared(served, named));
            let names = found.map(|(name, _)| name);
            let others = names.filter_map(|name| self.beside.get_key_value(name));
            others
                .map(|(name, it)| (name.clone(), Arc::clone(it)))
                .collect()
        };
        self.beside = named;
        self.beside.remove(served);
        self
    }
}
