//! What a server finds on its node beside the model: the files of its virtual environment and of a
//! CUDA toolkit. No Python is started for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Instance;
use super::known::Known;
use crate::node::quote_path;
use crate::resource::engine::VllmEngine;
use crate::resource::environment::EnvValue;
use crate::resource::facts::{Fact, Facts};

/// Types of models that every transformers and every vLLM knows.
const LANDMARKS: [&str; 4] = ["bert", "gpt2", "llama", "mlp_speculator"];

/// Where a CUDA toolkit is when nobody says otherwise.
const CUDA: &str = "/usr/local/cuda";

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// The toolkit's assembler.
    pub(super) ptxas: Option<String>,
    /// The folder of NIXL's CUDA transports, where NIXL does not find them by itself.
    pub(super) transports: Option<String>,
    /// The Python of the virtual environment, and whether its headers are there: `python3.12`.
    pub(super) python: Option<(String, bool)>,
    /// The version of the vLLM that is installed, without its build variant.
    pub(super) vllm: Option<String>,
    /// The arguments that this vLLM knows, where its files could be made sense of.
    pub(super) known: Option<Known>,
    /// The types of models that it and its transformers know without code of others, where their
    /// files could be made sense of.
    pub(super) types: BTreeSet<String>,
}

impl Toolchain {
    fn take(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "ptxas" => self.ptxas = Some(rest.to_owned()),
            "transports" => self.transports = Some(rest.to_owned()),
            "headers" | "headerless" => self.python = Some((rest.to_owned(), word == "headers")),
            "vllm" => self.vllm = Some(rest.to_owned()),
            "flags" => self.known = Known::read(rest),
            "types" => self.types = types(rest),
            _ => {}
        }
    }
}

/// A list of types is one where it has those that every version has.
fn types(words: &str) -> BTreeSet<String> {
    let types: BTreeSet<_> = words.split_whitespace().map(str::to_owned).collect();
    let is_whole = LANDMARKS.iter().all(|it| types.contains(*it));
    if is_whole { types } else { BTreeSet::new() }
}

impl Instance {
    pub(super) fn toolchain_fact(&self, engine: &VllmEngine) -> Fact {
        let mut script = String::new();
        for (name, path) in [("venv", engine.venv.as_str()), ("cuda", self.cuda())] {
            let _ = writeln!(script, "{name}={}", quote_path(path));
        }
        script.push_str(include_str!("toolchain.sh"));
        Fact::new(self.toolchain_id(engine), script)
    }

    /// Reads the fact.
    pub(super) fn toolchain(&self, engine: &VllmEngine, facts: &Facts) -> Toolchain {
        let mut toolchain = Toolchain::default();
        for line in facts.get(&self.toolchain_id(engine)).lines() {
            toolchain.take(line.trim_end());
        }
        toolchain
    }

    fn toolchain_id(&self, engine: &VllmEngine) -> String {
        format!("toolchain {} {}", engine.venv, self.cuda())
    }

    /// The folder of the toolkit: the one that its environment names.
    fn cuda(&self) -> &str {
        match self.server.env.get("CUDA_HOME") {
            Some(EnvValue::Plain(path)) if !path.is_empty() => path,
            _ => CUDA,
        }
    }
}
