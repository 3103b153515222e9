//! What was written anew, and what would be.

use std::fmt::Write as _;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::style::{Role, Style};
use super::words::clean;
use crate::manifest::Formatted;
use crate::plan::Action;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// The document of `fmt --json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct FmtDocument {
    format: &'static str,
    files: Vec<FmtFile>,
}

/// One file, and what came of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FmtFile {
    /// What its reader calls it.
    pub file: String,
    /// Whether it is written otherwise than it would be.
    pub differs: bool,
    /// Whether it was written anew.
    pub written: bool,
    /// Why it is left as it is, where it cannot be said how it would be written.
    pub left: Option<String>,
}

impl FmtDocument {
    /// The document of these files.
    pub fn new(files: Vec<FmtFile>) -> Self {
        Self {
            format: "replica.fmt/1",
            files,
        }
    }
}

/// The files that are written otherwise than they would be, a line each.
pub fn render(files: &[FmtFile]) -> String {
    let differ = files.iter().filter(|it| it.differs);
    differ.map(|it| clean(&it.file) + "\n").collect()
}

/// What would be written otherwise, as a diff that `patch` reads; nothing where nothing would be.
pub fn diff(formatted: &Formatted, style: Style) -> String {
    let diff = TextDiff::from_lines(&formatted.before, &formatted.after);
    let mut unified = diff.unified_diff();
    unified.context_radius(CONTEXT);
    let name = clean(&formatted.name);
    let mut text = String::new();
    for hunk in unified.iter_hunks() {
        if text.is_empty() {
            text = format!("--- {name}\n+++ {name}\n");
        }
        let _ = writeln!(text, "{}", hunk.header());
        for change in hunk.iter_changes() {
            let line = clean(change.value().trim_end_matches('\n'));
            let paint =
                |action, sign: char| style.paint(Role::Action(action), &format!("{sign}{line}"));
            let shown = match change.tag() {
                ChangeTag::Equal => format!(" {line}"),
                ChangeTag::Delete => paint(Action::Destroy, '-'),
                ChangeTag::Insert => paint(Action::Create, '+'),
            };
            text.push_str(&shown);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(before: &str, after: &str) -> Formatted {
        Formatted {
            name: "a.yaml".to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
            left: None,
        }
    }

    #[test]
    fn what_would_be_written_is_shown_beside_what_is() {
        let file = formatted("a:\n    b: 1\nc: 2\n", "a:\n  b: 1\nc: 2\n");
        insta::assert_snapshot!(diff(&file, Style::plain()), @r"
        --- a.yaml
        +++ a.yaml
        @@ -1,3 +1,3 @@
         a:
        -    b: 1
        +  b: 1
         c: 2
        ");
        assert_eq!(diff(&formatted("a: 1\n", "a: 1\n"), Style::plain()), "");
    }

    #[test]
    fn the_files_that_differ_are_named() {
        let file = |name: &str, differs| FmtFile {
            file: name.to_owned(),
            differs,
            written: false,
            left: None,
        };
        assert_eq!(render(&[file("a", true), file("b", false)]), "a\n");
    }
}
