//! The kinds of lines that are talk: notes, warnings, errors, hints. Callers say which kind a line
//! is; how it is dressed is decided here.

use std::error::Error;

use crate::describe::causes;
use crate::plan::{Address, Failure, FailureKind};

use super::style::{Role, Style};
use super::words::{clean, log_line};

/// Lines of a log that are shown under a failure.
const LOG_LINES: usize = 20;

/// What kind of talk a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Good to know.
    Note,
    /// Something is odd, and we go on.
    Warning,
    /// Something went wrong.
    Error,
    /// What to do next.
    Hint,
}

impl Kind {
    fn prefix(self, style: Style) -> String {
        let (word, role) = match self {
            Kind::Note => ("note:", Role::Title),
            Kind::Warning => ("warning:", Role::Warning),
            Kind::Error => ("error:", Role::Error),
            Kind::Hint => ("hint:", Role::Hint),
        };
        style.paint(role, word)
    }
}

/// Renders one line of talk: `warning: …`. A text of several lines is left as it is laid out.
pub fn line(kind: Kind, text: &str, style: Style) -> String {
    format!("{} {}\n", kind.prefix(style), text.trim_end())
}

/// Renders an error, what caused it, and after a blank line what to do about it.
pub fn render(error: &dyn Error, hints: &[String], style: Style) -> String {
    let mut text = line(Kind::Error, &error.to_string(), style);
    for cause in causes(error) {
        text.push_str(&format_cause(&cause));
    }
    if !hints.is_empty() {
        text.push('\n');
    }
    for hint in hints {
        text.push_str(&line(Kind::Hint, hint, style));
    }
    text
}

/// A cause of several lines stands with its lines under each other.
fn format_cause(cause: &str) -> String {
    let lines: Vec<&str> = cause.lines().collect();
    format!("  caused by: {}\n", lines.join("\n             "))
}

/// What a failure says. One of ours is said to be one here, and nowhere else.
fn said(failure: &Failure) -> String {
    let message = clean(&failure.message);
    match failure.kind {
        FailureKind::Bug => format!("this is a bug in replica: {message}"),
        FailureKind::World | FailureKind::Interrupted => message,
    }
}

/// Renders why a thing failed: the cause, the end of its log, what to do next. `after` is how long
/// that took, in words.
pub(super) fn failure(
    address: &Address,
    failure: &Failure,
    after: Option<&str>,
    style: Style,
) -> Vec<String> {
    let failed = style.paint(Role::Error, "failed");
    let after = after.map(|after| format!(" [{after}]")).unwrap_or_default();
    let mut lines = vec![format!("{address}: {failed}: {}{after}", said(failure))];
    if style.verbose {
        let causes = causes(failure).into_iter();
        lines.extend(causes.map(|cause| format!("    caused by: {}", clean(&cause))));
    }
    let skipped = failure.log.len().saturating_sub(LOG_LINES);
    for logged in &failure.log[skipped..] {
        let logged = format!("    | {}", log_line(logged));
        lines.push(style.paint(Role::Faint, logged.trim_end()));
    }
    if let Some(hint) = &failure.hint {
        lines.push(format!("    {} {}", Kind::Hint.prefix(style), clean(hint)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot observe spark-02")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("ssh: {0}")]
    struct Middle(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no answer from 192.168.1.77:22 in 10 s")]
    struct Inner;

    #[test]
    fn an_error_names_its_causes_once_and_then_what_to_do() {
        let hints = ["try `ssh spark-02 true`".to_owned()];
        insta::assert_snapshot!(render(&Outer(Middle(Inner)), &hints, Style::plain()), @r"
        error: cannot observe spark-02
          caused by: ssh: no answer from 192.168.1.77:22 in 10 s

        hint: try `ssh spark-02 true`
        ");
        insta::assert_snapshot!(render(&Inner, &[], Style::plain()), @"error: no answer from 192.168.1.77:22 in 10 s");
    }

    #[test]
    fn what_caused_a_failure_is_told_to_whoever_asks() {
        let address = "here/proxy".parse().unwrap();
        let failed = Failure::of(Outer(Middle(Inner)));
        let told = |verbose| {
            let style = Style {
                verbose,
                ..Style::plain()
            };
            failure(&address, &failed, None, style).join("\n")
        };
        insta::assert_snapshot!(told(false), @"here/proxy: failed: cannot observe spark-02");
        insta::assert_snapshot!(told(true), @r"
        here/proxy: failed: cannot observe spark-02
            caused by: ssh: no answer from 192.168.1.77:22 in 10 s
        ");
    }

    #[test]
    fn a_bug_is_said_to_be_one() {
        let address = "here/proxy".parse().unwrap();
        let lines = failure(&address, &Failure::bug("it crashed"), None, Style::plain());
        assert_eq!(
            lines,
            ["here/proxy: failed: this is a bug in replica: it crashed"]
        );
    }

    #[test]
    fn a_failure_shows_the_end_of_its_log_without_its_colours() {
        let log = (1..=22).map(|n| format!("\x1b[36m(EngineCore)\x1b[0m line {n}"));
        let failed = Failure::new("the server exited with status 1")
            .logged(log.collect())
            .hinted("lower gpu_memory_utilization");
        let address = "here/instance.a".parse().unwrap();
        let lines = failure(&address, &failed, Some("12.0s"), Style::plain());
        assert_eq!(lines.len(), 22);
        insta::assert_snapshot!([&lines[..2], &lines[20..]].concat().join("\n"), @r"
        here/instance.a: failed: the server exited with status 1 [12.0s]
            | (EngineCore) line 3
            | (EngineCore) line 22
            hint: lower gpu_memory_utilization
        ");
    }
}
