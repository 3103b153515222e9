//! D3: a model that is to come has more bytes than its disk has left. What another node has of it is known; of one that
//! comes from the hub the name says how many parameters it has, and in how many bits.

use serde_json::json;

use super::Case;
use super::case::{Seen, gib};
use super::finding::{Check, Found, Severity};
use crate::plan::{Action, Change};
use crate::resource::instance::Server;
use crate::resource::machine::Bytes;
use crate::resource::model::{self, Cached, ModelDeclaration};

pub(super) const CHECK: Check = Check {
    id: "D3",
    name: "no room for a model",
    why: "It is fetched until the disk is full, and everything else that writes there fails with it.",
    reported: None,
    look,
};

/// In how many bits the names of quantised models say that their weights are; of 4 a scale comes with each group.
const QUANTISED: [(&str, f64); 9] = [
    ("nvfp4", 4.5),
    ("mxfp4", 4.5),
    ("fp4", 4.5),
    ("int4", 4.5),
    ("4bit", 4.5),
    ("awq", 4.5),
    ("gptq", 4.5),
    ("fp8", 8.0),
    ("int8", 8.0),
];

fn look(case: &Case<'_>) -> Vec<Found> {
    let of = |seen: &Seen<'_>| {
        let servers = case.servers(seen.name).into_iter();
        let mut found: Vec<Found> = servers
            .filter_map(|(_, server)| found(case, seen, server))
            .collect();
        // Two servers may have one model.
        found.dedup_by(|a, b| a.message == b.message);
        found
    };
    case.nodes.values().flat_map(of).collect()
}

fn found(case: &Case<'_>, seen: &Seen<'_>, server: &Server) -> Option<Found> {
    let declared = &server.runtime.vllm()?.model;
    let is_to_come = |change: &&Change| {
        change.address.kind == model::KIND
            && change.address.name.as_deref() == Some(server.model.as_str())
            && change.node.as_ref() == Some(seen.name)
            && matches!(change.action, Action::Create | Action::Update)
    };
    case.plan.changes.iter().find(is_to_come)?;
    let own = Cached::read(declared, seen.facts);
    let (whole, how) = size(case, declared)?;
    let lacks = Bytes(whole.0.saturating_sub(own.bytes().0));
    let free = own.free()?;
    (declared.path.is_none() && lacks > free).then(|| Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message: format!("{} takes {lacks} more ({how}), and its cache has {free} left", declared.repo),
        evidence: json!({"repo": declared.repo, "lacks_gib": gib(lacks), "free_gib": gib(free), "known": how}),
        hint: "free some (`hf cache scan`), or `cache:` of the model on a larger disk".to_owned(),
    })
}

/// How large a model is, and who says so.
fn size(case: &Case<'_>, declared: &ModelDeclaration) -> Option<(Bytes, String)> {
    let others = case.nodes.values();
    let known = others.map(|seen| (Cached::read(declared, seen.facts).bytes(), seen.name));
    let (most, node) = known.max_by_key(|(bytes, _)| *bytes)?;
    let named = by_name(&declared.repo).map(|bytes| (bytes, "by its name".to_owned()));
    // What lies there may be a part of it; what the name says is no more than a guess.
    match named {
        Some(named) if named.0.0 / 10 * 9 > most.0 => Some(named),
        _ => (most > Bytes(0)).then(|| (most, format!("as on {node}"))),
    }
}

/// How large its name says that it is: `…-70B-Instruct-FP8`.
fn by_name(repo: &str) -> Option<Bytes> {
    let name = repo.rsplit('/').next()?.to_lowercase();
    let mut parts = name.split(['-', '_']);
    let billions: f64 = parts.find_map(|part| part.strip_suffix('b')?.parse().ok())?;
    let quantised = QUANTISED.iter().find(|(sign, _)| name.contains(sign));
    let bits = quantised.map_or(16.0, |(_, bits)| *bits);
    Some(Bytes((billions * 1e9 * bits / 8.0) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_how_large_a_model_is() {
        let gb = |repo: &str| by_name(repo).map(|bytes| bytes.0 as f64 / 1e9);
        assert_eq!(gb("meta-llama/Llama-3.1-8B-Instruct"), Some(16.0));
        assert_eq!(gb("nvidia/Llama-3.3-70B-Instruct-FP8"), Some(70.0));
        assert_eq!(gb("nvidia/Qwen3-30B-A3B-NVFP4"), Some(16.875));
        assert_eq!(gb("Qwen/Qwen2.5-0.5B"), Some(1.0));
        for unknown in ["openai/gpt-oss", "a/b", "x/bb-2", ""] {
            assert_eq!(gb(unknown), None, "{unknown}");
        }
    }
}
