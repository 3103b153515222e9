//! What an installation would find on its node: what installs, and room.

use super::VllmEngine;
use super::declared::Installer;
use crate::node::quote_path;
use crate::plan::{Reason, ReasonCode};
use crate::resource::facts::{Fact, Facts};
use crate::resource::machine::Bytes;

/// Less than vLLM takes with its torch, be they for CPUs alone.
const LEAST: Bytes = Bytes(3 << 30);

/// What vLLM 0.13 takes with a torch for CUDA: 7.6 GB were seen on a disk, 4 GB of them fetched.
const USUAL: Bytes = Bytes(8 << 30);

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tools {
    has_uv: bool,
    has_python: bool,
    free: Option<Bytes>,
}

pub(super) fn fact(engine: &VllmEngine) -> Fact {
    let venv = quote_path(engine.venv.trim_end_matches('/'));
    let script = format!("r_venv={venv}\n{}", include_str!("tools.sh"));
    Fact::new(id(engine), script)
}

fn id(engine: &VllmEngine) -> String {
    format!("tools for {}", engine.venv)
}

impl Tools {
    /// Reads the fact; nothing where it was not learnt.
    pub(super) fn read(engine: &VllmEngine, facts: &Facts) -> Option<Self> {
        let mut tools = Self::default();
        for line in facts.get(&id(engine)).lines() {
            match line.trim_end().split_once(' ') {
                Some(("free", kib)) => tools.free = kib.parse().ok().map(Bytes::kib),
                _ if line.trim_end() == "uv" => tools.has_uv = true,
                _ if line.trim_end() == "python3" => tools.has_python = true,
                _ => {}
            }
        }
        tools.free.is_some().then_some(tools)
    }

    /// Why nothing can be installed there.
    pub(super) fn lacking(&self, engine: &VllmEngine) -> Option<Reason> {
        let wants_uv = engine.needed_installer() == Installer::Uv;
        let (text, hint) = if wants_uv && !self.has_uv {
            (
                "it is to be installed by uv, which is not on the node",
                "put uv there, as by `python3 -m pip install --user uv`",
            )
        } else if !self.has_uv && !self.has_python {
            (
                "there is neither uv nor python3 on the node to install it with",
                "install python3 with its venv module there, or uv",
            )
        } else {
            return None;
        };
        Some(Reason::new(ReasonCode::NoInstaller, text).hinted(hint))
    }

    /// Why there may be no room for a whole environment.
    pub(super) fn full(&self, engine: &VllmEngine) -> Option<Reason> {
        let free = self.free.filter(|free| *free < LEAST)?;
        let text = format!("its disk has {free} left for {}", engine.venv);
        let hint = format!("free some: vLLM takes some {USUAL} with its torch");
        Some(Reason::new(ReasonCode::DiskFull, text).hinted(hint))
    }

    /// What a whole installation comes to, for whoever is asked to wait for it.
    pub(super) fn forecast(&self, engine: &VllmEngine) -> String {
        let by_uv = self.has_uv && engine.needed_installer() != Installer::Pip;
        let by = if by_uv { "uv" } else { "pip" };
        let free = self.free.map(|free| format!(", and {free} are free"));
        let free = free.unwrap_or_default();
        format!("{by} makes it, which takes some {USUAL}{free}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Engine, EngineDeclaration};
    use super::*;

    fn engine(more: &str) -> VllmEngine {
        let text = format!("{{venv: ~/v, vllm: 0.13.0{more}}}");
        let declared: EngineDeclaration = serde_yaml::from_str(&text).unwrap();
        match Engine::new(&"e".parse().unwrap(), &declared) {
            Ok(Engine::Vllm(engine)) => (*engine).clone(),
            other => panic!("no vLLM: {other:?}"),
        }
    }

    fn tools(engine: &VllmEngine, answer: &str) -> Tools {
        let facts = [(id(engine), answer.to_owned())].into_iter().collect();
        Tools::read(engine, &facts).unwrap()
    }

    #[test]
    fn what_installs_must_be_there() {
        let lacks = |more, answer| {
            let engine = engine(more);
            tools(&engine, answer).lacking(&engine).is_some()
        };
        assert!(!lacks("", "python3\nfree 1\n"));
        assert!(!lacks(", installer: uv", "uv\nfree 1\n"));
        assert!(lacks(", installer: uv", "python3\nfree 1\n"));
        assert!(lacks(", packages_before: 2025-12-25", "python3\nfree 1\n"));
        assert!(lacks("", "free 1\n"));
    }

    #[test]
    fn too_little_room_is_told() {
        let engine = engine("");
        let kib = |gib: u64| format!("uv\nfree {}\n", gib << 20);
        assert!(tools(&engine, &kib(2)).full(&engine).is_some());
        assert_eq!(tools(&engine, &kib(4)).full(&engine), None);
    }

    #[test]
    fn the_script_looks_at_the_disk_of_what_is_not_there_yet() {
        let script = fact(&engine("")).question;
        let crate::resource::facts::Question::Script(script) = script else {
            panic!("it is asked by a script");
        };
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(tools(&engine(""), &text).free > Some(Bytes(0)), "{text}");
    }
}
