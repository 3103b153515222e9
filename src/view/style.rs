//! How a text is dressed: colour, width, and how much of it is wanted.

use anstyle::AnsiColor;

use crate::plan::Action;

use super::words::wrap;

/// What a rendering may use. Renderings are pure: the same data and the same look give the same
/// text, on a terminal or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colour may be used.
    pub colour: bool,
    /// The columns that a line should take.
    pub width: usize,
    /// Whether longer lines are broken at that width. Where nobody looks they are not: what
    /// is read by `grep` stays on one line.
    pub folds: bool,
    /// Whether the details that are folded by default are shown.
    pub verbose: bool,
}

impl Style {
    /// The widest that anything is printed, however wide the terminal: longer lines are not read.
    pub const WIDEST: usize = 100;

    /// The look of a file or a pipe.
    pub fn plain() -> Self {
        Self {
            colour: false,
            width: Self::WIDEST,
            folds: false,
            verbose: false,
        }
    }

    /// Breaks a text into lines of at most `width` columns, where lines are broken at all.
    pub fn wrap(self, text: &str, width: usize) -> Vec<String> {
        wrap(text, if self.folds { width } else { usize::MAX })
    }

    /// Breaks a text into lines that go into the width; those after the first are indented.
    pub fn hang(self, text: &str, indent: usize) -> Vec<String> {
        if !self.folds {
            return text.lines().map(str::to_owned).collect();
        }
        let mut lines = self.wrap(text, self.width);
        if lines.len() > 1 {
            // What follows has less room than the first line.
            let first = lines.remove(0);
            let rest = self.wrap(&lines.join(" "), self.width.saturating_sub(indent));
            lines = rest
                .into_iter()
                .map(|it| format!("{:indent$}{it}", ""))
                .collect();
            lines.insert(0, first);
        }
        lines
    }

    /// Dresses a text for its role.
    pub fn paint(self, role: Role, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let style = role.style();
        format!("{style}{text}{style:#}")
    }
}

/// What a piece of text is; never which colour it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What is done to a thing: its sign.
    Action(Action),
    /// A title, or the one line that is read first.
    Title,
    /// What may be passed over.
    Faint,
    /// Something is as it should be.
    Good,
    /// Something wants attention.
    Warning,
    /// Something is wrong.
    Error,
    /// What to do next.
    Hint,
}

impl Role {
    fn style(self) -> anstyle::Style {
        let colour = |colour: AnsiColor| anstyle::Style::new().fg_color(Some(colour.into()));
        match self {
            Role::Action(Action::Keep) | Role::Faint => anstyle::Style::new().dimmed(),
            Role::Action(Action::Create) | Role::Good => colour(AnsiColor::Green),
            Role::Action(Action::Update) => colour(AnsiColor::Yellow),
            Role::Action(Action::Replace) => colour(AnsiColor::Magenta),
            Role::Action(Action::Destroy) => colour(AnsiColor::Red),
            Role::Title => anstyle::Style::new().bold(),
            Role::Warning => colour(AnsiColor::Yellow).bold(),
            Role::Error | Role::Action(Action::Blocked) => colour(AnsiColor::Red).bold(),
            Role::Hint => colour(AnsiColor::Cyan).bold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_a_text_is_left_alone() {
        assert_eq!(Style::plain().paint(Role::Error, "no"), "no");
        let coloured = Style {
            colour: true,
            ..Style::plain()
        };
        assert_eq!(coloured.paint(Role::Good, "yes"), "\x1b[32myes\x1b[0m");
    }
}
