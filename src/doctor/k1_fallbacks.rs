//! K1: vLLM computes with less than it could: weights of FP4 through Marlin, no CUDA graphs, PyTorch in the place of a
//! kernel, a variable that it does not know. It says so once, in the middle of its log, and serves.
//!
//! That a GPU `does not have native support for FP4` is not so on Blackwell: the line says which kernel was chosen
//! (vllm-project/vllm#56603, #44672), for want of one, or because the checkpoint has no FP4 activations.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use crate::name::InstanceName;
use crate::resource::instance::Server;

/// What a line says, what it means, and what to do.
const SIGNS: [Sign; 5] = [
    Sign {
        says: "native support for FP",
        severity: Severity::Warning,
        means: "its weights go through a weight-only kernel (Marlin)",
        hint: "args: {moe_backend: flashinfer_cutlass} where the checkpoint has FP4 activations; a W4A16 one knows no other \
               way",
    },
    Sign {
        says: "eager mode",
        severity: Severity::Warning,
        means: "it runs without CUDA graphs",
        hint: "leave `enforce_eager` out of `args`, and -O0 with it",
    },
    Sign {
        says: "Unknown vLLM environment variable",
        severity: Severity::Warning,
        means: "a variable of `env` does nothing",
        hint: "take it out of `env`: newer versions have an argument for it (`moe_backend`, `attention_backend`)",
    },
    Sign {
        says: "default MoE config",
        severity: Severity::Note,
        means: "its MoE kernel is not tuned for this GPU",
        hint: "VLLM_TUNED_CONFIG_FOLDER in `env`, with a file for this GPU; or a newer `vllm:`",
    },
    Sign {
        says: "all",
        severity: Severity::Note,
        means: "it does without something",
        hint: "what the line names into `packages` of the engine, if its speed matters",
    },
];

struct Sign {
    says: &'static str,
    severity: Severity,
    means: &'static str,
    hint: &'static str,
}

pub(super) const CHECK: Check = Check {
    id: "K1",
    name: "vLLM computes with less than it could",
    why: "It starts and serves all the same, at a part of its speed, and a comparison compares this.",
    reported: Some("https://github.com/vllm-project/vllm/pull/44672"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let of = |seen: &Seen<'_>| {
        let servers = case.up(seen).into_iter();
        servers
            .flat_map(|(name, server)| found(seen, name, server))
            .collect::<Vec<_>>()
    };
    case.nodes.values().flat_map(of).collect()
}

fn found(seen: &Seen<'_>, name: &InstanceName, server: &Server) -> Vec<Found> {
    // What somebody asked for is no fault.
    let is_eager = server
        .args
        .word("enforce_eager")
        .is_some_and(|it| it == "true");
    let said = seen.kernels.of(seen.name, name).iter();
    let worse = said.filter_map(|text| Some((text, sign(text)?)));
    worse
        .map(|(text, sign)| Found {
            severity: if is_eager && sign.says == "eager mode" {
                Severity::Note
            } else {
                sign.severity
            },
            nodes: vec![seen.name.clone()],
            message: format!("`{name}`: {}: {text}", sign.means),
            evidence: json!({"instance": name, "line": text}),
            hint: sign.hint.to_owned(),
        })
        .collect()
}

fn sign(text: &str) -> Option<&'static Sign> {
    let [signs @ .., other] = &SIGNS;
    let known = signs.iter().find(|sign| text.contains(sign.says));
    let lower = text.to_lowercase();
    let falls_back = ["falling back", "falls back", "fallback", "fall back"];
    known.or_else(|| {
        falls_back
            .iter()
            .any(|it| lower.contains(it))
            .then_some(other)
    })
}
