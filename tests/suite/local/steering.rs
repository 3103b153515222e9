//! Whatever others wrote, no terminal is steered by it.

use std::fs;

use super::SMALL;
use crate::suite::support::{Said, Terminal, Workdir, until};

/// A title, a cleared screen, the same in one character each, and letters turned round.
const HOSTILE: &str = "x\x1b]0;t\x07\x1b[2J\u{9b}2J\u{9d}0;t\u{9c}\u{202e}y";
const SEEN: &str = r"x\x1b]0;t\x07\x1b[2J\u{9b}2J\u{9d}0;t\u{9c}\u{202e}y";

/// Whether a text could do anything to a terminal but go on to its next line.
fn steers(text: &str) -> bool {
    let unseen = |c: char| c != '\n' && c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    text.chars().any(unseen)
}

#[track_caller]
fn is_harmless(said: &Said) {
    assert!(!steers(&said.out) && !steers(&said.err), "{said:?}");
}

#[test]
fn words_of_the_command_line_are_shown_as_what_they_are() {
    let place = Workdir::with(SMALL);
    let file = format!("{HOSTILE}.yaml");
    for words in [
        &["plan", &file][..],
        &[HOSTILE],
        &["plan", "--colour", HOSTILE],
        &["logs", "topology.yaml", HOSTILE],
        &["bench", "topology.yaml", HOSTILE],
        &["plan", "--programs", HOSTILE],
        &["plan", "--ssh-config", HOSTILE],
        &["completions", HOSTILE],
    ] {
        let said = place.replica(words);
        assert_ne!(said.code, Some(0), "{said}");
        is_harmless(&said);
        let said = place.replica(&[words, &["--json"]].concat());
        is_harmless(&said);
        assert!(said.json()["error"]["exit"].is_number(), "{said}");
    }
    let _ = place.replica(&["plan", &file]).exits(65).says(SEEN);
    let said = place.replica(&["plan", &file, "--json"]).exits(65);
    // What a machine reads is what it was.
    assert_eq!(said.json()["problems"][0]["file"], file.as_str());
}

#[test]
fn a_file_that_was_named_so_is_read_and_shown_as_what_it_is() {
    let place = Workdir::with(SMALL);
    let file = format!("{HOSTILE}.yaml");
    place.write(&file, &place.read("topology.yaml"));
    let said = place.replica(&["validate", &file]).exits(0).shows(SEEN);
    is_harmless(&said);
    let said = place.replica(&["status", &file]).exits(0).shows(SEEN);
    is_harmless(&said);
    let (_, seen) = Terminal::run(&place, 100, &["validate", &file]).end();
    assert!(!steers(&seen.replace("\r\n", "\n")), "{seen:?}");
}

#[test]
fn who_holds_the_lock_is_shown_as_what_it_says() {
    let place = Workdir::with(SMALL).env("USER", HOSTILE);
    place.change("sim_load_seconds: 0", "sim_load_seconds: 4");
    let first = place.begin(&["apply", "-y", "--no-bench"]);
    let lock = place.state().with_extension("lock");
    until("the lock", || {
        fs::read_to_string(&lock)
            .is_ok_and(|holder| holder.contains("pid"))
            .then_some(())
    });
    let said = place.replica(&["destroy", "-y"]).exits(5).says(SEEN);
    is_harmless(&said);
    is_harmless(&first.end().exits(0));
}
