//! A writer of HTML and SVG that cannot leave an element open, nor let a text become one.

use std::fmt::Write as _;

use crate::visible::visible;

/// Attributes of an element, each with its value.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// Elements and texts, one after another.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Markup(String);

impl Markup {
    /// An element, and what is in it.
    pub(super) fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes, ">");
        inside(self);
        let _ = write!(self.0, "</{name}>");
        if is_block(name) {
            self.0.push('\n');
        }
    }

    /// An element with a text in it.
    pub(super) fn words(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// An element of a drawing, with nothing in it.
    pub(super) fn shape(&mut self, name: &str, attributes: Attributes<'_>) {
        self.open(name, attributes, "/>");
    }

    /// An element of a page that has no end, such as `meta`.
    pub(super) fn void(&mut self, name: &str, attributes: Attributes<'_>) {
        self.open(name, attributes, ">");
        self.0.push('\n');
    }

    /// A text, in which nothing is an element and everything is seen.
    pub(super) fn text(&mut self, text: &str) {
        self.0 += &escaped(text);
    }

    /// What was written elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// What is ours as it stands: a style sheet, a document type.
    pub(super) fn raw(&mut self, text: &'static str) {
        self.0 += text;
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was written.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn open(&mut self, name: &str, attributes: Attributes<'_>, end: &str) {
        let _ = write!(self.0, "<{name}");
        for (attribute, value) in attributes {
            let _ = write!(self.0, " {attribute}=\"{}\"", escaped(value));
        }
        self.0 += end;
    }
}

/// Whether an element ends a line of the file, so that people can read it too.
fn is_block(name: &str) -> bool {
    !matches!(
        name,
        "a" | "b" | "code" | "span" | "td" | "th" | "text" | "title" | "i"
    )
}

/// A text as it is written into a page: in an attribute, too.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

/// A length of a drawing: to a tenth, which no eye tells apart.
pub(super) fn length(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_becomes_no_element() {
        let mut page = Markup::default();
        page.words("p", &[("title", "a\"b")], "<script>'x'&\u{202e}\x1b[2J");
        assert_eq!(
            page.finish(),
            "<p title=\"a&quot;b\">&lt;script&gt;&#39;x&#39;&amp;\\u{202e}\\x1b[2J</p>\n"
        );
    }

    #[test]
    fn lengths_are_short() {
        let shown = [0.0, -0.01, 1.04, 12.34, 7.0].map(length);
        assert_eq!(shown, ["0", "0", "1", "12.3", "7"]);
    }
}
