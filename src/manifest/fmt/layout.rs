//! Where each line begins: two spaces for each level, and what belongs together in one column.

use super::outline::{Begins, Block, Line, Outline, indent_of};

/// One level further in.
const STEP: usize = 2;
/// A comment behind something is so far from it at least; what is further away was put into a column by hand.
const GAP: usize = 2;

/// Writes a text anew, line by line.
///
/// # Errors
///
/// Says what stands in it that is not known here.
pub(super) fn laid_out(text: &str, outline: &Outline) -> Result<String, &'static str> {
    let lines: Vec<&str> = text
        .strip_suffix('\n')
        .unwrap_or(text)
        .split('\n')
        .collect();
    let mut layout = Layout {
        lines: &lines,
        outline: &outline.lines,
        levels: Vec::new(),
        shift: 0,
        block_shift: 0,
        beside: None,
        out: Vec::new(),
        is_after_blank: true,
    };
    for at in 0..lines.len() {
        layout.line(at)?;
    }
    if layout.is_after_blank {
        layout.out.pop();
    }
    layout.out.push(String::new());
    Ok(layout.out.join("\n"))
}

/// A column in which the keys of a map or the items of a list begin.
#[derive(Debug, Clone, Copy)]
struct Level {
    old: usize,
    new: usize,
    is_list: bool,
}

struct Layout<'a> {
    lines: &'a [&'a str],
    outline: &'a [Line],
    /// The maps and lists that are open, outermost first.
    levels: Vec<Level>,
    /// By how much what goes on from the last line moves.
    shift: isize,
    /// The same of the lines of a block scalar.
    block_shift: isize,
    /// Where the comment of the last line was, and where it is, if that stands behind something: a comment below
    /// it in its column goes on with it.
    beside: Option<(usize, usize)>,
    out: Vec<String>,
    /// Whether the last line is an empty one, or none is written yet.
    is_after_blank: bool,
}

impl Layout<'_> {
    fn line(&mut self, at: usize) -> Result<(), &'static str> {
        let line = self.lines[at];
        let is_blank = line.trim().is_empty();
        match self.outline[at].begins {
            Begins::InBlock => self.push(moved(line, self.block_shift)),
            Begins::InText if is_blank => self.push(line.to_owned()),
            Begins::InText | Begins::InFlow => self.rest(at),
            Begins::Anew if is_blank => self.blank(),
            Begins::Anew if self.is_comment(at) => self.comment(at),
            Begins::Anew if is_marker(line) => {
                self.levels.clear();
                self.shift = 0;
                self.push(line.trim_end().to_owned());
            }
            Begins::Anew => self.begin(at)?,
        }
        Ok(())
    }

    fn push(&mut self, line: String) {
        self.out.push(line);
        self.is_after_blank = false;
        self.beside = None;
    }

    fn comment(&mut self, at: usize) {
        let column = indent_of(self.lines[at]);
        let beside = self.beside.filter(|(old, _)| *old == column);
        let indent = beside.map_or_else(|| self.place_of_comment(at), |(_, new)| new);
        let said = tidy(self.lines[at].trim_start());
        self.push(format!("{:indent$}{said}", ""));
        self.beside = beside;
    }

    /// Of empty lines that follow each other, one.
    fn blank(&mut self) {
        if !self.is_after_blank {
            self.push(String::new());
            self.is_after_blank = true;
        }
    }

    fn is_comment(&self, at: usize) -> bool {
        let comment = self.outline[at].comment;
        comment.is_some_and(|comment| self.lines[at][..comment].trim().is_empty())
    }

    /// A line that goes on with what stands above.
    fn rest(&mut self, at: usize) {
        let indent = indent_of(self.lines[at]);
        let indent = indent.saturating_add_signed(self.shift);
        self.push_with_comment(at, indent, &self.code(at));
    }

    /// What stands in a line beside its indentation and its comment.
    fn code(&self, at: usize) -> String {
        let (line, about) = (self.lines[at], &self.outline[at]);
        let code = &line[..about.comment.unwrap_or(line.len())];
        let code = if about.is_open { code } else { code.trim_end() };
        code.get(indent_of(line)..).unwrap_or_default().to_owned()
    }

    fn push_with_comment(&mut self, at: usize, indent: usize, code: &str) {
        let line = self.lines[at];
        let Some(comment) = self.outline[at].comment else {
            return self.push(format!("{:indent$}{code}", ""));
        };
        let said = tidy(&line[comment..]);
        if code.is_empty() {
            return self.push(format!("{:indent$}{said}", ""));
        }
        let before = &line[..comment];
        let old = before.chars().count();
        let gap = old - before.trim_end().chars().count();
        let width = indent + code.chars().count();
        let column = if gap > GAP {
            old.max(width + GAP)
        } else {
            width + GAP
        };
        let gap = column - width;
        self.push(format!("{:indent$}{code}{:gap$}{said}", "", ""));
        self.beside = Some((old, column));
    }

    /// A line with a key, an item, or a value that stands below its key.
    fn begin(&mut self, at: usize) -> Result<(), &'static str> {
        let indent = indent_of(self.lines[at]);
        let code = self.code(at);
        let mut rest = code.as_str();
        let mut level = level(&mut self.levels, indent, begins_item(rest));
        let start = level.new;
        let mut dashes = String::new();
        while begins_item(rest) {
            let item = rest[1..].trim_start_matches(' ');
            if item.is_empty() {
                break;
            }
            level = Level {
                old: level.old + rest.len() - item.len(),
                new: level.new + STEP,
                is_list: begins_item(item),
            };
            self.levels.push(level);
            dashes.push_str("- ");
            rest = item;
        }
        if ["?", ":"].contains(&rest) || rest.starts_with("? ") || rest.starts_with(": ") {
            return Err("a key of it is written with `?`");
        }
        if let Some(block) = self.outline[at].block {
            self.announce(at, block, code.len() - rest.len() + indent);
        }
        self.shift = signed(level.new) - signed(level.old);
        self.push_with_comment(at, start, &format!("{dashes}{rest}"));
        Ok(())
    }

    /// Decides about the lines of a block scalar: they stay as they are, unless they would no longer lie
    /// below their key, or are counted from it.
    fn announce(&mut self, at: usize, block: Block, own: usize) {
        let before = self.lines[at].get(own..block.at).unwrap_or_default();
        // Where no key stands before it, it is itself what stands at the last level.
        let is_itself = before
            .split_whitespace()
            .all(|word| word.starts_with(['&', '!']));
        if is_itself {
            self.levels.pop();
        }
        let (old, new) = self.levels.last().map_or((0, 0), |it| (it.old, it.new));
        let lines = (at + 1..self.lines.len())
            .take_while(|at| self.outline[*at].begins == Begins::InBlock)
            .map(|at| self.lines[at])
            .filter(|line| !line.trim().is_empty());
        let least = lines.map(indent_of).min();
        self.block_shift = match least {
            _ if block.says_indent => signed(new) - signed(old),
            Some(least) if !self.levels.is_empty() && least <= new => {
                signed(new + STEP) - signed(least)
            }
            _ => 0,
        };
    }

    /// A comment stands with what follows it; one that is further in, with what it comes after.
    fn place_of_comment(&self, at: usize) -> usize {
        let column = indent_of(self.lines[at]);
        let is_next = |at: &usize| {
            let is_anew = self.outline[*at].begins == Begins::Anew;
            is_anew && !self.lines[*at].trim().is_empty() && !self.is_comment(*at)
        };
        let next = (at + 1..self.lines.len()).find(is_next);
        let next = next.map(|at| self.lines[at]).filter(|it| !is_marker(it));
        let (old, new) = match next {
            Some(line) => {
                let indent = indent_of(line);
                let mut levels = self.levels.clone();
                let level = level(&mut levels, indent, begins_item(&line[indent..]));
                (indent, level.new)
            }
            None => (0, 0),
        };
        let open = self.levels.iter().rev();
        let mut deeper = open.filter(|level| level.old > old && level.old <= column);
        match deeper.next() {
            Some(level) if column > old => level.new,
            _ => new,
        }
    }
}

/// The level at which a line begins, which is open then, and none beyond it.
fn level(levels: &mut Vec<Level>, column: usize, is_list: bool) -> Level {
    while levels.last().is_some_and(|level| level.old > column) {
        levels.pop();
    }
    // A list may stand in the column of the key that it belongs to.
    let is_over = |level: &Level| level.old == column && level.is_list && !is_list;
    if levels.len() > 1 && levels.last().is_some_and(is_over) {
        levels.pop();
    }
    let new = match levels.last() {
        Some(level) if level.old == column && (level.is_list || !is_list) => return *level,
        Some(level) => level.new + STEP,
        None => 0,
    };
    let level = Level {
        old: column,
        new,
        is_list,
    };
    levels.push(level);
    level
}

fn begins_item(code: &str) -> bool {
    code == "-" || code.starts_with("- ")
}

/// `---` and `...`, and what is told to the parser.
fn is_marker(line: &str) -> bool {
    let word = line.split([' ', '\t']).next().unwrap_or_default();
    ["---", "..."].contains(&word) || line.starts_with('%')
}

fn signed(columns: usize) -> isize {
    isize::try_from(columns).unwrap_or(isize::MAX)
}

/// A line further in or out, as far as it is indented.
fn moved(line: &str, by: isize) -> String {
    let Ok(more) = usize::try_from(by) else {
        let less = by.unsigned_abs().min(indent_of(line));
        return line[less..].to_owned();
    };
    if line.is_empty() {
        return String::new();
    }
    format!("{:more$}{line}", "")
}

/// A comment with a space before its first word.
fn tidy(comment: &str) -> String {
    let comment = comment.trim_end();
    match comment.strip_prefix('#') {
        Some(said) if said.starts_with(char::is_alphanumeric) => format!("# {said}"),
        _ => comment.to_owned(),
    }
}
