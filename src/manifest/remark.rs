//! What is good and odd: a thing that is declared and that nothing names, and one that is named and
//! that nothing declares, where that may be meant.

use serde::Serialize;

use super::document::Document;
use super::marks::{Found, Marks, find};
use super::problem::line_and_column;
use super::suggest::{nearest, shown};
use super::tree::Node;
use crate::name::ModelName;
use crate::resource::Topology;
use crate::resource::instance::Named;

/// How much a remark is to be heeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It may be meant.
    Note,
    /// Most likely something else was meant.
    Warning,
}

/// Something that its writer may not have meant. It keeps no command from its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// How much it is to be heeded.
    pub severity: Severity,
    /// What is odd, in one line.
    pub message: String,
    /// The line of the manifest, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// What is said, of what a path leads to.
type Said = (Severity, Vec<String>, String);

/// What is to be said of a document without mistakes, which means this topology.
pub(super) fn remarks(
    document: &Document,
    topology: &Topology,
    root: &Node,
    marks: &Marks,
    text: &str,
) -> Vec<Remark> {
    let all = unused(document, topology);
    let all = all.into_iter().chain(undeclared(document, topology));
    let all = all.chain(trusted_by_some(document));
    let mut all: Vec<Remark> = all
        .map(|(severity, path, message)| {
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            let place = match find(root, marks, &path) {
                Found::Value { key, place } => key.unwrap_or(place),
                Found::Absent(place) => place,
                Found::Reported => 0..0,
            };
            let (line, column) = line_and_column(text, place.start);
            Remark {
                severity,
                message,
                line,
                column,
            }
        })
        .collect();
    all.sort_by_key(|remark| (remark.line, remark.column));
    all.dedup();
    all
}

/// What is declared and not used.
fn unused(document: &Document, topology: &Topology) -> Vec<Said> {
    let (instances, proxy) = (&document.instances, &document.proxy);
    let engines = document.engines.keys().filter(|name| {
        let mut named = instances.values().map(|it| &it.engine);
        !named.any(|it| it == *name)
    });
    let models = document.models.keys().filter(|name| {
        let mut named = instances.values().map(|it| &it.model);
        let mut servers = topology.instances.values();
        let is_beside = servers.any(|server| !server.wants(name).is_empty());
        !named.any(|it| it == *name) && !is_beside
    });
    let nodes = document.nodes.keys().filter(|name| {
        let named = instances.values().map(|it| &it.node);
        let mut named = named.chain(proxy.iter().map(|it| &it.node));
        !named.any(|it| it == *name)
    });
    let unused = |kind: &'static str, name: &str| {
        let message = format!("no instance has the {kind} `{name}`");
        (
            Severity::Warning,
            vec![format!("{kind}s"), name.to_owned()],
            message,
        )
    };
    let engines = engines.map(|name| unused("engine", name.as_str()));
    let models = models.map(|name| unused("model", name.as_str()));
    // It may be declared on purpose: so that what ran there is found, and comes to its end.
    let nodes = nodes.map(|name| {
        let message = format!("nothing is declared to run on the node `{name}`");
        (
            Severity::Note,
            vec!["nodes".to_owned(), name.to_string()],
            message,
        )
    });
    engines.chain(models).chain(nodes).collect()
}

/// The repositories that arguments name and that nobody fetches. They may be in the cache.
fn undeclared(document: &Document, topology: &Topology) -> Vec<Said> {
    let mut said = Vec::new();
    for (name, server) in &topology.instances {
        let Some(vllm) = server.runtime.vllm() else {
            continue;
        };
        if !server.is_offline() {
            continue;
        }
        let named = server.args.named().into_iter();
        let unknown =
            named.filter(|it| it.may_be_repository() && vllm.declared(&server.model, it).is_none());
        said.extend(unknown.map(|named| {
            let path = path_of(document, name.as_str(), &named.argument);
            (Severity::Warning, path, undeclared_words(document, &named))
        }));
    }
    said
}

/// The networks that some nodes trust and others do not: between those, models are encrypted.
fn trusted_by_some(document: &Document) -> Vec<Said> {
    let nodes = || document.nodes.iter();
    let of_all = nodes().flat_map(|(name, node)| {
        let trusted = node.addresses.iter().filter(|(_, it)| it.is_trusted);
        trusted.map(move |(network, _)| (name, network))
    });
    let said = of_all.filter_map(|(name, network)| {
        let (other, _) = nodes().find(|(_, node)| {
            let address = node.addresses.get(network);
            address.is_some_and(|it| !it.is_trusted)
        })?;
        let message = format!(
            "`{}` is trusted here and not by the node `{other}`: what is copied between the two is encrypted",
            shown(network)
        );
        let path = ["nodes", name.as_str(), "addresses", network, "trusted"];
        Some((Severity::Note, path.map(str::to_owned).to_vec(), message))
    });
    said.collect()
}

fn undeclared_words(document: &Document, named: &Named) -> String {
    let Named { argument, what, .. } = named;
    let known = document.models.keys().map(ModelName::as_str);
    let advice = match nearest(what, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("declare it, {}", named.as_declared()),
    };
    format!(
        "`{argument}` names `{}`, which is not declared, and nothing is fetched while a server runs: {advice}",
        shown(what)
    )
}

/// Where an argument of an instance is written: there, or with its engine.
fn path_of(document: &Document, instance: &str, argument: &str) -> Vec<String> {
    let flag = argument.split('.').next().unwrap_or_default();
    let is_it = |written: &&String| {
        let plain = written.replace('-', "_");
        plain == argument || plain == flag
    };
    let mut instances = document.instances.iter();
    let found = instances.find(|(name, _)| name.as_str() == instance);
    let own = found.and_then(|(_, it)| it.args.keys().find(is_it));
    let engine = found
        .map(|(_, it)| it.engine.to_string())
        .unwrap_or_default();
    let mut engines = document.engines.iter();
    let of_engine = engines.find(|(name, _)| name.as_str() == engine);
    let of_engine = of_engine.and_then(|(_, it)| it.args.keys().find(is_it));
    let words = match (own, of_engine) {
        (Some(own), _) => ["instances", instance, "args", own],
        (None, Some(written)) => ["engines", &engine, "args", written],
        (None, None) => ["instances", instance, "args", flag],
    };
    words.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use crate::manifest::file::understand;
    use crate::manifest::variables::Variables;

    fn said(text: &str) -> String {
        let understood =
            understand("t.yaml", text.as_bytes(), None, &Variables::default()).unwrap();
        let remarks = understood.remarks.into_iter();
        let lines = remarks.map(|it| format!("{}:{} {}", it.line, it.column, it.message));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_repository_that_nobody_declares_is_remarked_on_where_it_is_named() {
        let text = "topology: t
nodes: {here: {ssh: local}}
engines:
  v:
    venv: ~/v
    vllm: 0.13.0
    args:
      speculative-config: {model: o/d, num_speculative_tokens: 3}
models:
  m: {repo: o/m}
  lora: {repo: o/l}
instances:
  a: {node: here, port: 8100, engine: v, model: m, args: {lora_modules: [x=lora, y=loras, z=o/l, u=/u]}}
  b: {node: here, port: 8101, engine: v, model: m}
";
        insta::assert_snapshot!(said(text), @"
        8:7 `speculative_config.model` names `o/d`, which is not declared, and nothing is fetched while a server runs: declare it, `models: {draft: {repo: o/d}}`, and name that: `speculative_config: {model: draft, ...}`
        13:59 `lora_modules` names `loras`, which is not declared, and nothing is fetched while a server runs: did you mean `lora`?
        ");
        let declared = text.replace("o/l}", "o/d}").replace("y=loras, z=o/l, ", "");
        assert_eq!(said(&declared), "");
        let online = text.replace("    args:\n", "    env: {HF_HUB_OFFLINE: 0}\n    args:\n");
        assert_eq!(said(&online), "");
        let unused = text.replace("x=lora, ", "").replace(", z=o/l", "");
        assert!(said(&unused).contains("no instance has the model `lora`"));
    }

    #[test]
    fn a_network_that_one_end_alone_trusts_is_remarked_on() {
        let text = "topology: t
nodes:
  here: {ssh: me@here, addresses: {lan: 10.0.0.1, fabric: {address: 10.1.0.1, trusted: true}}}
  there: {ssh: me@there, addresses: {lan: 10.0.0.2, fabric: 10.1.0.2}}
engines: {v: {venv: ~/v, vllm: 0.13.0}}
models: {m: {repo: o/m}}
instances:
  a: {node: here, port: 8100, engine: v, model: m}
  b: {node: there, port: 8100, engine: v, model: m}
";
        insta::assert_snapshot!(said(text), @"3:79 `fabric` is trusted here and not by the node `there`: what is copied between the two is encrypted");
        let both = text.replace(
            "fabric: 10.1.0.2",
            "fabric: {address: 10.1.0.2, trusted: true}",
        );
        assert_eq!(said(&both), "");
    }

    #[test]
    fn what_nothing_names_is_remarked_on() {
        let text = "topology: t
nodes:
  here: {ssh: me@here, addresses: {lan: 10.0.0.1}}
  spare: {ssh: me@spare}
  front: {ssh: me@front, addresses: {lan: 10.0.0.2}}
engines:
  demo: {simulate: {profile: fast}}
  old: {simulate: {profile: fast}}
models:
  llama: {repo: meta-llama/Llama-3.1-8B, revision: 0e9e39f249a16976918f6564b8830bc894c89659}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
";
        insta::assert_snapshot!(said(text), @"
        4:3 nothing is declared to run on the node `spare`
        5:3 nothing is declared to run on the node `front`
        8:3 no instance has the engine `old`
        10:3 no instance has the model `llama`
        ");
        let used = text
            .replace("engine: demo", "engine: old")
            .replace("model: demo", "model: llama");
        insta::assert_snapshot!(said(&used), @"
        4:3 nothing is declared to run on the node `spare`
        5:3 nothing is declared to run on the node `front`
        7:3 no instance has the engine `demo`
        ");
        let proxy = "proxy: {node: front, port: 8192, policy: round_robin}\n";
        let with_proxy = said(&(text.to_owned() + proxy));
        assert!(!with_proxy.contains("front"), "{with_proxy}");
    }
}
