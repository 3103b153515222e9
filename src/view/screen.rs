//! The two streams, and what may be done to each.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use super::confirm::{self, Answer, Question};
use super::error::{self, Kind};
use super::style::Style;

/// Where everything is printed: results on the standard output, talk on the standard error.
///
/// Clones are the same screen. Lines that are drawn over and over (spinners) give way to every
/// other line, so no two writers ever meet on one.
#[derive(Debug, Clone)]
pub struct Screen {
    out: Style,
    talk: Style,
    json: bool,
    draws: bool,
    bars: MultiProgress,
}

impl Screen {
    /// Looks at the streams and at `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and `COLUMNS`.
    ///
    /// `verbose` unfolds details; `json` says that the result is one JSON document.
    pub fn new(verbose: bool, json: bool) -> Self {
        let (out, talk) = (io::stdout(), io::stderr());
        let draws = talk.is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        let target = if draws {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = |colour, terminal, width| Style {
            colour: colour != ColorChoice::Never,
            width,
            folds: terminal,
            verbose,
        };
        Self {
            out: style(AutoStream::choice(&out), out.is_terminal(), width(&out)),
            talk: style(AutoStream::choice(&talk), talk.is_terminal(), width(&talk)),
            json,
            draws,
            bars: MultiProgress::with_draw_target(target),
        }
    }

    /// Whether the result is one JSON document.
    pub fn is_json(&self) -> bool {
        self.json
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
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        forgive_broken_pipe(written)
    }

    /// Writes the one JSON document that is the result.
    pub fn document(&self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(document)?;
        self.result(&(text + "\n"))
    }

    /// Writes rendered talk to the standard error.
    pub fn say(&self, text: &str) {
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
            let (mut input, mut output) = (input.lock(), io::stderr().lock());
            confirm::ask(question, &mut input, &mut output, self.talk)
        })
    }

    /// Where bars are drawn, on a terminal.
    pub(super) fn bars(&self) -> Option<MultiProgress> {
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
        self.0.bars.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

fn forgive_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
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
        assert!(forgive_broken_pipe(error(io::ErrorKind::BrokenPipe)).is_ok());
        assert!(forgive_broken_pipe(error(io::ErrorKind::StorageFull)).is_err());
    }
}
