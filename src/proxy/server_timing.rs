//! `Server-Timing` (W3C): how long a request was here, and how long at its backend.
//!
//! Every answer has it, so it is put together without an allocation and without the machinery of formats.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::decimal::{self, decimal};

/// Tells how long a request took, and where.
pub(super) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Four names and four numbers of at most 20 digits fit.
const ROOM: usize = 160;

/// What has been written of it.
struct Text {
    room: [u8; ROOM],
    length: usize,
}

/// Says how long a request waited for a backend, if it did, was in the proxy until it was sent, at another
/// backend that has read its prompt, if one has, and at its backend until the head of its answer came: in
/// milliseconds, to a thousandth.
pub(super) fn told(
    queue: Option<Duration>,
    proxy: Duration,
    prefill: Option<Duration>,
    upstream: Duration,
) -> HeaderValue {
    let mut text = Text {
        room: [0; ROOM],
        length: 0,
    };
    if let Some(queue) = queue {
        text.put(b"queue;dur=", queue);
        text.push(b", ");
    }
    text.put(b"proxy;dur=", proxy);
    if let Some(prefill) = prefill {
        text.put(b", prefill;dur=", prefill);
    }
    text.put(b", upstream;dur=", upstream);
    let text = &text.room[..text.length];
    HeaderValue::from_bytes(text).expect("names and digits are a header value")
}

impl Text {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.room[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }

    fn put(&mut self, name: &[u8], took: Duration) {
        self.push(name);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut room = [0; decimal::MOST];
        self.push(decimal(microseconds / 1000, 1, &mut room));
        self.push(b".");
        self.push(decimal(microseconds % 1000, 3, &mut room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_a_thousandth_of_a_millisecond() {
        let micros = Duration::from_micros;
        for (queue, proxy, prefill, upstream, text) in [
            (
                None,
                micros(0),
                None,
                micros(7),
                "proxy;dur=0.000, upstream;dur=0.007",
            ),
            (
                Some(micros(30_000_000)),
                micros(210),
                None,
                micros(12_300),
                "queue;dur=30000.000, proxy;dur=0.210, upstream;dur=12.300",
            ),
            (
                Some(Duration::MAX),
                Duration::MAX,
                Some(Duration::MAX),
                Duration::MAX,
                "queue;dur=18446744073709551.615, proxy;dur=18446744073709551.615, \
                 prefill;dur=18446744073709551.615, upstream;dur=18446744073709551.615",
            ),
        ] {
            assert_eq!(told(queue, proxy, prefill, upstream), text);
        }
    }
}
