//! Columns that line up.

use super::style::{Role, Style};
use super::words::{clean, columns, cut};

/// Spaces between two columns.
const GAP: usize = 2;

/// A table in the making: a heading, then rows.
#[derive(Debug)]
pub(super) struct Table {
    style: Style,
    heading: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// On which side of its column a text stands: numbers on the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// One text of a table, and what it is.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    role: Option<Role>,
}

impl Cell {
    /// A text with a role.
    pub(super) fn dressed(text: impl AsRef<str>, role: Role) -> Self {
        Self {
            role: Some(role),
            ..Self::from(text.as_ref())
        }
    }

    /// A text, or `-` where there is none.
    pub(super) fn or_dash<T: ToString>(value: Option<T>) -> Self {
        match value {
            Some(value) => Self::from(value.to_string().as_str()),
            None => Self::dressed("-", Role::Faint),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self {
            text: clean(text).replace('\n', " "),
            role: None,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl Table {
    pub(super) fn new(style: Style, heading: &[(&'static str, Align)]) -> Self {
        Self {
            style,
            heading: heading.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.heading.len());
        self.rows.push(cells);
    }

    /// The lines. Columns in which no row says anything are left out; the last one is cut
    /// where it does not fit and lines are folded.
    pub(super) fn lines(&self) -> Vec<String> {
        let shown: Vec<usize> = (0..self.heading.len())
            .filter(|column| self.rows.iter().any(|row| !row[*column].text.is_empty()))
            .collect();
        let widths: Vec<usize> = shown.iter().map(|column| self.width(*column)).collect();
        let heading: Vec<Cell> = self.heading.iter().map(|h| heading_cell(h.0)).collect();
        std::iter::once(&heading)
            .chain(&self.rows)
            .map(|row| self.line(row, &shown, &widths))
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| columns(&row[column].text));
        cells
            .chain([columns(self.heading[column].0)])
            .max()
            .unwrap_or(0)
    }

    fn line(&self, row: &[Cell], shown: &[usize], widths: &[usize]) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (place, (column, width)) in shown.iter().zip(widths).enumerate() {
            let cell = &row[*column];
            let is_last = place + 1 == shown.len();
            let text = if is_last && self.style.folds {
                cut(&cell.text, self.style.width.saturating_sub(used).max(12))
            } else {
                cell.text.clone()
            };
            let padding = " ".repeat(width.saturating_sub(columns(&text)));
            let dressed = match cell.role {
                Some(role) => self.style.paint(role, &text),
                None => text,
            };
            // No padding at the end of a line: it would be copied with it.
            line += &match (self.heading[*column].1, is_last) {
                (Align::Right, _) => padding + &dressed,
                (Align::Left, true) => dressed,
                (Align::Left, false) => dressed + &padding,
            };
            if !is_last {
                line += &" ".repeat(GAP);
            }
            used += width + GAP;
        }
        line.trim_end().to_owned()
    }
}

fn heading_cell(text: &str) -> Cell {
    Cell::dressed(text, Role::Faint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let heading = [
            ("name", Align::Left),
            ("n", Align::Right),
            ("unused", Align::Left),
            ("note", Align::Left),
        ];
        let mut table = Table::new(Style::plain(), &heading);
        table.row(vec!["a".into(), "8".into(), "".into(), "".into()]);
        table.row(vec!["long".into(), "128".into(), "".into(), "x\ny".into()]);
        insta::assert_snapshot!(table.lines().join("\n"), @r"
        name    n  note
        a       8
        long  128  x y
        ");
    }

    #[test]
    fn the_last_column_is_cut_on_a_terminal_only() {
        let narrow = Style {
            width: 20,
            folds: true,
            ..Style::plain()
        };
        let last_line = |style| {
            let mut table = Table::new(style, &[("n", Align::Left), ("note", Align::Left)]);
            table.row(vec!["a".into(), "one two three four five".into()]);
            table.lines().remove(1)
        };
        assert_eq!(last_line(narrow), "a  one two three fo…");
        assert_eq!(last_line(Style::plain()), "a  one two three four five");
    }
}
