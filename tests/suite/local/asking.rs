//! Nothing is changed without a word from somebody who saw the plan.

use super::SMALL;
use crate::suite::support::process::{Signal, signal};
use crate::suite::support::{Terminal, Workdir, process};

const PROMPT: &str = "Enter a value:";

#[test]
fn without_a_terminal_and_without_the_flag_apply_refuses() {
    let place = Workdir::with(SMALL);
    let _ = place
        .replica(&["apply"])
        .exits(1)
        .shows("here")
        .says("nobody is there to be asked")
        .says("--auto-approve");
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn at_a_terminal_the_plan_is_shown_and_yes_carries_it_out() {
    let place = Workdir::with(SMALL);
    let (code, seen) = Terminal::run(&place, 100, &["apply", "--no-bench"])
        .answer(PROMPT, "yes\n")
        .end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("Only 'yes' will be accepted"), "{seen}");
    assert!(seen.contains("instance.a"), "{seen}");
    assert!(!process::marked(&place.topology).is_empty());
}

#[test]
fn anything_but_yes_changes_nothing() {
    let place = Workdir::with(SMALL);
    for word in ["no\n", "y\n", "\n"] {
        let (code, seen) = Terminal::run(&place, 100, &["apply"])
            .answer(PROMPT, word)
            .end();
        assert_eq!(code, Some(1), "{seen}");
        assert!(seen.contains("Apply cancelled."), "{seen}");
    }
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn destroy_asks_too_and_a_no_leaves_everything_running() {
    let place = Workdir::with(SMALL).applied();
    let before = process::marked(&place.topology);
    let (code, seen) = Terminal::run(&place, 80, &["destroy"])
        .answer(PROMPT, "no\n")
        .end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("instance.a"), "{seen}");
    assert_eq!(process::marked(&place.topology), before);
}

#[test]
fn no_color_is_honoured_at_a_terminal() {
    let place = Workdir::with(SMALL).env("NO_COLOR", "1");
    let (code, seen) = Terminal::run(&place, 100, &["plan"]).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("\x1b["), "{seen:?}");
    let place = Workdir::with(SMALL);
    let (_, seen) = Terminal::run(&place, 100, &["plan"]).end();
    assert!(seen.contains("\x1b["), "{seen:?}");
}

/// A declared benchmark that takes no time.
const ONE: &str = "
benchmarks:
  one: {prompts: {inline: [hello]}, load: {sequential: 1}, max_tokens: 4}
";

#[test]
fn what_changed_while_an_answer_was_awaited_is_asked_anew() {
    let place = Workdir::with(&(SMALL.to_owned() + ONE)).applied();
    let a = place.pid("/instances/a");
    let asked = Terminal::run(&place, 100, &["apply"]).sees(PROMPT);
    signal(a, Signal::KILL);
    let (code, seen) = asked
        .answer(PROMPT, "yes\n")
        .answer("new in the plan", "no\n")
        .end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(
        seen.contains("its server is gone") || seen.contains("it does not run"),
        "{seen}"
    );
    assert!(seen.contains("Apply cancelled."), "{seen}");
    assert!(place.status()["instances"]["a"]["pid"].is_null());
    // With the second yes it is done.
    let (code, seen) = Terminal::run(&place, 100, &["apply"])
        .answer(PROMPT, "yes\n")
        .end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(!seen.contains("new in the plan"), "{seen}");
    assert_ne!(place.pid("/instances/a"), a);
}
