//! Columns that line up.

use super::style::{Role, Style};
use super::words::{clean, columns};

/// Spaces between two columns.
const GAP: usize = 2;

/// The last column goes on below where it has less room than this beside the others.
const LEAST: usize = 12;

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

impl Cell {
    fn dress(&self, text: &str, style: Style) -> String {
        match self.role {
            Some(role) => style.paint(role, text),
            None => text.to_owned(),
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

    /// The lines. Columns in which no row says anything are left out; the last one goes on
    /// below where it does not fit and lines are folded: it may be what somebody copies.
    pub(super) fn lines(&self) -> Vec<String> {
        let shown: Vec<usize> = (0..self.heading.len())
            .filter(|column| self.rows.iter().any(|row| !row[*column].text.is_empty()))
            .collect();
        let widths: Vec<usize> = shown.iter().map(|column| self.width(*column)).collect();
        let heading: Vec<Cell> = self.heading.iter().map(|h| heading_cell(h.0)).collect();
        std::iter::once(&heading)
            .chain(&self.rows)
            .flat_map(|row| self.row_lines(row, &shown, &widths))
            .collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| columns(&row[column].text));
        cells
            .chain([columns(self.heading[column].0)])
            .max()
            .unwrap_or(0)
    }

    fn row_lines(&self, row: &[Cell], shown: &[usize], widths: &[usize]) -> Vec<String> {
        let Some((last, before)) = shown.split_last() else {
            return Vec::new();
        };
        let mut line = String::new();
        for (column, width) in before.iter().zip(widths) {
            line += &self.padded(&row[*column], *column, *width);
            line += &" ".repeat(GAP);
        }
        let used = columns(&line);
        let cell = &row[*last];
        let beside = self.style.width.saturating_sub(used);
        let room = beside.max(LEAST);
        let parts = self.style.wrap(&cell.text, room);
        let is_narrow = beside < LEAST && columns(&cell.text) > beside;
        let is_too_wide = is_narrow || parts.iter().any(|part| columns(part) > room);
        let fits = !is_too_wide || !self.style.folds;
        if let ([only], true) = (parts.as_slice(), fits) {
            let only = Cell {
                text: only.clone(),
                role: cell.role,
            };
            // No padding at the end of a line: it would be copied with it.
            let width = widths.last().copied().unwrap_or(0);
            line += self.padded(&only, *last, width).trim_end();
            return vec![line.trim_end().to_owned()];
        }
        // What is too long for its column has lines of its own.
        let (indent, parts) = if fits {
            (used, parts)
        } else {
            let room = self.style.width.saturating_sub(GAP);
            (GAP, self.style.wrap(&cell.text, room))
        };
        let mut parts = parts.into_iter().map(|part| cell.dress(&part, self.style));
        let first = if fits { parts.next() } else { None };
        let first = line + &first.unwrap_or_default();
        let rest = parts.map(|part| format!("{:indent$}{part}", ""));
        std::iter::once(first.trim_end().to_owned())
            .chain(rest)
            .collect()
    }

    fn padded(&self, cell: &Cell, column: usize, width: usize) -> String {
        let padding = " ".repeat(width.saturating_sub(columns(&cell.text)));
        let dressed = cell.dress(&cell.text, self.style);
        match self.heading[column].1 {
            Align::Right => padding + &dressed,
            Align::Left => dressed + &padding,
        }
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
    fn the_last_column_goes_on_below_and_what_is_one_word_stays_whole() {
        let told = |text: &str, width| {
            let folded = Style {
                width,
                folds: true,
                ..Style::plain()
            };
            let mut table = Table::new(folded, &[("name", Align::Left), ("url", Align::Left)]);
            table.row(vec!["instance.a".into(), text.into()]);
            table.lines().join("\n")
        };
        insta::assert_snapshot!(told("one two three four", 28), @"
        name        url
        instance.a  one two three
                    four
        ");
        insta::assert_snapshot!(told("http://192.168.1.76:8100", 40), @"
        name        url
        instance.a  http://192.168.1.76:8100
        ");
        insta::assert_snapshot!(told("http://192.168.1.76:8100", 28), @"
        name        url
        instance.a
          http://192.168.1.76:8100
        ");
        insta::assert_snapshot!(told("one two", 16), @"
        name        url
        instance.a
          one two
        ");
        insta::assert_snapshot!(told("one two", 13), @"
        name
          url
        instance.a
          one two
        ");
        let style = Style::plain();
        let mut table = Table::new(style, &[("n", Align::Left), ("note", Align::Left)]);
        table.row(vec!["a".into(), "one two three four five".into()]);
        assert_eq!(table.lines()[1], "a  one two three four five");
    }
}
