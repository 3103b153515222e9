//! How much of a log is shown: what was written since a time, and of that the last lines.

use std::collections::{BTreeMap, VecDeque};
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::logs::Clock;
use crate::quantity::Seconds;
use crate::resource::{LogLine, Read};

/// How many of the last lines of a log are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// All that there are.
    All,
    /// So many.
    Last(u32),
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Tail::All),
            number => number
                .parse()
                .map(Tail::Last)
                .map_err(|_| "write a number of lines, or `all`".to_owned()),
        }
    }
}

/// Since when lines are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Since {
    /// For so long before now.
    Ago(Duration),
    /// From this time on.
    At(Timestamp),
}

impl Since {
    /// The time, seen from now.
    pub(super) fn timestamp(self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago(duration) => SignedDuration::try_from(duration)
                .ok()
                .and_then(|ago| now.checked_sub(ago).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(ago) = text.parse::<Seconds>() {
            return Ok(Since::Ago(ago.duration()));
        }
        // Without a zone it is the time on the clock of who types it.
        let local = |at: DateTime| {
            at.to_zoned_datetime(TimeZone::system())
                .map(|at| at.timestamp())
        };
        let at = text
            .parse::<Timestamp>()
            .or_else(|_| text.parse().and_then(local));
        at.map(Since::At).map_err(|_| {
            "write how long ago, as in `10m` or `1h30m`, or when, as in `2026-11-26T15:04:29Z` or \
             `2026-11-26 15:04`"
                .to_owned()
        })
    }
}

/// Passes on the lines of a node's logs that are to be shown, each with the time that it tells.
#[derive(Debug)]
pub(super) struct Window {
    now: Timestamp,
    since: Option<Timestamp>,
    tail: Option<usize>,
    clock: Option<Clock>,
    /// Of each thing whether its last line with a time was late enough: those without follow it.
    is_since: BTreeMap<String, bool>,
    /// Of each thing the last lines, until all that there was is read.
    last: Option<BTreeMap<String, VecDeque<Dated>>>,
}

/// A line, and when it was written, where it says so.
pub(super) type Dated = (LogLine, Option<Timestamp>);

impl Window {
    /// What was written since a time, and of what there is by now the last lines. Without a time the
    /// node itself cuts what it sends.
    pub(super) fn new(since: Option<Since>, tail: Tail, now: Timestamp) -> Self {
        let since = since.map(|since| since.timestamp(now));
        let tail = match tail {
            Tail::Last(lines) if since.is_some() => Some(lines as usize),
            _ => None,
        };
        Self {
            now,
            since,
            tail,
            clock: None,
            is_since: BTreeMap::new(),
            last: tail.map(|_| BTreeMap::new()),
        }
    }

    /// Takes what was read next, and returns what is to be shown now.
    pub(super) fn take(&mut self, read: Read) -> Vec<Dated> {
        match read {
            Read::Zone(offset) => {
                let now = self.now;
                self.clock = Some(Clock { now, offset });
                Vec::new()
            }
            Read::All => {
                let last = self.last.take().unwrap_or_default();
                last.into_values().flatten().collect()
            }
            Read::Line(line) => self.line(line).into_iter().collect(),
        }
    }

    /// Takes the next line, and returns it where it is to be shown now.
    pub(super) fn line(&mut self, line: LogLine) -> Option<Dated> {
        let written = self.clock.and_then(|clock| clock.read(&line.text));
        if let Some(since) = self.since {
            let is_since = self.is_since.entry(line.thing.clone()).or_default();
            if let Some(written) = written {
                *is_since = written >= since;
            }
            if !*is_since {
                return None;
            }
        }
        let (Some(last), Some(tail)) = (&mut self.last, self.tail) else {
            return Some((line, written));
        };
        let last = last.entry(line.thing.clone()).or_default();
        last.push_back((line, written));
        if last.len() > tail {
            last.pop_front();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn since_is_a_length_of_time_or_a_time() {
        let at = |text: &str| {
            text.parse::<Since>()
                .map(|since| since.timestamp(now()).to_string())
        };
        assert_eq!(at("10m").unwrap(), "2026-11-26T11:50:00Z");
        assert_eq!(at("1h30m").unwrap(), "2026-11-26T10:30:00Z");
        assert_eq!(at("90").unwrap(), "2026-11-26T11:58:30Z");
        assert_eq!(at("99999h").unwrap(), "2015-06-30T21:00:00Z");
        assert_eq!(
            at("2026-11-26T13:00:00+02:00").unwrap(),
            "2026-11-26T11:00:00Z"
        );
        for local in ["2026-11-26T11:00", "2026-11-26 11:00:30", "2026-11-26"] {
            assert!(at(local).is_ok(), "{local}");
        }
        for wrong in ["", "yesterday", "-5m", "10x", "26.11.2026"] {
            assert!(at(wrong).unwrap_err().contains("10m"), "{wrong}");
        }
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!("7".parse(), Ok(Tail::Last(7)));
        assert_eq!("all".parse(), Ok(Tail::All));
        for wrong in ["", "-1", "some"] {
            assert!(wrong.parse::<Tail>().is_err(), "{wrong}");
        }
    }

    fn line(text: &str) -> Read {
        Read::Line(LogLine {
            thing: text.split(' ').next().unwrap().to_owned(),
            generation: 1,
            text: text.split_once(' ').unwrap().1.to_owned(),
        })
    }

    fn shown(since: Option<&str>, tail: Tail) -> Vec<String> {
        let since = since.map(|since| since.parse().unwrap());
        let mut window = Window::new(since, tail, now());
        let reads = [
            Read::Zone(Offset::UTC),
            line("a Traceback of long ago"),
            line("a INFO 11-26 11:40:00 [x] old"),
            line("a of the old one"),
            line("b INFO 11-26 11:55:00 [x] b"),
            line("a INFO 11-26 11:55:00 [x] new"),
            line("a of the new one"),
            Read::All,
            line("a since"),
        ];
        let dated = reads.into_iter().flat_map(|read| window.take(read));
        dated
            .map(|(line, at)| {
                let text = line.text.rsplit(' ').next().unwrap().to_owned();
                format!("{}{}", text, if at.is_some() { "*" } else { "" })
            })
            .collect()
    }

    #[test]
    fn lines_without_a_time_belong_to_the_one_before() {
        let all = ["ago", "old*", "one", "b*", "new*", "one", "since"];
        assert_eq!(shown(None, Tail::All), all);
        assert_eq!(
            shown(Some("10m"), Tail::All),
            ["b*", "new*", "one", "since"]
        );
        assert_eq!(shown(Some("1m"), Tail::All), Vec::<String>::new());
    }

    #[test]
    fn the_last_lines_are_those_of_what_there_was() {
        assert_eq!(shown(Some("1h"), Tail::Last(1)), ["one", "b*", "since"]);
        assert_eq!(shown(Some("1h"), Tail::Last(0)), ["since"]);
        // Without a time the node has cut them.
        assert_eq!(shown(None, Tail::Last(1)).len(), 7);
    }
}
