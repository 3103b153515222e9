//! The logs of a node: how they are read there, and what comes of it line by line.

use std::collections::BTreeMap;

use jiff::tz::Offset;

use super::node_files::StateFolder;
use crate::node::{Command, LOG_TEXT, quote_path};

/// Which logs of a node are wanted, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsWanted {
    /// The things, as their addresses call them on the node; nothing for all that there are.
    pub things: Vec<String>,
    /// How many of the last lines of each; nothing for all.
    pub tail: Option<u32>,
    /// Whether to go on as they grow.
    pub follow: bool,
}

impl LogsWanted {
    /// The command that prints them, for a [`LogReading`] to read.
    pub fn command(&self, folder: &StateFolder) -> Command {
        let script = format!(
            "r_folder={}\n{}{}",
            quote_path(&folder.logs()),
            LOG_TEXT,
            include_str!("logged.sh")
        );
        let lines = match self.tail {
            Some(lines) => lines.to_string(),
            None => "+1".to_owned(),
        };
        Command::script(script)
            .with("r_things", &self.things.join(" "))
            .with("r_lines", &lines)
            .with("r_follow", if self.follow { "yes" } else { "" })
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The thing, as its address calls it on its node: `instance.a`.
    pub thing: String,
    /// Which of its starts wrote it.
    pub generation: u64,
    /// The line, without its end.
    pub text: String,
}

/// What comes of reading logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// How far the clock of the node is from UTC.
    Zone(Offset),
    /// The next line of a log.
    Line(LogLine),
    /// All that was wanted of what there was has been read; what follows has come since.
    All,
}

/// Reads what a command of [`LogsWanted`] prints, line by line.
#[derive(Debug, Default)]
pub struct LogReading {
    /// The log that is being read.
    of: Option<(String, u64)>,
    /// How its next line begins, where that was read before.
    begun: Option<String>,
    /// Its last line, of which only what follows tells whether it has ended.
    last: Option<String>,
    /// Of each thing the line that had not ended yet, and which start wrote it.
    open: BTreeMap<String, (u64, String)>,
}

impl LogReading {
    /// Takes a line, and returns what it completes.
    pub fn take(&mut self, line: &str) -> Option<Read> {
        if let Some(text) = line.strip_prefix(' ') {
            let text = self.begun.take().unwrap_or_default() + text;
            return self.last.replace(text).and_then(|last| self.line(last));
        }
        match line.split_once(' ').unwrap_or((line, "")) {
            ("zone", zone) => offset(zone).map(Read::Zone),
            ("piece", of) => self.begin(of),
            ("end", _) => self.last.take().and_then(|last| self.line(last)),
            ("open", _) => {
                self.keep_open();
                None
            }
            ("read", _) => Some(Read::All),
            _ => None,
        }
    }

    /// What had not ended when everything did.
    pub fn rest(self) -> impl Iterator<Item = LogLine> {
        let open = self.open.into_iter();
        open.map(|(thing, (generation, text))| LogLine {
            thing,
            generation,
            text,
        })
    }

    /// Begins with another piece: of the same log as before, or of the next start, to which the open
    /// line of the last does not belong.
    fn begin(&mut self, of: &str) -> Option<Read> {
        let (thing, generation) = of.split_once(' ')?;
        let generation = generation.parse().ok()?;
        self.of = Some((thing.to_owned(), generation));
        match self.open.remove(thing) {
            Some((at, begun)) if at == generation => {
                self.begun = Some(begun);
                None
            }
            Some((generation, text)) => Some(Read::Line(LogLine {
                thing: thing.to_owned(),
                generation,
                text,
            })),
            None => None,
        }
    }

    fn keep_open(&mut self) {
        let open = self.last.take().or_else(|| self.begun.take());
        if let (Some(text), Some((thing, generation))) = (open, &self.of) {
            self.open.insert(thing.clone(), (*generation, text));
        }
    }

    fn line(&self, text: String) -> Option<Read> {
        let (thing, generation) = self.of.clone()?;
        Some(Read::Line(LogLine {
            thing,
            generation,
            text,
        }))
    }
}

/// Reads `+0530`, as `date +%z` says it.
fn offset(zone: &str) -> Option<Offset> {
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes) = digits.split_at_checked(2)?;
    let seconds = (hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?) * 60;
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Vec<String> {
        let mut reading = LogReading::default();
        let said = |line: LogLine| format!("{} {}: {}", line.thing, line.generation, line.text);
        let mut seen: Vec<String> = lines
            .lines()
            .filter_map(|line| match reading.take(line)? {
                Read::Line(line) => Some(said(line)),
                Read::Zone(offset) => Some(offset.seconds().to_string()),
                Read::All => Some("all".to_owned()),
            })
            .collect();
        seen.extend(reading.rest().map(said));
        seen
    }

    #[test]
    fn lines_are_whole_and_each_has_its_start() {
        let lines =
            "zone -0130\npiece instance.a 1\n one\n  two\nend\npiece proxy 3\n x\nend\nread\n";
        let want = [
            "-5400",
            "instance.a 1: one",
            "instance.a 1:  two",
            "proxy 3: x",
            "all",
        ];
        assert_eq!(read(lines), want);
    }

    #[test]
    fn a_line_that_has_not_ended_goes_on_in_its_own_log() {
        let lines =
            "piece a 1\n one\n tw\n\nopen\npiece b 1\n b\nend\npiece a 1\n o\n three\nend\n";
        assert_eq!(
            read(lines),
            ["a 1: one", "b 1: b", "a 1: two", "a 1: three"]
        );
        // Of one that never ends, all is told in the end; before the next start, where there is one.
        assert_eq!(read("piece a 1\n tw\n\nopen\n"), ["a 1: tw"]);
        let replaced = "piece a 1\n tw\n\nopen\npiece a 2\n one\nend\n";
        assert_eq!(read(replaced), ["a 1: tw", "a 2: one"]);
    }

    #[test]
    fn what_a_log_says_is_never_taken_for_what_the_script_says() {
        let lines = "piece a 1\n end\n piece b 2\n read\nend\n";
        assert_eq!(read(lines), ["a 1: end", "a 1: piece b 2", "a 1: read"]);
        assert_eq!(
            read("noise\n stray\nend\nopen\npiece\npiece a\npiece a x\n"),
            Vec::<String>::new()
        );
    }
}
