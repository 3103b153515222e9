//! A table of a page, and what explains the colours of a drawing.

use super::chart::MOST_SERIES;
use super::markup::Markup;

/// As many rows as stand open; more are folded.
const OPEN: usize = 12;

/// Texts as long as this stay on one line.
const SHORT: usize = 26;

/// A table: what its columns are called, and its rows.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// Each with whether numbers stand in it.
    columns: Vec<(&'static str, bool)>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// A table with these columns; of each, whether numbers stand in it.
    pub(super) fn new(columns: &[(&'static str, bool)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a text for each column.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Writes it. A column in which no row says anything is left out, and so is a table without
    /// rows; a long one is folded.
    pub(super) fn write(&self, out: &mut Markup) {
        if self.rows.is_empty() {
            return;
        }
        if self.rows.len() <= OPEN {
            self.table(out);
            return;
        }
        out.element("details", &[], |out| {
            out.words(
                "summary",
                &[],
                &format!("As a table, {} rows", self.rows.len()),
            );
            self.table(out);
        });
    }

    /// The same, however long it is: where it stands in something that is folded.
    pub(super) fn write_open(&self, out: &mut Markup) {
        if !self.rows.is_empty() {
            self.table(out);
        }
    }

    fn table(&self, out: &mut Markup) {
        let says = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let shown: Vec<usize> = (0..self.columns.len()).filter(says).collect();
        let class = |column: usize| {
            if self.columns[column].1 {
                "number"
            } else {
                "word"
            }
        };
        out.element("div", &[("class", "sheet")], |out| {
            out.element("table", &[], |out| {
                out.element("thead", &[], |out| {
                    out.element("tr", &[], |out| {
                        for &column in &shown {
                            let attributes = [("class", class(column)), ("scope", "col")];
                            out.words("th", &attributes, self.columns[column].0);
                        }
                    });
                });
                out.element("tbody", &[], |out| {
                    for row in &self.rows {
                        out.element("tr", &[], |out| {
                            for &column in &shown {
                                let text = &row[column];
                                let class = match class(column) {
                                    // What is short is not broken: it is a name.
                                    "word" if text.chars().count() <= SHORT => "word short",
                                    class => class,
                                };
                                out.words("td", &[("class", class)], text);
                            }
                        });
                    }
                });
            });
        });
    }
}

/// Facts, each with its name; those that are not known are left out.
pub(super) fn facts(out: &mut Markup, all: &[(&str, String)]) {
    if all.iter().all(|(_, value)| value.is_empty()) {
        return;
    }
    out.element("dl", &[], |out| {
        for (name, value) in all.iter().filter(|(_, value)| !value.is_empty()) {
            out.words("dt", &[], name);
            out.words("dd", &[], value);
        }
    });
}

/// How a colour looks in a drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swatch {
    Line,
    Dot,
    Bar,
}

/// What the colours mean; one alone needs no word.
pub(super) fn legend(out: &mut Markup, names: &[(String, usize)], swatch: Swatch) {
    if names.len() < 2 {
        return;
    }
    out.element("ul", &[("class", "legend")], |out| {
        for (name, colour) in names {
            let class = format!("s{}", colour % MOST_SERIES);
            out.element("li", &[("class", &class)], |out| {
                let attributes = [
                    ("viewBox", "0 0 26 10"),
                    ("class", "swatch"),
                    ("aria-hidden", "true"),
                ];
                out.element("svg", &attributes, |out| swatch.draw(out));
                out.text(name);
            });
        }
    });
}

impl Swatch {
    fn draw(self, out: &mut Markup) {
        match self {
            Self::Line => out.shape("polyline", &[("points", "0,5 26,5")]),
            Self::Dot => out.shape("circle", &[("cx", "13"), ("cy", "5"), ("r", "4")]),
            Self::Bar => {
                let place = [("x", "6"), ("y", "0"), ("width", "14"), ("height", "10")];
                out.shape("rect", &place);
            }
        }
    }
}
