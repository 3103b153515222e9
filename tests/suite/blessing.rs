//! `cargo bless`, as far as it reads notes and writes sources; that it reaches whatever keeps
//! expectations; and that whatever keeps them names it.

use std::fs;
use std::path::PathBuf;

#[path = "../bless/inline.rs"]
mod inline;
#[path = "../bless/pending.rs"]
mod pending;

use super::house::{files_below, root};
use inline::accept;

const SOURCE: &str = r###"fn a() {
    assert_snapshot!(told("@", '"'), @"one \" two");
    assert_snapshot!(told(), @r##"
    old "# text
    "##);
    assert_snapshot!(told());
}
"###;

#[test]
fn a_text_takes_the_place_of_the_old_one() {
    let short = accept(SOURCE, 2, "three").unwrap();
    assert_eq!(short, SOURCE.replace(r#""one \" two""#, "\"three\""));
    let long = accept(SOURCE, 3, "new\n\n  text").unwrap();
    let old = "r##\"\n    old \"# text\n    \"##";
    assert_eq!(
        long,
        SOURCE.replace(old, "\"\n    new\n\n      text\n    \"")
    );
}

#[test]
fn a_text_with_quotes_and_hashes_stays_one_literal() {
    let text = "a \"# b\nc \\ d";
    let source = accept(SOURCE, 3, text).unwrap();
    assert!(
        source.contains("@r##\"\n    a \"# b\n    c \\ d\n    \"##);"),
        "{source}"
    );
    // What was written is found again, whole.
    assert_eq!(accept(&source, 3, "x"), accept(SOURCE, 3, "x"));
    let odd = accept(SOURCE, 2, "a\rb").unwrap();
    assert!(odd.contains("@\"a\\rb\");"), "{odd}");
}

#[test]
fn what_is_not_there_is_said() {
    assert!(accept(SOURCE, 6, "x").is_err());
    assert!(accept(SOURCE, 60, "x").is_err());
}

#[test]
fn a_note_holds_the_texts_of_lines() {
    let note = r#"{"run_id":"1","line":5,"new":{"module_name":"m","metadata":{},"snapshot":"a\nb"},"old":null}
{"run_id":"1","line":7,"new":null,"old":null}
"#;
    let texts = pending::read(note).unwrap();
    assert_eq!(
        texts.into_iter().collect::<Vec<_>>(),
        [(5, "a\nb".to_owned())]
    );
    let twice = note.replace(
        "\"line\":7,\"new\":null",
        r#""line":5,"new":{"snapshot":"c"}"#,
    );
    assert!(pending::read(&twice).is_err());
}

#[test]
fn noted_texts_go_into_their_files() {
    let noted = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    for folder in [&noted, &root] {
        fs::create_dir(folder.path().join("src")).unwrap();
    }
    fs::write(root.path().join("src/a.rs"), SOURCE).unwrap();
    let note = "{\"line\":2,\"new\":{\"snapshot\":\"x\\ny\\nz\"}}\n{\"line\":3,\"new\":{\"snapshot\":\"w\"}}\n";
    fs::write(noted.path().join("src/.a.rs.pending-snap"), note).unwrap();
    let accepted = pending::accept_all(noted.path(), root.path()).unwrap();
    assert_eq!(accepted, ["src/a.rs:2", "src/a.rs:3"]);
    let written = fs::read_to_string(root.path().join("src/a.rs")).unwrap();
    let expected = accept(&accept(SOURCE, 3, "w").unwrap(), 2, "x\ny\nz").unwrap();
    assert_eq!(written, expected);
}

fn rust_files_below(folder: &str) -> Vec<PathBuf> {
    let files = files_below(folder).into_iter();
    files
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// What would make this very file one that keeps expectations if it stood here in one piece.
const VARIABLE: [&str; 2] = ["REPLICA", "UPDATE"];
const SNAPSHOT: [&str; 2] = ["insta", "assert_snapshot!("];

fn writes_anew(text: &str) -> bool {
    text.contains(&format!("var_os(\"{}\")", VARIABLE.join("_")))
}

/// Whether a file of the suite keeps expectations that `cargo bless` would not reach.
fn is_out_of_reach(module: &str, text: &str) -> bool {
    let keeps = text.contains(&SNAPSHOT.join("::")) || writes_anew(text);
    keeps && !pending::KEEPERS.contains(&format!("suite::{module}::").as_str())
}

#[test]
fn whatever_keeps_expectations_is_within_reach() {
    let suite = root().join("tests/suite");
    for path in rust_files_below("tests/suite") {
        let module = path.strip_prefix(&suite).unwrap().with_extension("");
        let module = module.display().to_string().replace('/', "::");
        let text = fs::read_to_string(&path).unwrap();
        assert!(!is_out_of_reach(&module, &text), "{}", path.display());
    }
    let text = SNAPSHOT.join("::");
    assert!(is_out_of_reach("told", &text));
    assert!(!is_out_of_reach("deciding", &text));
}

fn is_silent_about_blessing(text: &str) -> bool {
    writes_anew(text) && !text.contains("`cargo bless`")
}

#[test]
fn whatever_can_be_written_anew_says_how() {
    for path in ["src", "tests"].into_iter().flat_map(rust_files_below) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!is_silent_about_blessing(&text), "{}", path.display());
    }
    let silent = format!("std::env::var_os(\"{}\")", VARIABLE.join("_"));
    assert!(is_silent_about_blessing(&silent));
}
