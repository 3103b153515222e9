//! What a server wants of the models that it names, as its arguments say.

use super::{Runtime, Server, VllmRuntime};
use crate::name::ModelName;
use crate::resource::model::{ConfigFormat, LoadFormat, ModelDeclaration, Wanted, Weights};

impl Server {
    /// What it wants of a model: nothing where it does not name it.
    pub fn wants(&self, model: &ModelName) -> Vec<Wanted> {
        let Runtime::Vllm(_) = &self.runtime else {
            return Vec::new();
        };
        let main = (*model == self.model).then(|| Wanted::Weights(self.main_weights()));
        main.into_iter().collect()
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
}

impl VllmRuntime {
    /// All models that it has, the one that it serves first.
    pub fn models<'a>(
        &'a self,
        served: &'a ModelName,
    ) -> impl Iterator<Item = (&'a ModelName, &'a ModelDeclaration)> {
        std::iter::once((served, self.model.as_ref()))
    }
}
