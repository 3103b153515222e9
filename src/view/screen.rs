//! The two streams, and what may be done to each.
//!
//! Everything that is printed goes through here, and nothing through here that is not seen: what
//! could steer a terminal is shown as what it is, wherever it came from and whichever view forgot it.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::bars::Bars;
use super::confirm::{self, Answer, Question};
use super::error::{self, Kind};
use super::events::{EventLine, ResultLine};
use super::style::Style;
use crate::redact::redacted;
use crate::visible::{visible, visible_in_colour, visible_json};

/// Where everything is printed: results on the standard output, talk on the standard error.
///
/// Clones are the same screen. Lines that are drawn over and over (spinners) give way to every
/// other line, so no two writers ever meet on one.
#[derive(Debug, Clone)]
pub struct Screen {
    out: Style,
    talk: Style,
    format: Format,
    draws: bool,
    bars: Bars,
}

/// What a command prints as its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// One JSON document.
    Document,
    /// JSON, a line for each thing that happens; the last one is the document.
    Events,
}

impl Screen {
    /// Looks at the streams and at `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and `COLUMNS`.
    ///
    /// `verbose` unfolds details.
    pub fn new(verbose: bool, format: Format) -> Self {
        let (out, talk) = (io::stdout(), io::stderr());
        let draws = talk.is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let bars = if draws { Bars::drawn() } else { Bars::hidden() };
        let style = |colour, terminal, width| Style {
            colour: colour != ColorChoice::Never,
            width,
            folds: terminal,
            verbose,
        };
        Self {
            out: style(AutoStream::choice(&out), out.is_terminal(), width(&out)),
            talk: style(AutoStream::choice(&talk), talk.is_terminal(), width(&talk)),
            format,
            draws,
            bars,
        }
    }

    /// Whether the result is for a machine.
    pub fn is_json(&self) -> bool {
        self.format != Format::Text
    }

    /// How results look.
    pub fn out(&self) -> Style {
        self.out
    }

    /// How talk looks.
    pub fn talk(&self) -> Style {
        self.talk
    }

    /// Writes a rendered result to the standard output. A reader that went away (`| head`) is no
    /// error.
    pub fn result(&self, text: &str) -> io::Result<()> {
        self.print(&seen(text, self.out)).map(drop)
    }

    /// Writes the one JSON document that is the result.
    pub fn document(&self, document: &impl Serialize) -> io::Result<()> {
        if self.format == Format::Events {
            return self.document_line(&ResultLine::new(document)).map(drop);
        }
        let text = serde_json::to_string_pretty(document)?;
        self.print(&visible_json(&redacted(&(text + "\n"))))
            .map(drop)
    }

    /// Writes a piece of a result that goes on, and returns whether somebody still reads it.
    pub fn piece(&self, text: &str) -> io::Result<bool> {
        self.print(&seen(text, self.out))
    }

    /// Whether a result may be drawn over the one before.
    pub fn draws_results(&self) -> bool {
        self.draws && io::stdout().is_terminal()
    }

    /// Draws a result in the place of the one before, on a terminal that it has to itself, and returns whether
    /// somebody still reads it. What is longer than the terminal is cut off.
    pub fn redraw(&self, text: &str) -> io::Result<bool> {
        let rows = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_row);
        let rows = if rows == 0 { usize::MAX } else { rows.into() };
        let text = seen(text, self.out);
        let lines: Vec<_> = text.lines().take(rows.saturating_sub(1)).collect();
        // To the first place; each line is cleared behind its end, and all below the last.
        let drawn = format!("\x1b[H{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n"));
        self.print(&drawn)
    }

    /// Writes one of many JSON documents, each on a line, and returns whether somebody still reads
    /// them.
    pub fn document_line(&self, document: &impl Serialize) -> io::Result<bool> {
        let text = serde_json::to_string(document)?;
        self.print(&visible_json(&redacted(&(text + "\n"))))
    }

    /// Writes what happened, where each thing that happens is a line of the result.
    pub fn event(&self, line: &EventLine<'_>) {
        if self.format == Format::Events {
            // Who no longer reads is found out by the result; what was begun goes on.
            let _ = self.document_line(line);
        }
    }

    /// Writes to the standard output, and returns whether somebody still reads it.
    fn print(&self, text: &str) -> io::Result<bool> {
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        is_read(written)
    }

    /// Writes rendered talk to the standard error.
    pub fn say(&self, text: &str) {
        let text = seen(text, self.talk);
        self.bars.suspend(|| {
            // There is nobody left to tell that the talk cannot be heard.
            let _ = io::stderr().lock().write_all(text.as_bytes());
        });
    }

    /// Says what is good to know.
    pub fn note(&self, text: &str) {
        self.say(&error::line(Kind::Note, text, self.talk));
    }

    /// Says that something is odd.
    pub fn warning(&self, text: &str) {
        self.say(&error::line(Kind::Warning, text, self.talk));
    }

    /// Says that something went wrong, why, and what to do about it.
    pub fn error(&self, error: &dyn Error, hints: &[String]) {
        self.say(&error::render(error, hints, self.talk));
    }

    /// Asks before anything is changed. Waits for a person: not to be called where that would
    /// hold up others.
    pub fn ask(&self, question: Question) -> io::Result<Answer> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(Answer::NoTerminal);
        }
        self.bars.suspend(|| {
            let (mut input, mut output) = (input.lock(), Seen(io::stderr().lock(), self.talk));
            confirm::ask(question, &mut input, &mut output, self.talk)
        })
    }

    /// Where bars are drawn, on a terminal.
    pub(super) fn bars(&self) -> Option<Bars> {
        self.draws.then(|| self.bars.clone())
    }

    /// A writer of talk, for a log that would otherwise write across what is drawn.
    pub fn writer(&self) -> Talk {
        Talk(self.clone())
    }
}

/// A writer of talk. Each write appears whole.
#[derive(Debug)]
pub struct Talk(Screen);

impl Write for Talk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = Seen(io::stderr(), self.0.talk);
        self.0.bars.suspend(|| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// A writer of whole texts, of which nothing comes out that is not seen.
struct Seen<W>(W, Style);

impl<W: Write> Write for Seen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = seen(&String::from_utf8_lossy(bytes), self.1);
        self.0.write_all(text.as_bytes()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A text as it may be printed: no secret is in it; of what steers a terminal, colours of letters alone pass, and those
/// only where this stream has colours.
fn seen(text: &str, style: Style) -> String {
    let text = redacted(text);
    if style.colour {
        visible_in_colour(&text)
    } else {
        visible(&text).into_owned()
    }
}

/// Whether what was written is still read. A reader that went away is no error.
fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}

/// The columns of a stream: as `COLUMNS` says, as the terminal says, or as in a file.
fn width(stream: &impl std::os::fd::AsFd) -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let measured = || {
        let size = rustix::termios::tcgetwinsize(stream).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    };
    // Narrower than 40 columns, folding does more harm than running over.
    said.or_else(measured)
        .map_or(Style::WIDEST, |columns| columns.clamp(40, Style::WIDEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let error = |kind| Err(io::Error::from(kind));
        assert!(!is_read(error(io::ErrorKind::BrokenPipe)).unwrap());
        assert!(is_read(error(io::ErrorKind::StorageFull)).is_err());
        assert!(is_read(Ok(())).unwrap());
    }

    #[test]
    fn whatever_is_written_is_seen() {
        let text = "\x1b[32ma\x1b[0m\x1b[2J\u{202e}\n";
        let coloured = Style {
            colour: true,
            ..Style::plain()
        };
        let written = |style| {
            let mut bytes = Vec::new();
            Seen(&mut bytes, style).write_all(text.as_bytes()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let shown = "\x1b[32ma\x1b[0m\\x1b[2J\\u{202e}\n";
        assert_eq!(written(coloured), shown);
        assert_eq!(written(Style::plain()), shown.replace('\x1b', "\\x1b"));
    }
}
