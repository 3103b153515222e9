//! What each line of a text is, by what the parser sees in it.

use std::ops::Range;

use serde_yaml::granit_parser::{
    Event, Options, Parser, ScalarStyle, Span, StrInput, StructureStyle,
};

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) begins: Begins,
    /// Where its comment begins, in bytes.
    pub(super) comment: Option<usize>,
    /// Whether a text goes on in the next line, so that blanks at the end of this one may be part of it.
    pub(super) is_open: bool,
    /// The block scalar that it announces.
    pub(super) block: Option<Block>,
}

/// What a line begins within.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Begins {
    /// Nothing: it has a key, an item or a value of its own, a comment, or nothing.
    #[default]
    Anew,
    /// A text of several lines, with quotes or without.
    InText,
    /// A block scalar, `|` or `>`.
    InBlock,
    /// `{…}` or `[…]` of several lines.
    InFlow,
}

/// The head of a block scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    /// Where `|` or `>` stands in its line, in bytes.
    pub(super) at: usize,
    /// Whether it says how far its lines are indented.
    pub(super) says_indent: bool,
}

/// The lines of a text, and its comments.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) lines: Vec<Line>,
    /// What the comments say, in their order.
    pub(super) comments: Vec<String>,
}

impl Outline {
    /// Reads a text whose lines end in `\n`; nothing where it is no YAML.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut options = Options::default();
        options.emit_unresolved_aliases = true;
        options.set_emit_comments(true);
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str_with_options(text, options);
        let mut reading = Reading::new(text);
        while let Some(event) = parser.next_event() {
            let (event, span) = event.ok()?;
            reading.see(&event, &span);
        }
        Some(reading.outline)
    }
}

struct Reading<'a> {
    text: &'a str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// Where the outermost `{` or `[` stands that is not closed yet, and how many are open.
    flow: Option<(usize, usize)>,
    /// Which of what is open is a flow collection.
    open: Vec<bool>,
    outline: Outline,
}

impl<'a> Reading<'a> {
    fn new(text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        let lines = vec![Line::default(); starts.len()];
        Self {
            text,
            starts,
            flow: None,
            open: Vec::new(),
            outline: Outline {
                lines,
                comments: Vec::new(),
            },
        }
    }

    fn see(&mut self, event: &Event<'_>, span: &Span) {
        let Some(place) = span.byte_range() else {
            return;
        };
        match event {
            Event::Comment(said, _) => {
                let (line, at) = self.line(place.start);
                self.outline.lines[line].comment = Some(at);
                self.outline.comments.push(said.trim().to_owned());
            }
            Event::Scalar(said, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
                self.block(place.start, said);
            }
            Event::Scalar(..) => self.long_text(place),
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                self.opens(*style == StructureStyle::Flow, place.start);
            }
            Event::SequenceEnd | Event::MappingEnd => self.closes(place.end),
            _ => {}
        }
    }

    /// The line of a byte, and where in it that is.
    fn line(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at) - 1;
        (line, at - self.starts[line])
    }

    fn long_text(&mut self, place: Range<usize>) {
        let said = self.text[place.clone()].trim_end();
        let (first, _) = self.line(place.start);
        let (last, _) = self.line(place.start + said.len());
        for at in first..last {
            self.outline.lines[at].is_open = true;
            self.outline.lines[at + 1].begins = Begins::InText;
        }
    }

    /// Its lines come behind its head, as far in as the first of them. The parser tells where that one begins, and
    /// where the head stands only if the text ends with it. Empty lines at the end are its own where it keeps them.
    fn block(&mut self, start: usize, said: &str) {
        let (line, column) = self.line(start);
        let ends_here = said.is_empty() && self.text[start..].trim_end().len() <= LONGEST_HEAD;
        let first = if ends_here { line + 1 } else { line };
        let texts: Vec<&str> = self.text.split('\n').collect();
        let mut before = (0..first).rev().filter(|at| !texts[*at].trim().is_empty());
        let found = before.find_map(|at| Some((at, head(texts[at])?)));
        let Some((line, (at, head))) = found else {
            return;
        };
        self.outline.lines[line].block = Some(Block {
            at,
            says_indent: head.contains(|c: char| c.is_ascii_digit()),
        });
        // Of nothing, nobody says how far in it is.
        let column = if said.trim_matches('\n').is_empty() {
            usize::MAX
        } else {
            column
        };
        let is_blank = |line: &str| line.trim().is_empty();
        let is_within = |line: &&str| is_blank(line) || indent_of(line) >= column;
        let is_own = |line: &&str| head.contains('+') || !is_blank(line) || line.len() > column;
        let within: Vec<&str> = texts[line + 1..]
            .iter()
            .copied()
            .take_while(is_within)
            .collect();
        let end = within.iter().rposition(is_own);
        let lines = self.outline.lines[line + 1..].iter_mut();
        for about in lines.take(end.map_or(0, |at| at + 1)) {
            about.begins = Begins::InBlock;
        }
    }

    fn opens(&mut self, is_flow: bool, at: usize) {
        self.open.push(is_flow);
        if is_flow {
            let (start, depth) = self.flow.unwrap_or((at, 0));
            self.flow = Some((start, depth + 1));
        }
    }

    fn closes(&mut self, end: usize) {
        if self.open.pop() != Some(true) {
            return;
        }
        let Some((start, depth)) = self.flow else {
            return;
        };
        self.flow = (depth > 1).then_some((start, depth - 1));
        if depth > 1 {
            return;
        }
        let (first, _) = self.line(start);
        let (last, _) = self.line(end.saturating_sub(1).max(start));
        for line in &mut self.outline.lines[first + 1..=last.max(first)] {
            if line.begins == Begins::Anew {
                line.begins = Begins::InFlow;
            }
        }
    }
}

/// How many spaces a line begins with.
pub(super) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// `|2-`.
const LONGEST_HEAD: usize = 3;

/// The head of a block scalar at the end of a line, and where it stands.
fn head(line: &str) -> Option<(usize, &str)> {
    let starts = line.match_indices(['|', '>']).map(|(at, _)| at);
    let mut heads = starts.filter_map(|at| {
        let (head, rest) = line[at..].split_at(
            line[at..]
                .find(char::is_whitespace)
                .unwrap_or(line.len() - at),
        );
        let is_apart = line[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace);
        let is_head = head[1..]
            .chars()
            .all(|c| c.is_ascii_digit() || "+-".contains(c));
        let rest = rest.trim_start();
        let is_last = rest.is_empty() || rest.starts_with('#');
        (is_apart && is_head && is_last && head.len() <= LONGEST_HEAD).then_some((at, head))
    });
    heads.next()
}
