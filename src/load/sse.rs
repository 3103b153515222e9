//! Server-sent events out of bytes, however the network cut them.
//!
//! The splitter follows the WHATWG event-stream rules: lines end in CR, LF or CRLF, a blank line
//! ends an event, `data:` lines join with a line feed, comments count for nothing, and an event
//! that the stream's end cuts off was never sent. It works on bytes, and decodes whole lines only,
//! so that a read may end within a character.

/// One event: its `data`, and its type where one was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// What the `event:` line said; most streams have none.
    pub(super) kind: Option<&'a str>,
    /// The `data:` lines, joined.
    pub(super) data: &'a str,
}

/// Splits a stream into events.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a line whose end was not read yet.
    line: Vec<u8>,
    fields: Fields,
    after_cr: bool,
}

/// What the lines of an event have said so far.
#[derive(Debug, Default)]
struct Fields {
    kind: Option<String>,
    data: String,
    has_data: bool,
    begun: bool,
}

impl Splitter {
    /// Takes the next bytes, and hands on the events that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut event: impl FnMut(Event<'_>)) {
        while let Some((first, rest)) = bytes.split_first() {
            let after_cr = std::mem::take(&mut self.after_cr);
            if after_cr && *first == b'\n' {
                bytes = rest;
                continue;
            }
            let Some(end) = bytes.iter().position(|it| matches!(it, b'\n' | b'\r')) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.fields.take(&bytes[..end], &mut event);
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                self.fields.take(&self.line, &mut event);
                self.line.clear();
            }
            bytes = &bytes[end + 1..];
        }
    }
}

impl Fields {
    /// Takes a line, and hands on the event that it ends.
    fn take(&mut self, bytes: &[u8], event: &mut impl FnMut(Event<'_>)) {
        let text = String::from_utf8_lossy(bytes);
        let begun = std::mem::replace(&mut self.begun, true);
        let line = if begun {
            &text
        } else {
            text.trim_start_matches('\u{feff}')
        };
        if line.is_empty() {
            self.end(event);
        } else {
            self.field(line);
        }
    }

    fn end(&mut self, event: &mut impl FnMut(Event<'_>)) {
        if std::mem::take(&mut self.has_data) {
            event(Event {
                kind: self.kind.as_deref(),
                data: &self.data,
            });
        }
        self.kind = None;
        self.data.clear();
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => self.kind = Some(value.to_owned()),
            _ => {} // comments (an empty name), `id`, `retry`, and what is not known
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kind and the data of each event.
    fn all(chunks: &[&[u8]]) -> Vec<(Option<String>, String)> {
        let (mut splitter, mut events) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, |event| {
                events.push((event.kind.map(str::to_owned), event.data.to_owned()));
            });
        }
        events
    }

    fn data(chunks: &[&[u8]]) -> Vec<String> {
        all(chunks).into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn two_events_may_share_a_read() {
        assert_eq!(data(&[b"data: a\n\ndata: b\n\n"]), ["a", "b"]);
    }

    #[test]
    fn one_event_may_take_seven_reads() {
        let cut: [&[u8]; 7] = [b"d", b"at", b"a", b": ", b"x", b"\n", b"\n"];
        assert_eq!(data(&cut), ["x"]);
    }

    #[test]
    fn a_read_may_end_within_a_character_or_a_line_end() {
        let (a, b) = "data: ö\r\n\r\n".as_bytes().split_at(7);
        assert_eq!(data(&[a, b]), ["ö"]);
        assert_eq!(
            data(&[b"data: x\r", b"\n\r", b"\ndata: y\r\n\r\n"]),
            ["x", "y"]
        );
        assert_eq!(data(&[b"data: x\r\rdata: y\r\r"]), ["x", "y"]);
    }

    #[test]
    fn lines_join_comments_vanish_and_kinds_are_kept() {
        let stream = b"\xef\xbb\xbf: ping\n\nevent: error\ndata: a\ndata:b\nid: 4\n\ndata: c\n\n";
        let events = all(&[stream]);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0], (Some("error".to_owned()), "a\nb".to_owned()));
        assert_eq!(events[1], (None, "c".to_owned()));
    }

    #[test]
    fn an_event_that_the_end_cuts_off_was_never_sent() {
        assert!(data(&[b"data: [DONE]\n"]).is_empty());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            lines in prop::collection::vec(
                prop_oneof![
                    "data: ?[a-zöü€😀: ]{0,6}",
                    ": ?[a-z]{0,3}",
                    "event: [a-z]{1,4}",
                    Just(String::new()),
                ],
                0..20,
            ),
            ends in prop::collection::vec(prop_oneof![Just("\n"), Just("\r\n"), Just("\r")], 20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            // Mixed ends may themselves form a CRLF; both readings see the same bytes.
            let stream: Vec<u8> = lines
                .iter()
                .zip(&ends)
                .flat_map(|(line, end)| [line.as_bytes(), end.as_bytes()].concat())
                .collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([stream.len()]) {
                chunks.push(&stream[from..cut]);
                from = cut;
            }
            prop_assert_eq!(all(&chunks), all(&[&stream]));
        }
    }

    /// Wherever a stream is cut, its events are the same.
    #[test]
    fn fuzz_events() {
        let words = [
            "data: ",
            "event: error\n",
            "\r\n\r\n",
            "\n\n",
            "\r",
            "\u{feff}",
            ": ",
            "[DONE]",
        ];
        crate::fuzz::run("events", &words, |input| {
            let whole = all(&[input]);
            for size in [1, 2, 3, 7] {
                let pieces: Vec<_> = input.chunks(size).collect();
                assert_eq!(all(&pieces), whole, "in pieces of {size}");
            }
            let kinds: Vec<_> = whole
                .iter()
                .take(4)
                .map(|(kind, _)| kind.is_some())
                .collect();
            crate::fuzz::sort_of((whole.len().min(8), kinds))
        });
    }
}
