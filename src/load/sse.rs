//! Server-sent events out of bytes, however the network cut them.
//!
//! The splitter follows the WHATWG event-stream rules: lines end in CR, LF or CRLF, a blank line
//! ends an event, `data:` lines join with a line feed, comments count for nothing, and an event
//! that the stream's end cuts off was never sent. It works on bytes, and decodes whole lines only,
//! so that a read may end within a character.

/// One event: its `data`, and its type where one was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What the `event:` line said; most streams have none.
    pub(super) kind: Option<String>,
    /// The `data:` lines, joined.
    pub(super) data: String,
}

/// Splits a stream into events.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    line: Vec<u8>,
    kind: Option<String>,
    data: Option<String>,
    after_cr: bool,
    begun: bool,
}

impl Splitter {
    /// Takes the next bytes, and returns the events that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
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
            self.line.extend_from_slice(&bytes[..end]);
            self.after_cr = bytes[end] == b'\r';
            events.extend(self.end_line());
            bytes = &bytes[end + 1..];
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let mut bytes = std::mem::take(&mut self.line);
        let event = self.take(&bytes);
        // Its room is the next line's.
        bytes.clear();
        self.line = bytes;
        event
    }

    fn take(&mut self, bytes: &[u8]) -> Option<Event> {
        let text = String::from_utf8_lossy(bytes);
        let begun = std::mem::replace(&mut self.begun, true);
        let line = if begun {
            &text
        } else {
            text.trim_start_matches('\u{feff}')
        };
        if line.is_empty() {
            let kind = self.kind.take();
            return self.data.take().map(|data| Event { kind, data });
        }
        self.field(line);
        None
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match (name, &mut self.data) {
            ("data", Some(data)) => {
                data.push('\n');
                data.push_str(value);
            }
            ("data", none) => *none = Some(value.to_owned()),
            ("event", _) => self.kind = Some(value.to_owned()),
            _ => {} // comments (an empty name), `id`, `retry`, and what is not known
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<Event> {
        let mut splitter = Splitter::default();
        chunks.iter().flat_map(|c| splitter.push(c)).collect()
    }

    fn data(chunks: &[&[u8]]) -> Vec<String> {
        all(chunks).into_iter().map(|e| e.data).collect()
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
        assert_eq!(events[0].kind.as_deref(), Some("error"));
        assert_eq!(events[0].data, "a\nb");
        assert_eq!((&events[1].kind, &*events[1].data), (&None, "c"));
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
}
