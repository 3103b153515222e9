//! A stream of server-sent events, as far as the proxy looks into it: where an event ends, and whether
//! one is an error. (WHATWG HTML, section 9.2, "Server-sent events".)

/// How vLLM and OpenAI begin an event that is an error, once blanks are left out.
const ERROR: &[u8] = b"data:{\"error\":";

/// How Anthropic's `/v1/messages` names one.
const NAMED_ERROR: &[u8] = b"event:error";

/// So much of a line is looked at: the longer of the two, with a few blanks.
const LOOKED_AT: usize = 24;

/// What went by of a stream.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The beginning of the line that is not whole yet.
    line: [u8; LOOKED_AT],
    length: usize,
    /// Whether something came since the last empty line, and whether it was data.
    is_within: bool,
    has_data: bool,
    has_event: bool,
    has_error: bool,
}

impl Events {
    /// Looks at the next piece.
    pub(super) fn pass(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            self.grow(&piece[..end]);
            self.end_line();
            piece = &piece[end + 1..];
        }
        self.grow(piece);
    }

    /// Whether what came ends with a whole event.
    pub(super) fn is_between(&self) -> bool {
        !self.is_within
    }

    /// Whether an event with data was whole. Comments are none: they keep a connection open.
    pub(super) fn has_event(&self) -> bool {
        self.has_event
    }

    /// Whether one of the events was an error.
    pub(super) fn has_error(&self) -> bool {
        self.has_error
    }

    fn grow(&mut self, more: &[u8]) {
        let room = &mut self.line[self.length..];
        let taken = more.len().min(room.len());
        room[..taken].copy_from_slice(&more[..taken]);
        self.length += taken;
        self.is_within |= !more.is_empty();
    }

    fn end_line(&mut self) {
        let line = &self.line[..self.length];
        if matches!(line, b"" | b"\r") {
            self.has_event |= self.has_data;
            (self.is_within, self.has_data) = (false, false);
        } else {
            self.has_data |= line.starts_with(b"data");
            self.has_error |= begins_with(line, ERROR) || begins_with(line, NAMED_ERROR);
        }
        self.length = 0;
    }
}

/// Whether a line begins so, its blanks left out. What a model writes cannot look like an error: its
/// quotes are escaped.
fn begins_with(line: &[u8], beginning: &[u8]) -> bool {
    let mut line = line.iter().filter(|byte| !byte.is_ascii_whitespace());
    beginning.iter().all(|byte| line.next() == Some(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there was an event, whether an error, and whether the stream is between two.
    fn seen(stream: &str) -> (bool, bool, bool) {
        let whole = |size: usize| {
            let mut events = Events::default();
            for piece in stream.as_bytes().chunks(size) {
                events.pass(piece);
            }
            (events.has_event(), events.has_error(), events.is_between())
        };
        let at_once = whole(stream.len().max(1));
        for size in 1..stream.len() {
            assert_eq!(whole(size), at_once, "{size}: {stream:?}");
        }
        at_once
    }

    #[test]
    fn an_event_is_whole_at_its_empty_line_wherever_it_is_cut() {
        assert_eq!(seen(""), (false, false, true));
        assert_eq!(seen("data: {\"id\":1}\n"), (false, false, false));
        assert_eq!(seen("data: {\"id\":1}\n\n"), (true, false, true));
        assert_eq!(seen("data: 1\r\n\r\ndata: 2"), (true, false, false));
        assert_eq!(seen(": ping\n\n"), (false, false, true));
    }

    #[test]
    fn an_error_is_told_from_what_a_model_writes() {
        for error in [
            "data: {\"error\": {\"message\": \"m\"}}\n\n",
            "data:{ \"error\":{}}\n\n",
            "data: 1\n\nevent: error\ndata: {\"type\":\"error\"}\n\n",
        ] {
            assert_eq!(seen(error), (true, true, true), "{error:?}");
        }
        for text in [
            "data: {\"id\":1,\"error\":null}\n\n",
            "data: {\"text\":\"data: {\\\"error\\\":1}\"}\n\n",
            "data: {\"errors\":1}\n\n",
            "event: message\ndata: {}\n\n",
        ] {
            assert_eq!(seen(text), (true, false, true), "{text:?}");
        }
    }
}
