//! What a log said: its last lines, and the cause of a death if one of them names it.

use std::collections::VecDeque;

use crate::logs::{Grammar, LogSign};
use crate::plan::{Failure, Part};

/// As many lines as a failure shows.
const SHOWN: usize = 20;

/// The end of a log that is being read.
#[derive(Debug)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    cause: Option<Failure>,
    /// Whether nothing went on since the last cause.
    has_stumbled: bool,
    outcome: String,
    read: Grammar,
}

impl Tail {
    pub(super) fn new(read: Grammar) -> Self {
        Self {
            lines: VecDeque::new(),
            cause: None,
            has_stumbled: false,
            outcome: String::new(),
            read,
        }
    }

    /// Takes the next line, and returns the part that it shows, if any.
    pub(super) fn take(&mut self, line: &str) -> Option<Part> {
        let line = plain(line);
        if line.trim().is_empty() {
            return None;
        }
        let sign = (self.read)(&line);
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        match sign {
            Some(LogSign::Part(part)) => {
                self.has_stumbled = false;
                return Some(part);
            }
            Some(LogSign::Outcome(outcome)) => self.outcome = outcome,
            Some(LogSign::Cause(cause)) => self.note(cause),
            None => {}
        }
        None
    }

    /// Keeps the last cause; but one that says what to do is not replaced by one that does not.
    fn note(&mut self, cause: Failure) {
        self.has_stumbled = true;
        let helps = |cause: &Failure| cause.hint.is_some();
        if helps(&cause) || !self.cause.as_ref().is_some_and(helps) {
            self.cause = Some(cause);
        }
    }

    /// Whether it named a cause, and has come no further since.
    pub(super) fn has_stumbled(&self) -> bool {
        self.has_stumbled
    }

    /// What it says that it came to.
    pub(super) fn outcome(self) -> String {
        self.outcome
    }

    /// Its last lines.
    pub(super) fn lines(self) -> Vec<String> {
        self.lines.into()
    }

    /// A failure with the cause that the log names, or else with this one.
    pub(super) fn failure(self, otherwise: String) -> Failure {
        let cause = self.cause.unwrap_or_else(|| Failure::new(otherwise));
        cause.logged(self.lines.into())
    }
}

/// Removes what only a terminal understands: escape sequences and control characters.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => plain.push('\t'),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        // `ESC [ … letter`: colours and movements.
        Some('[') => {
            for c in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    return;
                }
            }
        }
        // `ESC ] … BEL`: titles and links.
        Some(']') => {
            for c in chars.by_ref() {
                if c == '\u{7}' || c == '\u{1b}' {
                    return;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<LogSign> {
        let (word, rest) = line.split_once(' ')?;
        let hint = rest.split_once('!').map(|(_, hint)| hint.to_owned());
        match word {
            "part" => Some(LogSign::Part(rest.into())),
            "cause" => Some(LogSign::Cause(Failure {
                hint,
                ..Failure::new(rest)
            })),
            _ => None,
        }
    }

    #[test]
    fn twenty_plain_lines_are_kept() {
        let mut tail = Tail::new(read);
        for i in 0..30 {
            tail.take(&format!("\u{1b}[0;36mline\u{1b}[0m {i}\u{7}"));
            tail.take(" ");
        }
        let failure = tail.failure("it died".to_owned());
        assert_eq!(failure.message, "it died");
        assert_eq!(failure.log.len(), 20);
        assert_eq!(failure.log[0], "line 10");
    }

    #[test]
    fn the_cause_is_the_last_that_helps() {
        let cases: [(&[&str], &str); 4] = [
            (&["cause a", "cause b"], "b"),
            (&["cause a!do", "cause b"], "a!do"),
            (&["cause a", "cause b!do"], "b!do"),
            (&["cause a!do", "cause b!do"], "b!do"),
        ];
        for (lines, want) in cases {
            let mut tail = Tail::new(read);
            for line in lines {
                assert_eq!(tail.take(line), None);
            }
            assert!(tail.has_stumbled());
            assert_eq!(tail.failure(String::new()).message, want);
        }
        assert_eq!(
            Tail::new(read).take("part the weights").unwrap(),
            Part::from("the weights")
        );
    }
}
