//! The reference of all keys, in Markdown, by the schema.

use std::fmt::Write as _;

use serde_json::Value;

use super::explain::{Explanation, explain_all};

const HEAD: &str = "\
# Every key of a manifest

`cargo bless` writes this page of the types that a manifest is read into; `replica explain KEY` says more of each, with
examples. `NAME` is a name of your own, or a place in a list. What stands in bold has to be there.
";

/// The reference as `replica explain --all` prints it and `schemas/KEYS.md` keeps it: a table for each key of the
/// top level.
pub fn reference_text() -> String {
    let mut text = HEAD.to_owned();
    for explanation in &explain_all() {
        if explanation.path.contains('.') {
            text.push_str(&row(explanation));
        } else {
            text.push_str(&section(explanation));
        }
    }
    text
}

/// What begins with a key of the top level.
fn section(explanation: &Explanation) -> String {
    let Explanation { path, takes, .. } = explanation;
    let required = if explanation.required {
        ", has to be there"
    } else {
        ""
    };
    let about = explanation.about.join(" ");
    let mut text = format!("\n## `{path}`\n\n{about} ({takes}{required})\n");
    if !explanation.keys.is_empty() {
        text.push_str("\n| key | takes | without it | what it is |\n|---|---|---|---|\n");
    }
    text
}

fn row(explanation: &Explanation) -> String {
    let key = format!("`{}`", explanation.path);
    let key = if explanation.required {
        format!("**{key}**")
    } else {
        key
    };
    let default = explanation.default.as_ref().map(written);
    let mut row = String::from("|");
    for cell in [
        key,
        cell(&explanation.takes),
        default.map(|it| cell(&it)).unwrap_or_default(),
        cell(&explanation.about.join(" ")),
    ] {
        let _ = write!(row, " {cell} |");
    }
    row.replace("|  |", "| |") + "\n"
}

fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A text that stays in its cell, as it is.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|").replace('<', "&lt;");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_four_cells() {
        let text = reference_text();
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let mut count = 0;
        for row in rows {
            let walls = row.replace("\\|", "").matches('|').count();
            assert_eq!(walls, 5, "{row}");
            count += 1;
        }
        assert!(count > 100, "{count}");
    }

    #[test]
    fn a_key_says_what_it_takes_and_what_holds_without_it() {
        let text = reference_text();
        for line in [
            "| **`nodes.NAME.ssh`** | ",
            "| **`instances.NAME.port`** | integer from 1 to 65535 | |",
            "| `instances.NAME.ready_timeout` | ",
            "\n## `benchmarks`\n",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        assert_eq!(cell("a | b\n<c>"), "a \\| b &lt;c>");
    }
}
