//! What the servers of a node want of a model: what vLLM loads of it depends on what it is told.

/// What one server wants of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// Weights with their configuration.
    Weights(Weights),
    /// An adapter beside such weights, as PEFT writes one.
    Adapter,
}

/// How weights are loaded, and what is wanted with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weights {
    /// Which files are looked for (`load_format`).
    pub format: LoadFormat,
    /// Which configuration is read (`config_format`).
    pub config: ConfigFormat,
    /// Whether it is asked for its tokenizer: a draft is not, nor one beside which another is named.
    pub tokenizer: bool,
    /// Whether the code that it brings is run (`trust_remote_code`).
    pub code: bool,
}

/// Which files of weights are looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoadFormat {
    /// Mistral's own, where there are such files, else the Hugging Face's.
    #[default]
    Auto,
    /// `*.safetensors`, else `*.bin`, else `*.pt`.
    HuggingFace,
    /// `*.safetensors`, else `*.pt`.
    Safetensors,
    /// `consolidated*.safetensors`, else `*.pt`.
    Mistral,
    /// `*.pt`.
    Pt,
    /// `*.bin`, else `*.pt`.
    NumpyCache,
    /// None, or some of which nothing is claimed here.
    Other,
}

/// Which configuration is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigFormat {
    /// `params.json` where it is there, else `config.json`.
    #[default]
    Auto,
    /// `config.json`.
    HuggingFace,
    /// `params.json`.
    Mistral,
    /// One of which nothing is claimed here.
    Other,
}

impl Weights {
    /// Those of a model that is served as it comes.
    pub fn served() -> Self {
        Self {
            tokenizer: true,
            ..Self::default()
        }
    }
}

impl LoadFormat {
    /// What vLLM 0.13 makes of a word.
    pub fn of(word: &str) -> Self {
        match word {
            "auto" => Self::Auto,
            // The loader of bitsandbytes looks for the same files in the same order.
            "hf" | "bitsandbytes" => Self::HuggingFace,
            "safetensors" | "fastsafetensors" => Self::Safetensors,
            "mistral" => Self::Mistral,
            "pt" => Self::Pt,
            "npcache" => Self::NumpyCache,
            _ => Self::Other,
        }
    }
}

impl ConfigFormat {
    /// What vLLM 0.13 makes of a word.
    pub fn of(word: &str) -> Self {
        match word {
            "auto" => Self::Auto,
            "hf" => Self::HuggingFace,
            "mistral" => Self::Mistral,
            _ => Self::Other,
        }
    }
}
