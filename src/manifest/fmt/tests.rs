//! Whatever is written reads as the same, keeps its comments, and is written so again.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::{Formatted, formatted_text};
use crate::manifest::tests::{apply, at_least, changes, here, yaml_files};

fn formatted(text: &str) -> Formatted {
    formatted_text("t.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What is written of a text that can be.
fn written(text: &str) -> String {
    let formatted = formatted(text);
    assert_eq!(formatted.left, None, "{text}");
    formatted.after
}

/// What another reader makes of a text.
fn value(text: &str) -> serde_json::Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn levels_are_two_spaces_and_comments_go_with_what_follows() {
    let text = "\
# head

nodes:
    # of here
    here:
        ssh: local
        # the last of here
    # the last of nodes
# of engines
engines:
  demo: {simulate: {profile: fast}} #fast
                                    #enough
x-list:
- a
-   b: 1
    c:
    - 2   \n    # odd
-
    - d
";
    insta::assert_snapshot!(written(text), @"
    # head

    x-list:
      - a
      - b: 1
        c:
          - 2
          # odd
      -
        - d
    nodes:
      # of here
      here:
        ssh: local
        # the last of here
      # the last of nodes
    # of engines
    engines:
      demo: {simulate: {profile: fast}}  # fast
                                         # enough
    ");
}

#[test]
fn keys_of_the_top_level_are_in_the_order_of_the_schema() {
    let text = "\
# yaml-language-server: $schema=x
# what it is for
engines: {demo: *demo}

# a place for anchors
x-demo: &demo {simulate: {}}
# the name
topology: t


nodes: {here: local}
";
    // An alias would come to stand before its anchor in no order but this one.
    let text = text.replace("engines: {demo: *demo}", "engines: {demo: {simulate: {}}}");
    insta::assert_snapshot!(written(&text), @"
    # yaml-language-server: $schema=x
    # what it is for

    # the name
    topology: t

    # a place for anchors
    x-demo: &demo {simulate: {}}

    nodes: {here: local}

    engines: {demo: {simulate: {}}}
    ");
    // What cannot be moved stays where it is.
    let bound = "nodes: &n {here: local}\ntopology: *n\n";
    assert_eq!(written(bound), bound);
    let unknown = "nodes: {}\nnoodles: {}\ntopology: t\n";
    assert_eq!(written(unknown), unknown);
}

#[test]
fn comments_behind_something_are_two_spaces_away_or_in_the_column_that_they_had() {
    let text = "\
a: 1 #one
bb: \"# none\"          # far
ccc:                    # far
    - x # near
    - {y: 1,  # within
       z: 2}
";
    insta::assert_snapshot!(written(text), @r##"
    a: 1  # one
    bb: "# none"          # far
    ccc:                    # far
      - x  # near
      - {y: 1,  # within
         z: 2}
    "##);
}

#[test]
fn texts_of_several_lines_stay_as_they_are() {
    let text = "\
topology: t
x-a:
    script: |   \n        if a;   \n          b

    folded: >-
       long


    kept: |+
      text

x-b:
 c:
  d: |
   near
 e: |2
   counted
x-c: \"one
  two   \n  three\"
x-d: plain
  and more   \n";
    let after = written(text);
    assert_eq!(value(&after), value(text));
    assert_eq!(
        after,
        "\
topology: t
x-a:
  script: |
        if a;   \n          b

  folded: >-
       long

  kept: |+
      text

x-b:
  c:
    d: |
      near
  e: |2
    counted
x-c: \"one
  two   \n  three\"
x-d: plain
  and more
"
    );
}

#[test]
fn lines_end_in_one_way_and_the_last_one_too() {
    assert_eq!(
        written("\u{feff}topology: t\r\nnodes: {}  \r\n\r\n\r\n"),
        "topology: t\nnodes: {}\n"
    );
    assert_eq!(written("\n\ntopology: t"), "topology: t\n");
    assert_eq!(written("{\"topology\": \"t\"}"), "{\"topology\": \"t\"}\n");
    assert_eq!(
        written("---\ntopology: t\n...\n"),
        "---\ntopology: t\n...\n"
    );
}

#[test]
fn what_is_not_known_is_left_as_it_is_and_what_is_no_yaml_is_told() {
    let odd = "topology: t\nx-a:\n    ? b\n    : c\n";
    let formatted = formatted(odd);
    assert_eq!(formatted.after, odd);
    assert_eq!(formatted.left, Some("a key of it is written with `?`"));
    let said = |text: &str| {
        formatted_text("t.yaml", text.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert!(said("a: {b\n").contains("`{` is never closed"));
    assert!(said("a: 1\na: 2\n").contains("`a` is given twice"));
    assert!(said("# nothing\n").contains("the manifest is empty"));
}

/// All of ours are written so.
#[test]
fn the_samples_are_as_they_would_be_written() {
    for path in yaml_files("manifests") {
        let formatted = super::formatted(&path).unwrap();
        assert_eq!(formatted.left, None, "{}", path.display());
        assert_eq!(formatted.before, formatted.after, "{}", path.display());
    }
    let page = std::fs::read_to_string(here("README.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1);
    let texts = blocks.filter_map(|block| block.split("```").next());
    // Parts of a manifest stand there too.
    let mut wholes = texts
        .filter(|text| text.contains("\ntopology: "))
        .peekable();
    assert!(wholes.peek().is_some());
    for text in wholes {
        assert_eq!(written(text), text);
    }
}

#[test]
fn a_first_manifest_is_written_so() {
    let draft = crate::init::simulated_here("topology.yaml", "topology.schema.json");
    assert_eq!(written(&draft.text), draft.text);
}

/// What was given twice in a row, of what is written here.
fn hold_the_laws(text: &str) {
    let Ok(formatted) = formatted_text("t.yaml", text.as_bytes()) else {
        return;
    };
    if formatted.left.is_some() {
        assert_eq!(formatted.after, formatted.before);
        return;
    }
    let after = &formatted.after;
    assert_eq!(&written(after), after);
    // Another reader refuses some of what is taken here, such as aliases that are many.
    if let Ok(before) = serde_yaml::from_str::<serde_json::Value>(text) {
        assert_eq!(value(after), before, "{text}\n---\n{after}");
    }
    assert!(after.ends_with('\n') && !after.ends_with("\n\n") || after.contains(['|', '>']));
}

#[test]
fn the_laws_hold_for_every_manifest_of_the_tests() {
    for folder in ["tests/manifests/valid", "tests/manifests/invalid"] {
        for path in yaml_files(folder) {
            if let Ok(text) = std::fs::read_to_string(&path) {
                hold_the_laws(&text);
            }
        }
    }
}

/// A value, and how it is written.
#[derive(Debug, Clone)]
enum Tree {
    Inline(&'static str),
    /// Lines of a text, below what announces them.
    Block(&'static str, Vec<&'static str>),
    Map(Vec<Tree>),
    List(Vec<Tree>),
}

fn trees() -> impl Strategy<Value = Tree> {
    let inline = prop::sample::select(vec![
        "a",
        "1",
        "''",
        "\"x # y\"",
        "'it''s'",
        "{a: 1, b: [2]}",
        "[x, {y: z}]",
        "&n v",
        "!!str 1",
        "~",
        "http://a#b",
        "\"a \\\" b\"",
        "- 1",
        "a: b",
    ]);
    let inline = inline.prop_map(|it| match it {
        // What would be an item or a key needs quotes.
        "- 1" => Tree::Inline("'- 1'"),
        "a: b" => Tree::Inline("\"a: b\""),
        other => Tree::Inline(other),
    });
    let head = prop::sample::select(vec!["|", ">", "|-", ">-", "|+", "\"", "{"]);
    let lines = prop::collection::vec(
        prop::sample::select(vec!["text", "# none", "  deep", "x: y"]),
        1..4,
    );
    let block = (head, lines).prop_map(|(head, lines)| Tree::Block(head, lines));
    prop_oneof![4 => inline, 1 => block].prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Tree::Map),
            prop::collection::vec(inner, 1..4).prop_map(Tree::List),
        ]
    })
}

/// Writes trees in a style that nobody has.
struct Scribe {
    out: String,
    /// What is drawn, again and again.
    drawn: Vec<u8>,
    at: usize,
    comments: usize,
}

impl Scribe {
    fn draw(&mut self, below: usize) -> usize {
        self.at += 1;
        usize::from(self.drawn[self.at % self.drawn.len()]) % below
    }

    /// Now and then an empty line, or a comment in any column.
    fn noise(&mut self) {
        match self.draw(6) {
            0 => self.out.push_str("\n  \n"),
            1 => {
                let indent = self.draw(9);
                self.comments += 1;
                let _ = writeln!(self.out, "{:indent$}# c{}c", "", self.comments);
            }
            _ => {}
        }
    }

    fn end_of_line(&mut self) {
        if self.draw(4) == 0 {
            let gap = 1 + self.draw(7);
            self.comments += 1;
            let _ = write!(self.out, "{:gap$}#c{}c", "", self.comments);
        }
        let blanks = self.draw(3);
        let _ = writeln!(self.out, "{:blanks$}", "");
    }

    /// What stands behind a key or a dash, whose level is at a column.
    fn behind(&mut self, tree: &Tree, column: usize) {
        match tree {
            Tree::Inline(text) => {
                let _ = write!(self.out, " {text}");
                self.end_of_line();
            }
            Tree::Block(head, lines) => self.block(head, lines, column),
            Tree::Map(of) => {
                self.end_of_line();
                let step = 1 + self.draw(5);
                self.map(of, column + step);
            }
            Tree::List(of) => {
                self.end_of_line();
                let step = self.draw(5);
                self.list(of, column + step);
            }
        }
    }

    fn block(&mut self, head: &str, lines: &[&str], column: usize) {
        let indent = column + 1 + self.draw(5);
        let (head, close) = match head {
            "{" => (" {a:", " 1}"),
            "\"" => (" \"", "\""),
            head => {
                let _ = writeln!(self.out, " {head}");
                // The first line says where they begin.
                for line in std::iter::once(&"text").chain(lines) {
                    let _ = writeln!(self.out, "{:indent$}{line}", "");
                }
                return;
            }
        };
        let _ = writeln!(self.out, "{head}");
        if head.ends_with('"') {
            for line in lines {
                let _ = writeln!(self.out, "{:indent$}{line}  ", "");
            }
        }
        let _ = write!(self.out, "{:indent$}{close}", "");
        self.end_of_line();
    }

    fn map(&mut self, of: &[Tree], column: usize) {
        for (i, tree) in of.iter().enumerate() {
            self.noise();
            let _ = write!(self.out, "{:column$}k{i}:", "");
            self.behind(tree, column);
        }
    }

    fn list(&mut self, of: &[Tree], column: usize) {
        for tree in of {
            self.noise();
            let _ = write!(self.out, "{:column$}-", "");
            match tree {
                Tree::Map(of) if self.draw(2) == 0 => {
                    // Its first key stands behind the dash.
                    let gap = 1 + self.draw(4);
                    let inner = column + 1 + gap;
                    let _ = write!(self.out, "{:gap$}k:", "");
                    self.behind(&of[0], inner);
                    self.map(&of[1..], inner);
                }
                // At the column of its dash a list would be its neighbour.
                Tree::List(of) => {
                    self.end_of_line();
                    let step = 1 + self.draw(4);
                    self.list(of, column + step);
                }
                tree => self.behind(tree, column),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..at_least(300) })]

    #[test]
    fn whatever_is_written_reads_as_the_same(
        of in prop::collection::vec(trees(), 1..5),
        drawn in prop::collection::vec(any::<u8>(), 5..40),
    ) {
        let mut scribe = Scribe { out: String::new(), drawn, at: 0, comments: 0 };
        scribe.map(&of, 0);
        let text = scribe.out;
        let after = written(&text);
        prop_assert_eq!(value(&after), value(&text), "{}\n---\n{}", text, after);
        prop_assert_eq!(&written(&after), &after);
        let mut from = 0;
        for number in 1..=scribe.comments {
            let comment = format!("# c{number}c");
            let found = after[from..].find(&comment);
            prop_assert!(found.is_some(), "no {} in order in\n{}", comment, after);
            from += found.unwrap_or_default();
        }
        for line in after.lines().filter(|line| line.contains('#') && line.ends_with('c')) {
            let before = line.split("# c").next().unwrap();
            let is_near = before.trim().is_empty() || before.ends_with("  ");
            prop_assert!(is_near, "{}", line);
        }
    }

    #[test]
    fn what_anybody_makes_of_a_manifest_is_kept_or_left(file in 0_usize..8, changes in changes()) {
        let mut files = yaml_files("manifests");
        files.extend(yaml_files("tests/manifests/valid"));
        let bytes = apply(std::fs::read(&files[file % files.len()]).unwrap(), &changes);
        hold_the_laws(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let error = super::formatted(Path::new("nowhere.yaml")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no file `nowhere.yaml`")
    );
}
