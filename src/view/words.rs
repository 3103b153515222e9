//! English for numbers: counts, durations, sizes; and the breaking of lines.

use std::time::Duration;

pub use crate::english::list;
use crate::plan::{Action, Change};
use crate::visible::{visible, without_colours};

/// A count with its noun: `1 proxy`, `2 instances`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {}", plural(noun))
    }
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        // `proxy` is the case above; `lens` and `match` are what the rest is for.
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A duration as precisely as a reader cares: `84ms`, `3.2s`, `1m05s`, `3h04m`, `2d03h`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    // Compared after rounding, so that 59.97 s is `1m00s` and never `60.0s`.
    let tenths = (millis + 50) / 100;
    let seconds = (millis + 500) / 1000;
    match (millis, tenths, seconds) {
        (0..100, ..) => format!("{millis}ms"),
        (_, 0..600, _) => format!("{}.{}s", tenths / 10, tenths % 10),
        (.., 0..3600) => format!("{}m{:02}s", seconds / 60, seconds % 60),
        (.., 0..86_400) => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long something has been going on, in whole seconds: `10s`, `1m05s`.
pub fn elapsed(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => duration(Duration::from_secs(seconds)),
    }
}

/// A size in the units that disks and model cards use: `16.1 GB`, `512 B`.
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().unwrap_or("B");
    for next in units {
        // 999.95 would be printed as `1000.0`.
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{size:.1} {unit}")
    }
}

/// Milliseconds with the digits that mean something: `0.12`, `14.6`, `171`.
pub fn millis(millis: f64) -> String {
    number(millis)
}

/// A measured number with about three significant digits, and never fewer than its
/// whole part: `0.25`, `26.5`, `382`, `18630`.
pub fn number(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{number:.digits$}")
}

/// What is being done to a thing: `creating`.
pub fn doing(change: &Change) -> &'static str {
    if change.is_measurement() {
        return "measuring";
    }
    match change.action {
        Action::Keep => "keeping",
        Action::Create => "creating",
        Action::Update => "updating",
        Action::Replace => "replacing",
        Action::Destroy => "destroying",
        Action::Blocked => "blocked",
    }
}

/// What was done to a thing: `created`.
pub fn done(action: Action) -> &'static str {
    match action {
        Action::Keep => "kept",
        Action::Create => "created",
        Action::Update => "updated",
        Action::Replace => "replaced",
        Action::Destroy => "destroyed",
        Action::Blocked => "blocked",
    }
}

/// A text of another's making as it is laid out: without its colours, and with all that could move
/// a terminal's cursor or hide something shown as what it is. Line breaks stay.
///
/// Command lines, logs and bodies come from processes that are not ours. The [`Screen`](super::Screen)
/// shows nothing unseen in any case; here it is done before widths are counted.
pub fn clean(text: &str) -> String {
    visible(&without_colours(text)).replace('\t', "    ")
}

/// A line of a log as it looked when it was last drawn.
pub fn log_line(line: &str) -> String {
    clean(last_drawn(line))
}

/// What was last drawn of a line: a progress bar draws itself over and over on one line, a carriage
/// return between.
pub fn last_drawn(line: &str) -> &str {
    let last = line.trim_end().rsplit('\r').find(|part| !part.is_empty());
    last.unwrap_or_default()
}

/// Breaks a text into lines of at most `width` characters, between words.
///
/// A word that is longer stays whole: it is a path or an id that somebody will copy. So does what
/// stands in backticks, which is a command as often as not. Width is counted in characters, which is
/// wrong for scripts whose letters are two columns wide.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in words(paragraph) {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// The words of a line; a span in backticks belongs to one word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = end_of_word(rest);
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

fn end_of_word(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let space = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let opened = rest.find('`').filter(|tick| *tick < space);
        let closed = opened.and_then(|tick| Some(tick + 2 + rest[tick + 1..].find('`')?));
        match closed {
            Some(closed) => at += closed,
            None => return at + space,
        }
    }
}

/// How many columns a text takes; escape sequences take none.
pub fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text)
        .map(|part| part.chars().count())
        .sum()
}

/// The beginning of a text, as many whole words as go into so many columns.
pub fn beginning(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let first = wrap(text, width.saturating_sub(2)).into_iter().next();
    format!("{} …", first.unwrap_or_default())
}

/// Cuts a text to so many columns and says so with `…`.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_speak_english() {
        assert_eq!(count(0, "instance"), "0 instances");
        assert_eq!(count(1, "proxy"), "1 proxy");
        assert_eq!(count(2, "proxy"), "2 proxies");
        assert_eq!(count(2, "key"), "2 keys");
    }

    #[test]
    fn durations_round_without_ever_showing_sixty() {
        let shown = |millis| duration(Duration::from_millis(millis));
        assert_eq!(shown(84), "84ms");
        assert_eq!(shown(3_240), "3.2s");
        assert_eq!(shown(59_960), "1m00s");
        assert_eq!(shown(65_000), "1m05s");
        assert_eq!(shown(3_599_700), "1h00m");
        assert_eq!(shown(11_040_000), "3h04m");
        assert_eq!(shown(183_600_000), "2d03h");
        assert_eq!(elapsed(Duration::from_millis(10_900)), "10s");
        assert_eq!(elapsed(Duration::from_millis(65_900)), "1m05s");
    }

    #[test]
    fn sizes_and_numbers_keep_what_means_something() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(999_990), "1.0 MB");
        assert_eq!(bytes(16_070_000_000), "16.1 GB");
        assert_eq!(number(0.254), "0.25");
        assert_eq!(number(26.54), "26.5");
        assert_eq!(number(99.97), "100");
        assert_eq!(number(18_630.2), "18630");
    }

    #[test]
    fn what_others_wrote_cannot_move_the_cursor() {
        assert_eq!(
            clean("a\x1b[2J\x1b[1;31mb\x07\tc\r\nd\u{9b}H"),
            "a\\x1b[2Jb\\x07    c\nd\\u{9b}H"
        );
        assert_eq!(
            log_line("Loading:  50%\rLoading: 100%\r\n"),
            "Loading: 100%"
        );
    }

    #[test]
    fn lines_break_between_words_and_never_inside_one() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("a /very/long/path b", 6),
            ["a", "/very/long/path", "b"]
        );
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(beginning("one two three", 9), "one two …");
        assert_eq!(beginning("one two", 9), "one two");
        assert_eq!(wrap("\x1b[1mone\x1b[0m two", 7).len(), 1);
    }

    #[test]
    fn a_command_in_backticks_is_never_broken() {
        assert_eq!(
            wrap("run `replica plan a.yaml` (or `b`), then go", 12),
            ["run", "`replica plan a.yaml`", "(or `b`),", "then go"]
        );
        assert_eq!(wrap("a ` alone b", 4), ["a `", "alone", "b"]);
    }
}
