//! When a line of a log was written, as far as it says.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

use crate::visible::without_colours;

/// How far a clock may be ahead of ours: a line from beyond is one of last year.
const AHEAD_SECONDS: i64 = 24 * 60 * 60;

/// The clock that a log was written by, read at a known time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// When the log is read.
    pub now: Timestamp,
    /// How far its node is from UTC now. What was written before the clocks were changed is told an
    /// hour wrong: the line does not say on which side it stands.
    pub offset: Offset,
}

impl Clock {
    /// When a line was written: `INFO 11-26 15:04:29 [...]` as vLLM writes it, with who says it
    /// before or not, or a whole date at its beginning. Many lines do not say.
    pub fn read(&self, line: &str) -> Option<Timestamp> {
        let line = without_colours(line);
        let line = match line.split_once(") ") {
            Some((who, rest)) if who.starts_with('(') => rest,
            _ => &line,
        };
        let mut words = line.split_whitespace();
        let (first, second) = (words.next()?, words.next().unwrap_or_default());
        whole(first, second, self.offset).or_else(|| self.without_year(second, words.next()?))
    }

    fn without_year(&self, date: &str, time: &str) -> Option<Timestamp> {
        let (month, day) = date.split_once('-')?;
        let (month, day) = (two_digits(month)?, two_digits(day)?);
        let time: Time = time.parse().ok()?;
        let this_year = self.offset.to_datetime(self.now).year();
        let in_year = |year| {
            let date = Date::new(year, month, day).ok()?;
            self.offset.to_timestamp(date.to_datetime(time)).ok()
        };
        let latest = self.now.as_second() + AHEAD_SECONDS;
        in_year(this_year)
            .filter(|at| at.as_second() <= latest)
            .or_else(|| in_year(this_year - 1))
    }
}

/// Reads `2026-11-26T15:04:29.5Z`, or `2026-11-26 15:04:29,500` of the node's own clock.
fn whole(first: &str, second: &str, offset: Offset) -> Option<Timestamp> {
    if !first.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if first.contains('T') {
        let local = || offset.to_timestamp(first.parse::<DateTime>().ok()?).ok();
        return first.parse().ok().or_else(local);
    }
    let date: Date = first.parse().ok()?;
    let time: Time = second.replace(',', ".").parse().ok()?;
    offset.to_timestamp(date.to_datetime(time)).ok()
}

fn two_digits(text: &str) -> Option<i8> {
    (text.len() == 2).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, now: &str) -> Option<String> {
        let clock = Clock {
            now: now.parse().unwrap(),
            offset: Offset::from_seconds(3600).unwrap(),
        };
        clock.read(line).map(|at| at.to_string())
    }

    #[test]
    fn a_line_says_when_it_was_written_or_it_does_not() {
        let cases = [
            (
                "\x1b[0;36m(EngineCore_DP0 pid=7)\x1b[0;0m INFO 11-26 15:04:29 [core.py:1] x",
                Some("2026-11-26T14:04:29Z"),
            ),
            (
                "WARNING 11-26 15:04:29 [api_server.py:1] x",
                Some("2026-11-26T14:04:29Z"),
            ),
            (
                "2026-11-26T15:04:29.5Z  INFO serving",
                Some("2026-11-26T15:04:29.5Z"),
            ),
            (
                "2026-11-26 15:04:29,250 - vllm - INFO",
                Some("2026-11-26T14:04:29.25Z"),
            ),
            (
                "(APIServer pid=7) INFO:     127.0.0.1:1 - \"GET / HTTP/1.1\" 200 OK",
                None,
            ),
            ("INFO 13-26 15:04:29 [x] x", None),
            ("INFO 1-2 15:04:29 [x] x", None),
            ("Traceback (most recent call last):", None),
            ("", None),
        ];
        for (line, want) in cases {
            assert_eq!(
                read(line, "2026-11-26T14:10:00Z").as_deref(),
                want,
                "{line}"
            );
        }
    }

    #[test]
    fn the_year_is_the_one_that_has_been() {
        let line = "INFO 12-31 23:59:00 [x] x";
        let year = |now| read(line, now).unwrap();
        assert_eq!(year("2027-01-01T00:10:00Z"), "2026-12-31T22:59:00Z");
        assert_eq!(year("2026-12-31T22:30:00Z"), "2026-12-31T22:59:00Z");
    }
}
