//! What a manifest names, it declares.

use super::super::problem::Problem;
use super::super::suggest::{listed, nearest, shown};
use super::Checker;
use crate::resource::benchmark::{Objective, Way};
use crate::resource::engine::{Engine, InvalidEngine};

/// Every node, engine, model, backend and objective that is named is declared.
pub(super) fn names_are_declared(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, instance) in &seen.document.instances {
        let at = |key| ["instances", name.as_str(), key];
        out.extend(refers(seen, &at("node"), instance.node.as_str(), "node"));
        out.extend(refers(
            seen,
            &at("engine"),
            instance.engine.as_str(),
            "engine",
        ));
        match seen.engines.get(&instance.engine) {
            // A simulated engine serves any name; what an unknown one takes is unknown.
            Some(Ok(Engine::Simulated(_)) | Err(InvalidEngine::SimulatedWith(_))) | None => {}
            Some(Ok(Engine::Vllm(_)) | Err(_)) => {
                out.extend(refers(seen, &at("model"), instance.model.as_str(), "model"));
            }
        }
    }
    if let Some(proxy) = &seen.document.proxy {
        out.extend(refers(
            seen,
            &["proxy", "node"],
            proxy.node.as_str(),
            "node",
        ));
        for (index, backend) in proxy.backends.iter().flatten().enumerate() {
            let index = index.to_string();
            out.extend(refers(
                seen,
                &["proxy", "backends", &index],
                backend.as_str(),
                "instance",
            ));
        }
        for name in proxy.weights.keys() {
            let at = ["proxy", "weights", name.as_str()];
            out.extend(refers_by_key(seen, &at, name.as_str(), "instance"));
        }
    }
    for (name, benchmark) in &seen.document.benchmarks {
        if let Way::Instance(instance) = &benchmark.endpoint {
            let at = ["benchmarks", name.as_str(), "endpoint", "instance"];
            out.extend(refers(seen, &at, instance.as_str(), "instance"));
        }
        if let Some(Objective::Named(slo)) = &benchmark.slo {
            let at = ["benchmarks", name.as_str(), "slo"];
            out.extend(refers(seen, &at, slo.as_str(), "slo"));
        }
    }
    out
}

pub(super) fn refers(seen: &Checker<'_>, path: &[&str], name: &str, kind: &str) -> Option<Problem> {
    undeclared(seen, name, kind, |title| seen.report(path, title))
}

/// The same of a name that is a key.
fn refers_by_key(seen: &Checker<'_>, path: &[&str], name: &str, kind: &str) -> Option<Problem> {
    undeclared(seen, name, kind, |title| seen.report_key(path, title))
}

fn undeclared(
    seen: &Checker<'_>,
    name: &str,
    kind: &str,
    report: impl FnOnce(String) -> Option<Problem>,
) -> Option<Problem> {
    let kinds = format!("{kind}s");
    let declared = seen.names(&kinds);
    if declared.contains(&name) {
        return None;
    }
    let problem = report(format!("there is no {kind} `{}`", shown(name)))?;
    let problem = match nearest(name, declared.iter().copied()) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    };
    Some(if declared.is_empty() {
        problem.hint(format!("declare it under `{kinds}:`"))
    } else {
        problem.hint(format!("declared {kinds}: {}", listed(declared)))
    })
}
