//! The kinds of lines that are talk: notes, warnings, errors, hints. Callers say which kind a line
//! is; how it is dressed is decided here.

use std::error::Error;

use crate::describe::causes;
use crate::plan::{Address, Failure, FailureKind};

use super::style::{Role, Style};
use super::words::{beginning, clean, columns, log_line};

/// Where the second line of something begins.
const INDENT: usize = 4;
/// Lines of a log that are shown under a failure; all that are known, to those who ask for more.
const LOG_LINES: usize = 6;

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
    let said = format!("{} {}", kind.prefix(style), text.trim_end());
    if text.trim_end().contains('\n') {
        return said + "\n";
    }
    style.hang(&said, INDENT).join("\n") + "\n"
}

/// Renders an error, what caused it, and after a blank line what to do about it.
pub fn render(error: &dyn Error, hints: &[String], style: Style) -> String {
    let mut text = line(Kind::Error, &error.to_string(), style);
    for cause in causes(error) {
        text.push_str(&format_cause(&cause, style));
    }
    if !hints.is_empty() {
        text.push('\n');
    }
    for hint in hints {
        text.push_str(&line(Kind::Hint, hint, style));
    }
    text
}

/// Lays out what is said of a manifest: titles and hints go into the width, and the lines of the
/// manifest itself stay as they are.
pub fn manifest(said: &str, style: Style) -> String {
    let lines = said.lines().flat_map(|line| {
        let plain = anstream::adapter::strip_str(line).to_string();
        let indent = plain.len() - plain.trim_start().len();
        let is_hint = plain.trim_start().starts_with("= ");
        let after_number = plain.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_snippet = indent > 0 && !is_hint || after_number.starts_with(" |");
        if is_snippet || plain.is_empty() {
            return vec![line.to_owned()];
        }
        let narrow = Style {
            width: style.width.saturating_sub(indent),
            ..style
        };
        let after = if is_hint { "= hint: ".len() } else { INDENT };
        let lines = narrow.hang(line.trim_start(), after).into_iter();
        lines.map(|line| format!("{:indent$}{line}", "")).collect()
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// A cause of several lines stands with its lines under each other.
fn format_cause(cause: &str, style: Style) -> String {
    let lines = style.wrap(cause, style.width.saturating_sub(13));
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
    let after = after.map(|after| format!(" [{after}]")).unwrap_or_default();
    let mut lines = style.hang(&(headline(address, failure, style) + &after), INDENT);
    if style.verbose {
        let causes = causes(failure).into_iter();
        lines.extend(causes.map(|cause| format!("    caused by: {}", clean(&cause))));
    }
    for logged in telling(failure, style) {
        let room = style.width.saturating_sub(INDENT + 2);
        // What fits keeps its indentation.
        let parts = if style.folds && columns(&logged) > room {
            style.wrap(&logged, room)
        } else {
            vec![logged]
        };
        for part in parts {
            let part = format!("    | {part}");
            lines.push(style.paint(Role::Faint, part.trim_end()));
        }
    }
    lines.extend(hint(failure, style));
    lines
}

/// The same where it was told before: as much as goes into a line where somebody looks, and what to
/// do next.
pub(super) fn failure_again(address: &Address, failure: &Failure, style: Style) -> Vec<String> {
    let said = headline(address, failure, style);
    let said = if style.folds {
        beginning(&said, style.width)
    } else {
        said
    };
    let mut lines = vec![said];
    lines.extend(hint(failure, style));
    lines
}

fn headline(address: &Address, failure: &Failure, style: Style) -> String {
    let failed = style.paint(Role::Error, "failed");
    format!("{address}: {failed}: {}", said(failure))
}

fn hint(failure: &Failure, style: Style) -> Vec<String> {
    let Some(hint) = &failure.hint else {
        return Vec::new();
    };
    let hint = format!("{} {}", Kind::Hint.prefix(style), clean(hint));
    let narrow = Style {
        width: style.width.saturating_sub(INDENT),
        ..style
    };
    let lines = narrow.hang(&hint, INDENT).into_iter();
    lines.map(|line| format!("{:INDENT$}{line}", "")).collect()
}

/// The end of a log without what is said in the headline.
fn telling(failure: &Failure, style: Style) -> Vec<String> {
    let message = said(failure);
    let lines = failure
        .log
        .iter()
        .map(|line| log_line(line).trim_end().to_owned());
    let mut lines: Vec<String> = lines.collect();
    if !style.verbose {
        lines.retain(|line| message.is_empty() || !line.contains(&message));
        let skipped = lines.len().saturating_sub(LOG_LINES);
        lines.drain(..skipped);
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
    fn what_is_said_of_a_manifest_goes_into_the_width() {
        let text = "topology: t\nnodes: {here: {ssh: local}}\ninstances:\n  a: {node: here, \
                    port: 8100, engine: demo, model: demo, gpu_memory_utilization: 0.3, x: 4}\n";
        let error = crate::manifest::read(text).unwrap_err();
        let style = Style {
            width: 60,
            folds: true,
            ..Style::plain()
        };
        insta::assert_snapshot!(manifest(&error.to_string(), style), @"
        error: there is no engine `demo`
         --> the manifest:4:39
          |
        4 |   a: {node: here, port: 8100, engine: demo, model: demo, gpu_memory_utilization: 0.3, x: 4}
          |                                       ^^^^
          |
          = hint: declare it under `engines:`

        error: unknown key `gpu_memory_utilization`
         --> the manifest:4:58
          |
        4 |   a: {node: here, port: 8100, engine: demo, model: demo, gpu_memory_utilization: 0.3, x: 4}
          |                                                          ^^^^^^^^^^^^^^^^^^^^^^
          |
          = hint: put it under `args`:
                  `args: {gpu_memory_utilization: …}`
          = hint: allowed here: `node`, `port`, `engine`, `model`,
                  `role`, `host`, `args`, `env`, `secrets`,
                  `ready_timeout`, `stop_timeout`

        error: unknown key `x`
         --> the manifest:4:87
          |
        4 |   a: {node: here, port: 8100, engine: demo, model: demo, gpu_memory_utilization: 0.3, x: 4}
          |                                                                                       ^
          |
          = hint: allowed here: `node`, `port`, `engine`, `model`,
                  `role`, `host`, `args`, `env`, `secrets`,
                  `ready_timeout`, `stop_timeout`

        3 errors in the manifest; nothing was changed
        ");
        let coloured = manifest(&error.render(true), style);
        let plain = anstream::adapter::strip_str(&coloured).to_string();
        assert_eq!(plain, manifest(&error.to_string(), style));
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
        insta::assert_snapshot!(lines.join("\n"), @"
        here/instance.a: failed: the server exited with status 1 [12.0s]
            | (EngineCore) line 17
            | (EngineCore) line 18
            | (EngineCore) line 19
            | (EngineCore) line 20
            | (EngineCore) line 21
            | (EngineCore) line 22
            hint: lower gpu_memory_utilization
        ");
        let verbose = Style {
            verbose: true,
            ..Style::plain()
        };
        assert_eq!(failure(&address, &failed, None, verbose).len(), 24);
    }

    #[test]
    fn at_a_terminal_a_failure_is_short_and_breaks_no_word() {
        let message = "ValueError: Free memory on device (21.0/119.7 GiB) on startup is less than \
                       desired GPU memory utilization (0.9, 107.73 GiB).";
        let failed = Failure::new(message)
            .logged(vec![
                format!("(EngineCore) {message}"),
                "    raise RuntimeError(".to_owned(),
                "RuntimeError: Engine core initialization failed. See root cause above.".to_owned(),
            ])
            .hinted("free memory on the node, or lower args.gpu_memory_utilization; see `replica logs t.yaml a`");
        let address = "here/instance.a".parse().unwrap();
        let style = Style {
            width: 60,
            folds: true,
            ..Style::plain()
        };
        let told = failure(&address, &failed, Some("0.5s"), style);
        insta::assert_snapshot!(told.join("\n"), @"
        here/instance.a: failed: ValueError: Free memory on device
            (21.0/119.7 GiB) on startup is less than desired GPU
            memory utilization (0.9, 107.73 GiB). [0.5s]
            |     raise RuntimeError(
            | RuntimeError: Engine core initialization failed. See
            | root cause above.
            hint: free memory on the node, or lower
                args.gpu_memory_utilization; see
                `replica logs t.yaml a`
        ");
        let again = failure_again(&address, &failed, style);
        insta::assert_snapshot!(again.join("\n"), @"
        here/instance.a: failed: ValueError: Free memory on device …
            hint: free memory on the node, or lower
                args.gpu_memory_utilization; see
                `replica logs t.yaml a`
        ");
        insta::assert_snapshot!(line(Kind::Warning, message, style), @"
        warning: ValueError: Free memory on device (21.0/119.7 GiB)
            on startup is less than desired GPU memory utilization
            (0.9, 107.73 GiB).
        ");
    }
}
