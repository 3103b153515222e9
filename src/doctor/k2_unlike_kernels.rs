//! K2: servers that are declared alike chose other back ends. vLLM chooses by what it finds: a driver, a package, a
//! variable. The same model answered right with one kernel and nothing right with another
//! (flashinfer-ai/flashinfer#2723), and 50 tok/s with one were 180 to 196 with others (vllm-project/vllm#49476).

use std::collections::BTreeSet;

use serde_json::json;

use super::Case;
use super::finding::{Check, Found, Severity};
use super::kernels::chosen;
use crate::name::{InstanceName, NodeName};
use crate::resource::instance::Server;

pub(super) const CHECK: Check = Check {
    id: "K2",
    name: "servers that are alike compute otherwise",
    why: "One is faster than the other, or answers otherwise, and the machines are blamed for it.",
    reported: Some("https://github.com/vllm-project/vllm/issues/49476"),
    look,
};

/// A server that runs.
struct Running<'a> {
    node: &'a NodeName,
    name: &'a InstanceName,
    server: &'a Server,
    chosen: BTreeSet<&'a str>,
}

fn look(case: &Case<'_>) -> Vec<Found> {
    let mut running = Vec::new();
    for seen in case.nodes.values() {
        running.extend(case.up(seen).into_iter().map(|(name, server)| Running {
            chosen: chosen(seen.kernels.of(seen.name, name)),
            node: seen.name,
            name,
            server,
        }));
    }
    // One that says nothing may be of a version that does not.
    running.retain(|it| !it.chosen.is_empty());
    let mut others = Vec::new();
    for (index, one) in running.iter().enumerate() {
        let earlier = running[..index].iter();
        let mut unlike = earlier.filter(|it| is_alike(it.server, one.server));
        others.extend(unlike.next().and_then(|first| found(first, one)));
    }
    others
}

fn is_alike(one: &Server, other: &Server) -> bool {
    let of = |server: &Server| server.runtime.vllm().map(|it| it.engine.version.clone());
    (of(one), &one.model, &one.args, one.role) == (of(other), &other.model, &other.args, other.role)
}

fn found(one: &Running<'_>, other: &Running<'_>) -> Option<Found> {
    let only = |a: &Running<'_>, b: &Running<'_>| -> Vec<String> {
        let only = a.chosen.difference(&b.chosen);
        only.map(|it| (*it).to_owned()).collect()
    };
    let (of_one, of_other) = (only(one, other), only(other, one));
    if of_one.is_empty() && of_other.is_empty() {
        return None;
    }
    let words = |of: &[String]| {
        if of.is_empty() {
            "nothing of it".to_owned()
        } else {
            of.join(", ")
        }
    };
    Some(Found {
        severity: Severity::Warning,
        nodes: vec![one.node.clone(), other.node.clone()],
        message: format!(
            "`{}` chose {}, and `{}` chose {}",
            one.name,
            words(&of_one),
            other.name,
            words(&of_other)
        ),
        evidence: json!({one.name.as_str(): of_one, other.name.as_str(): of_other}),
        hint: "say it in `args` for both (`attention_backend`, `moe_backend`), and see N2 for what differs between them"
            .to_owned(),
    })
}
