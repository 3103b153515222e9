//! What is good and odd: a thing that is declared and that nothing names.

use serde::Serialize;

use super::document::Document;
use super::marks::{Found, Marks, find};
use super::problem::line_and_column;
use super::tree::Node;

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

/// What is to be said of a document without mistakes.
pub(super) fn remarks(document: &Document, root: &Node, marks: &Marks, text: &str) -> Vec<Remark> {
    let (instances, proxy) = (&document.instances, &document.proxy);
    let engines = document.engines.keys().filter(|name| {
        let mut named = instances.values().map(|it| &it.engine);
        !named.any(|it| it == *name)
    });
    let models = document.models.keys().filter(|name| {
        let mut named = instances.values().map(|it| &it.model);
        !named.any(|it| it == *name)
    });
    let nodes = document.nodes.keys().filter(|name| {
        let named = instances.values().map(|it| &it.node);
        let mut named = named.chain(proxy.iter().map(|it| &it.node));
        !named.any(|it| it == *name)
    });
    let unused = |kind: &'static str, name: &str| {
        let message = format!("no instance has the {kind} `{name}`");
        (Severity::Warning, kind, name.to_owned(), message)
    };
    let engines = engines.map(|name| unused("engine", name.as_str()));
    let models = models.map(|name| unused("model", name.as_str()));
    // It may be declared on purpose: so that what ran there is found, and comes to its end.
    let nodes = nodes.map(|name| {
        let message = format!("nothing is declared to run on the node `{name}`");
        (Severity::Note, "node", name.to_string(), message)
    });
    let all = engines.chain(models).chain(nodes);
    let mut all: Vec<Remark> = all
        .map(|(severity, kind, name, message)| {
            let place = match find(root, marks, &[&format!("{kind}s"), &name]) {
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
    all
}

#[cfg(test)]
mod tests {
    use crate::manifest::file::understand;

    #[test]
    fn what_nothing_names_is_remarked_on() {
        let said = |text: &str| {
            let understood = understand("t.yaml", text.as_bytes(), None).unwrap();
            let remarks = understood.remarks.into_iter();
            let lines = remarks.map(|it| format!("{}:{} {}", it.line, it.column, it.message));
            lines.collect::<Vec<_>>().join("\n")
        };
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
