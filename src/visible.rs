//! Texts of others, so that nothing in them steers a terminal or deceives who reads.
//!
//! Command lines, logs, names, bodies and manifests come from elsewhere. What moves a cursor, what
//! turns the order of letters round, and what is not seen at all is shown as what it is: `\x1b`,
//! `\u{202e}`. Letters of every script stay, with their marks, and so do emoji.

use std::borrow::Cow;

/// Joins what stands on either side of it: two emoji become one.
const JOINER: char = '\u{200d}';

/// Whether a character is not shown as a sign of its own: it steers a terminal, turns the order of
/// letters round, breaks a line, or is not seen at all.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // They turn the order of letters round: a text reads otherwise than it is.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // They break a line where there is no line break.
            | '\u{2028}' | '\u{2029}'
            // They take no room, or look like a space: two names look the same.
            | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            // Tags: a whole text that nobody sees.
            | '\u{e0000}'..='\u{e0fff}')
}

/// A text in which everything is seen. Line breaks and tabs stay; a line break is one wherever the
/// text was written.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    shown(text, |c| c == '\n' || c == '\t')
}

/// The same on one line.
pub(crate) fn visible_on_one_line(text: &str) -> Cow<'_, str> {
    shown(text, |_| false)
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_hidden = |c: char| is_unseen(c) && !stays(c);
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied();
        if c == '\r' && after == Some('\n') && stays('\n') {
            continue;
        }
        if is_hidden(c) && !is_part_of_an_emoji(before, c, after) {
            seen.push_str(&escaped(c));
            before = None;
            continue;
        }
        seen.push(c);
        // What only says how an emoji is drawn does not part it from what it is joined with.
        if c != DRAWN_AS_AN_EMOJI {
            before = Some(c);
        }
    }
    Cow::Owned(seen)
}

/// How a character is written that is not to be drawn.
pub(crate) fn escaped(c: char) -> String {
    match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c if c.is_ascii() => format!("\\x{:02x}", u32::from(c)),
        c => c.escape_unicode().to_string(),
    }
}

/// Says that the sign before it is drawn as an emoji.
const DRAWN_AS_AN_EMOJI: char = '\u{fe0f}';

/// Whether a character that takes no room makes one picture of what is beside it.
fn is_part_of_an_emoji(before: Option<char>, c: char, after: Option<char>) -> bool {
    match c {
        JOINER => before.is_some_and(is_picture) && after.is_some_and(is_picture),
        // One alone: of several, the others say nothing to anybody but a machine.
        DRAWN_AS_AN_EMOJI => before.is_some_and(is_picture) && after != Some(c),
        _ => false,
    }
}

fn is_picture(c: char) -> bool {
    matches!(c,
        '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}'
        | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// The bytes of the sequence with which a text begins that sets colour or weight and nothing else;
/// `ESC [ 0 ; 3 6 m`.
fn colouring(text: &str) -> Option<&str> {
    let settings = text.strip_prefix("\x1b[")?;
    let end = settings.find(|c: char| !c.is_ascii_digit() && !matches!(c, ';' | ':'))?;
    settings[end..].starts_with('m').then(|| &text[..end + 3])
}

/// Whether such a sequence leaves every letter to be seen: a colour of letters, or their weight.
/// Black, backgrounds and what is concealed could hide some.
fn leaves_letters_seen(sequence: &str) -> bool {
    let settings = sequence.trim_start_matches("\x1b[").trim_end_matches('m');
    settings.split(';').all(|setting| {
        let setting = setting.trim_start_matches('0');
        matches!(
            setting,
            "" | "1" | "2" | "3" | "4" | "22" | "23" | "24" | "39"
        ) || matches!(setting.parse(), Ok(31..=37 | 91..=97))
    })
}

/// A text without the sequences that set colours.
pub(crate) fn without_colours(text: &str) -> Cow<'_, str> {
    if !text.contains("\x1b[") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(by_colours(text, |_| "", str::to_owned))
}

/// A text as it may go to a terminal: in it are line breaks, tabs, colours of letters, and what is
/// seen. Colours end with it.
pub(crate) fn visible_in_colour(text: &str) -> String {
    let mut is_open = false;
    let mut seen = by_colours(
        text,
        |sequence| {
            if !leaves_letters_seen(sequence) {
                return "";
            }
            is_open = !matches!(sequence, "\x1b[m" | "\x1b[0m" | "\x1b[0;0m");
            sequence
        },
        |between| visible(between).into_owned(),
    );
    if is_open {
        let end = seen.trim_end_matches('\n').len();
        seen.insert_str(end, "\x1b[0m");
    }
    seen
}

/// Takes a text apart into the sequences that set colours and what stands between them.
fn by_colours<'a>(
    text: &'a str,
    mut colour: impl FnMut(&'a str) -> &'a str,
    between: impl Fn(&str) -> String,
) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut from, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\x1b') {
        at += found;
        match colouring(&text[at..]) {
            None => at += 1,
            Some(sequence) => {
                out += &between(&text[from..at]);
                out += colour(sequence);
                at += sequence.len();
                from = at;
            }
        }
    }
    out + &between(&text[from..])
}

/// A text of JSON in which everything is seen: what is not is written as JSON escapes it, so that it
/// means the same.
pub(crate) fn visible_json(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| is_unseen(c) && c != '\n';
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            seen.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            seen.push(c);
        }
    }
    Cow::Owned(seen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_or_hides_is_shown_as_what_it_is() {
        let cases = [
            ("\x1b]0;t\x07\x1b[2J", r"\x1b]0;t\x07\x1b[2J"),
            ("a\u{9b}2Jb\u{9d}0;t\u{9c}", r"a\u{9b}2Jb\u{9d}0;t\u{9c}"),
            ("\x7f\0\r", r"\x7f\x00\r"),
            ("invoice\u{202e}fdp.exe", r"invoice\u{202e}fdp.exe"),
            ("\u{2066}a\u{2069}\u{61c}", r"\u{2066}a\u{2069}\u{61c}"),
            ("a\u{2028}b\u{85}c", r"a\u{2028}b\u{85}c"),
            ("ro\u{200b}ot\u{feff}", r"ro\u{200b}ot\u{feff}"),
            ("x\u{e0041}\u{e007f}", r"x\u{e0041}\u{e007f}"),
            ("a\u{fe0f}b", r"a\u{fe0f}b"),
            ("a\u{200d}b", r"a\u{200d}b"),
        ];
        for (text, want) in cases {
            assert_eq!(visible(text), want);
            assert_eq!(visible_on_one_line(text), want);
        }
        assert_eq!(visible_on_one_line("a\n\tb"), r"a\n\tb");
    }

    #[test]
    fn what_people_write_stays() {
        for text in [
            "日本語のテキスト、\u{3000}半角ｶﾅ",
            "e\u{301}le\u{300}ve, Ångström",
            "שלום, עולם; السلام عليكم",
            "👩\u{200d}💻 ❤\u{fe0f} 🏳\u{fe0f}\u{200d}🌈 👍🏽 🇯🇵",
            "two\n\tlines",
        ] {
            assert_eq!(visible(text), text);
        }
        assert_eq!(visible("two\r\nlines\r"), "two\nlines\\r");
    }

    #[test]
    fn colours_of_letters_pass_and_end() {
        let cases = [
            ("\x1b[0;36m(a)\x1b[0;0m b", "\x1b[0;36m(a)\x1b[0;0m b"),
            ("\x1b[1m\x1b[91ma\n", "\x1b[1m\x1b[91ma\x1b[0m\n"),
            // Black on black, concealed, a background: it would not be seen.
            ("\x1b[30;40ma\x1b[8mb\x1b[38;5;0mc", "abc"),
            ("\x1b[31", r"\x1b[31"),
            (
                "\x1b[2J\x1b[1;31mx\x1b[H",
                "\\x1b[2J\x1b[1;31mx\\x1b[H\x1b[0m",
            ),
        ];
        for (text, want) in cases {
            assert_eq!(visible_in_colour(text), want);
        }
        assert_eq!(without_colours("\x1b[0;36m(a)\x1b[0m b\x1b[8m"), "(a) b");
    }

    #[test]
    fn a_document_means_the_same() {
        let text = "\u{202e}a\u{7f}\u{e0041}\u{9b}\x1b 日本";
        let written = serde_json::to_string_pretty(&[text]).unwrap();
        let seen = visible_json(&written);
        assert!(seen.contains(r"\u202ea\u007f\udb40\udc41\u009b\u001b 日本"));
        let read: Vec<String> = serde_json::from_str(&seen).unwrap();
        assert_eq!(read, [text]);
    }

    /// Whatever is drawn of this class belongs to an emoji.
    fn is_seen_whole(text: &str) -> bool {
        let drawn: Vec<char> = text.chars().collect();
        drawn.iter().enumerate().all(|(at, c)| {
            let picture = |at: Option<usize>| {
                at.and_then(|at| drawn.get(at))
                    .is_some_and(|c| is_picture(*c) || *c == DRAWN_AS_AN_EMOJI)
            };
            match c {
                '\n' | '\t' => true,
                '\u{200d}' => picture(at.checked_sub(1)) && picture(Some(at + 1)),
                '\u{fe0f}' => picture(at.checked_sub(1)),
                c => !is_unseen(*c),
            }
        })
    }

    /// Texts in which what is looked for is more than once in a million.
    fn hostile() -> impl Strategy<Value = String> {
        let unseen = prop_oneof![
            Just('\x1b'),
            Just('\u{200d}'),
            Just('\u{fe0f}'),
            Just('👩'),
            proptest::char::range('\0', '\u{a0}'),
            proptest::char::range('\u{2000}', '\u{2070}'),
            proptest::char::range('\u{e0000}', '\u{e01ff}'),
            any::<char>(),
        ];
        let sequences = prop_oneof![
            Just("\x1b[31m"),
            Just("\x1b[8m"),
            Just("\x1b[0m"),
            Just("\u{9b}")
        ];
        let piece = prop_oneof![
            unseen.prop_map(String::from),
            sequences.prop_map(str::to_owned)
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_unseen_comes_out(text in hostile()) {
            prop_assert!(is_seen_whole(&visible(&text)));
            prop_assert!(!visible_on_one_line(&text).contains(['\n', '\t']));
            let coloured = visible_in_colour(&text);
            prop_assert!(is_seen_whole(&without_colours(&coloured)), "{coloured:?}");
            let written = serde_json::to_string(&text).unwrap();
            let seen = visible_json(&written);
            prop_assert!(!seen.chars().any(is_unseen));
            prop_assert_eq!(serde_json::from_str::<String>(&seen).unwrap(), text);
        }

        #[test]
        fn what_is_seen_already_stays(text in hostile()) {
            let once = visible(&text).into_owned();
            prop_assert_eq!(visible(&once), once.as_str());
        }
    }
}
