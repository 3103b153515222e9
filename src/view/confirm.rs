//! The question before anything is changed, in terraform's words.

use std::io::{self, BufRead, Write};

use super::style::{Role, Style};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether to carry out the plan that was shown.
    Apply,
    /// Whether to remove everything that was shown.
    Destroy,
    /// Whether to make and measure every arm that was shown.
    Compare,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `yes`, and nothing less.
    Yes,
    /// Anything else, the end of the input included.
    No,
    /// Nobody was there to be asked: the standard input is no terminal.
    NoTerminal,
}

impl Question {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Question::Apply => (
                "Do you want to perform these actions?",
                "  replica will perform the actions described above.\n  \
                 Only 'yes' will be accepted to confirm.",
            ),
            Question::Compare => (
                "Do you want to make and measure these arms?",
                "  replica will change the nodes from arm to arm, as often as is told above.\n  \
                 Only 'yes' will be accepted to confirm.",
            ),
            Question::Destroy => (
                "Do you really want to destroy all of the above?",
                "  replica will stop and remove what is shown above.\n  \
                 There is no undo. Only 'yes' will be accepted to confirm.",
            ),
        }
    }

    /// What is said after a `no`.
    pub fn cancelled(self) -> &'static str {
        match self {
            Question::Apply => "Apply cancelled. Nothing was changed.",
            Question::Destroy => "Destroy cancelled. Nothing was changed.",
            Question::Compare => "Compare cancelled. Nothing was changed.",
        }
    }
}

/// Asks on `output` and reads one line of `input`.
pub(super) fn ask(
    question: Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
    style: Style,
) -> io::Result<Answer> {
    let (title, explanation) = question.words();
    let title = style.paint(Role::Title, title);
    let prompt = style.paint(Role::Title, "Enter a value:");
    write!(output, "\n{title}\n{explanation}\n\n  {prompt} ")?;
    output.flush()?;

    let mut answer = String::new();
    if input.read_line(&mut answer)? == 0 {
        // What follows begins on a line of its own.
        writeln!(output)?;
    }
    writeln!(output)?;
    Ok(if answer.trim() == "yes" {
        Answer::Yes
    } else {
        Answer::No
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(question: Question, input: &str) -> (Answer, String) {
        let mut output = Vec::new();
        let answer = ask(question, &mut input.as_bytes(), &mut output, Style::plain()).unwrap();
        (answer, String::from_utf8(output).unwrap().trim().to_owned())
    }

    #[test]
    fn only_yes_is_yes() {
        assert_eq!(asked(Question::Apply, "yes\n").0, Answer::Yes);
        for no in ["y\n", "YES\n", "yes please\n", "\n", ""] {
            assert_eq!(asked(Question::Apply, no).0, Answer::No, "{no:?}");
        }
    }

    #[test]
    fn the_question_is_terraforms() {
        insta::assert_snapshot!(asked(Question::Apply, "yes\n").1, @r"
        Do you want to perform these actions?
          replica will perform the actions described above.
          Only 'yes' will be accepted to confirm.

          Enter a value:
        ");
        insta::assert_snapshot!(asked(Question::Destroy, "").1, @r"
        Do you really want to destroy all of the above?
          replica will stop and remove what is shown above.
          There is no undo. Only 'yes' will be accepted to confirm.

          Enter a value:
        ");
    }
}
