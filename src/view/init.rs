//! What a first manifest was written of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::style::Style;
use super::words::{clean, list};
use crate::node::quote;

/// What came of `init`; serialised, it is the document of `init --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The manifest; none where nothing was written.
    pub file: Option<PathBuf>,
    /// The schema beside it, which its first line names for editors.
    pub schema: Option<PathBuf>,
    /// Its nodes; none where all of it is simulated on this machine.
    pub nodes: Vec<String>,
    /// The hosts that were looked at and are not in it, each with why.
    pub left_out: BTreeMap<String, String>,
    /// What its reader should know before using it.
    pub remarks: Vec<String>,
}

/// Renders what was written, and what comes next.
pub fn render(written: &Written, style: Style) -> String {
    let Some(file) = &written.file else {
        return String::new();
    };
    let file = file.display().to_string();
    let nodes: Vec<_> = written.nodes.iter().map(|node| clean(node)).collect();
    let of = match &nodes[..] {
        [] => String::new(),
        nodes => format!(", by what {} said", list(nodes)),
    };
    // Without a name, every command takes the one of the folder.
    let named = match file.as_str() {
        "topology.yaml" => String::new(),
        file => format!(" {}", quote(file)),
    };
    let mut lines = style.hang(&format!("{} is written{of}.", clean(&file)), 2);
    lines.push(format!("Look it over, then: replica plan{}", clean(&named)));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_and_what_comes_next_is_said() {
        let written = |file: &str, nodes: &[&str]| Written {
            file: Some(file.into()),
            nodes: nodes.iter().map(|it| (*it).to_owned()).collect(),
            ..Written::default()
        };
        insta::assert_snapshot!(render(&written("topology.yaml", &["a", "b"]), Style::plain()), @r"
        topology.yaml is written, by what a and b said.
        Look it over, then: replica plan
        ");
        insta::assert_snapshot!(render(&written("own.yaml", &[]), Style::plain()), @r"
        own.yaml is written.
        Look it over, then: replica plan own.yaml
        ");
        assert_eq!(render(&Written::default(), Style::plain()), "");
    }
}
