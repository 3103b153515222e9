//! What an answer says of the tokens that its request has used, where one instance has read the prompt for
//! another.
//!
//! Who fetches what another has computed reports all of it as cached. How much really was, only the other
//! knows; so that number is put in its place, and where it was not told, there is none. Nothing else of an
//! answer is touched, and what comes of a stream is passed on as it comes, but for a line that is not whole.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use super::top_level::{Pairs, place};

/// What is longer is no line that tells the usage of a stream: such a line has no text of the model's.
const LONGEST: usize = 64 * 1024;

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"choices\""));

/// The same answer with this number of cached tokens; nothing where it says nothing else.
pub(super) fn corrected(answer: &[u8], cached: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut pairs = Pairs::of(answer);
    let (_, usage) = pairs.find(|(key, _)| key == "usage")?;
    let mut details = Pairs::of(usage);
    let details = details.find(|(key, _)| key == "prompt_tokens_details");
    let (details, cached) = match (details, cached) {
        (Some((_, details)), Some(cached)) => (details, cached),
        // As a server says it that does not tell.
        (Some((_, details)), None) => {
            let told = details.starts_with(b"{");
            return told.then(|| spliced(answer, details, &[b"null"]));
        }
        (None, Some(cached)) => return untold(answer, usage, cached),
        (None, None) => return None,
    };
    let mut tokens = Pairs::of(details);
    match tokens.find(|(key, _)| key == "cached_tokens") {
        Some((_, same)) if same == cached => None,
        Some((_, other)) => Some(spliced(answer, other, &[cached])),
        None => {
            let object: [&[u8]; 3] = [b"{\"cached_tokens\":", cached, b"}"];
            Some(spliced(answer, details, &object))
        }
    }
}

/// The same where no details were told.
fn untold(answer: &[u8], usage: &[u8], cached: &[u8]) -> Option<Vec<u8>> {
    let inside = usage.strip_prefix(b"{")?;
    let comma: &[u8] = match Pairs::of(usage).next() {
        Some(_) => b",",
        None => b"",
    };
    let details: [&[u8]; 4] = [
        b"\"prompt_tokens_details\":{\"cached_tokens\":",
        cached,
        b"}",
        comma,
    ];
    Some(spliced(answer, &inside[..0], &details))
}

/// A text with other words in the place of a part of it.
fn spliced(text: &[u8], part: &[u8], words: &[&[u8]]) -> Vec<u8> {
    let place = place(part, text);
    [&text[..place.start], &words.concat(), &text[place.end..]].concat()
}

/// Corrects the usage at the end of a stream of events.
#[derive(Debug)]
pub(super) struct Usage {
    cached: Option<Bytes>,
    /// The beginning of the line that is not whole yet.
    held: BytesMut,
    /// Whether the line that is coming is none that tells it, and was passed on in part.
    is_amid: bool,
    /// Whether it was told.
    is_over: bool,
}

impl Usage {
    /// With this number of cached tokens, where it is known.
    pub(super) fn with(cached: Option<Bytes>) -> Self {
        Self {
            cached,
            held: BytesMut::new(),
            is_amid: false,
            is_over: false,
        }
    }

    /// Takes the next piece, and returns what is passed on of what came.
    pub(super) fn pass(&mut self, mut piece: Bytes) -> Bytes {
        if self.is_over {
            return piece;
        }
        if self.is_amid {
            return self.pass_to_end_of_line(piece);
        }
        let whole = memchr::memrchr(b'\n', &piece).map_or(0, |at| at + 1);
        let rest = piece.split_off(whole);
        if !self.held.is_empty() && whole > 0 {
            self.held.extend_from_slice(&piece);
            piece = self.end();
        }
        self.held.extend_from_slice(&rest);
        let passed = self.pass_lines(piece);
        self.is_amid = self.held.len() > LONGEST;
        if self.is_over || self.is_amid {
            return joined(passed, self.end());
        }
        passed
    }

    /// What is left when nothing comes any more.
    pub(super) fn end(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    fn pass_to_end_of_line(&mut self, mut piece: Bytes) -> Bytes {
        let Some(end) = memchr::memchr(b'\n', &piece) else {
            return piece;
        };
        self.is_amid = false;
        let rest = piece.split_off(end + 1);
        let rest = self.pass(rest);
        joined(piece, rest)
    }

    /// Passes whole lines on.
    fn pass_lines(&mut self, lines: Bytes) -> Bytes {
        if CHOICES.find(&lines).is_none() {
            return lines;
        }
        let each = lines.split_inclusive(|byte| *byte == b'\n');
        let mut each = each.filter_map(data);
        let Some(told) = each.find(|data| tells_usage(data)) else {
            return lines;
        };
        self.is_over = true;
        match corrected(told, self.cached.as_deref()) {
            Some(corrected) => spliced(&lines, told, &[&corrected]).into(),
            None => lines,
        }
    }
}

fn joined(one: Bytes, other: Bytes) -> Bytes {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => [one, other].concat().into(),
    }
}

/// The data of a line that has some.
fn data(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(b"data:").map(<[u8]>::trim_ascii)
}

/// Whether an event is the one at the end that tells the usage: it has no choices.
fn tells_usage(data: &[u8]) -> bool {
    let (mut has_no_choices, mut has_usage) = (false, false);
    for (key, value) in Pairs::of(data) {
        match &*key {
            "choices" if is_empty_array(value) => has_no_choices = true,
            // As most do, which are told at once.
            "choices" => return false,
            "usage" => has_usage = value.starts_with(b"{"),
            _ => {}
        }
    }
    has_no_choices && has_usage
}

fn is_empty_array(value: &[u8]) -> bool {
    let inside = value
        .strip_prefix(b"[")
        .and_then(|it| it.strip_suffix(b"]"));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of_answer(answer: &str, cached: Option<&str>) -> Option<String> {
        let corrected = corrected(answer.as_bytes(), cached.map(str::as_bytes));
        corrected.map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn the_number_of_who_read_the_prompt_counts() {
        let answer = |details: &str| {
            format!(
                r#"{{"id":"c","choices":[{{"text":"\"usage\":{{}}"}}], "usage" : {{"prompt_tokens":300{details}}}}}"#
            )
        };
        let told = |tokens: &str| answer(&format!(r#","prompt_tokens_details":{tokens}"#));
        for (before, cached, after) in [
            (
                told(r#"{"cached_tokens": 299}"#),
                Some("16"),
                told(r#"{"cached_tokens": 16}"#),
            ),
            (told("null"), Some("16"), told(r#"{"cached_tokens":16}"#)),
            (
                told(r#"{"audio_tokens":1}"#),
                Some("16"),
                told(r#"{"cached_tokens":16}"#),
            ),
            (told(r#"{"cached_tokens":299}"#), None, told("null")),
        ] {
            assert_eq!(of_answer(&before, cached), Some(after), "{before}");
        }
        for (same, cached) in [
            (told(r#"{"cached_tokens":16}"#), Some("16")),
            (told("null"), None),
            (answer(""), None),
            (r#"{"usage":null}"#.to_owned(), Some("16")),
            (r#"{"id":"c"}"#.to_owned(), Some("16")),
        ] {
            assert_eq!(of_answer(&same, cached), None, "{same}");
        }
        let untold = of_answer(r#"{"usage":{"n":1}}"#, Some("2"));
        let expected = r#"{"usage":{"prompt_tokens_details":{"cached_tokens":2},"n":1}}"#;
        assert_eq!(untold.as_deref(), Some(expected));
        let empty = of_answer(r#"{"usage":{}}"#, Some("2"));
        let expected = r#"{"usage":{"prompt_tokens_details":{"cached_tokens":2}}}"#;
        assert_eq!(empty.as_deref(), Some(expected));
    }

    /// What comes through of a stream in these pieces.
    fn through<'a>(pieces: impl Iterator<Item = &'a [u8]>, cached: Option<&str>) -> String {
        let cached = cached.map(|it| Bytes::copy_from_slice(it.as_bytes()));
        let mut usage = Usage::with(cached);
        let mut passed = Vec::new();
        for piece in pieces {
            passed.extend(usage.pass(Bytes::copy_from_slice(piece)));
        }
        passed.extend(usage.end());
        String::from_utf8(passed).unwrap()
    }

    /// The same, done line by line with all of it at hand.
    fn expected(stream: &str, cached: Option<&str>) -> String {
        let mut is_over = false;
        let lines = stream.split_inclusive('\n').map(|line| {
            let end = line.trim_end_matches(['\r', '\n']).len();
            let Some(data) = line[..end].strip_prefix("data: ") else {
                return line.to_owned();
            };
            let Ok(event) = serde_json::from_str::<Value>(data) else {
                return line.to_owned();
            };
            let is_final = event["choices"] == json!([]) && event["usage"].is_object();
            if !is_final || std::mem::replace(&mut is_over, true) {
                return line.to_owned();
            }
            let data = of_answer(data, cached).unwrap_or_else(|| data.to_owned());
            format!("data: {data}{}", &line[end..])
        });
        lines.collect()
    }

    fn stream(end: &str) -> String {
        let events = [
            ": ping",
            r#"data: {"id":"c","choices":[{"text":"\"choices\":[]"}],"usage":null}"#,
            r#"data: {"id":"c","choices":[{"text":"é"}],"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":3}}}"#,
            r#"data: {"id":"c","choices":[],"usage":null}"#,
            r#"data: {"id":"c","choices":[ ],"usage":{"prompt_tokens":300,"prompt_tokens_details":{"cached_tokens":299}}}"#,
            "data: [DONE]",
        ];
        let ends = format!("{end}{end}");
        events.map(|it| it.to_owned() + &ends).concat()
    }

    #[test]
    fn only_the_last_usage_of_a_stream_is_touched_wherever_that_is_cut() {
        for end in ["\n", "\r\n"] {
            let stream = stream(end);
            let want = stream.replace(":299}", ":16}");
            assert_eq!(expected(&stream, Some("16")), want);
            for at in 0..=stream.len() {
                let (one, other) = stream.as_bytes().split_at(at);
                assert_eq!(through([one, other].into_iter(), Some("16")), want, "{at}");
            }
            for size in 1..stream.len() {
                assert_eq!(through(stream.as_bytes().chunks(size), Some("16")), want);
            }
        }
    }

    #[test]
    fn what_has_no_lines_is_not_held_for_long() {
        let long = "x".repeat(3 * LONGEST);
        let text = format!("data: {long}\n\n{}", stream("\n"));
        let want = text.replace(":299}", ":16}");
        for size in [1000, LONGEST, 2 * LONGEST] {
            assert_eq!(through(text.as_bytes().chunks(size), Some("16")), want);
        }
        let mut usage = Usage::with(None);
        let mut held = 0;
        for piece in text.as_bytes().chunks(1000) {
            usage.pass(Bytes::copy_from_slice(piece));
            held = held.max(usage.held.len());
        }
        assert!(held <= LONGEST, "{held}");
    }

    proptest! {
        /// However a stream is cut, it is what an edit of each of its lines makes of it.
        #[test]
        fn it_is_what_an_edit_of_the_lines_makes_of_it(
            texts in proptest::collection::vec("[\"\\\\{}\\[\\],: a-zä\n]{0,12}", 0..6),
            tokens in 0..500_u32,
            cached in proptest::option::of(0..500_u32),
            is_told in any::<bool>(),
            windows in any::<bool>(),
            cuts in proptest::collection::vec(1..60_usize, 1..80),
        ) {
            let end = if windows { "\r\n" } else { "\n" };
            let mut stream = String::new();
            for text in texts {
                let event = json!({"choices": [{"text": text}], "usage": null});
                stream.push_str(&["data: ", &event.to_string(), end, end].concat());
            }
            let details = if is_told { json!({"cached_tokens": tokens}) } else { json!(null) };
            let usage = json!({"prompt_tokens": tokens, "prompt_tokens_details": details});
            let event = json!({"choices": [], "usage": usage});
            let last = ["data: ", &event.to_string(), end, end, "data: [DONE]", end, end];
            stream.push_str(&last.concat());
            let mut pieces = Vec::new();
            let mut left = stream.as_bytes();
            for cut in cuts {
                let (piece, rest) = left.split_at(cut.min(left.len()));
                pieces.push(piece);
                left = rest;
            }
            pieces.push(left);
            let cached = cached.map(|it| it.to_string());
            let passed = through(pieces.into_iter(), cached.as_deref());
            prop_assert_eq!(passed, expected(&stream, cached.as_deref()));
        }
    }
}
