//! What may cross the proxy in a head, and what the proxy adds.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names the instance that answered.
pub(super) const INSTANCE: HeaderName = HeaderName::from_static("x-replica-instance");
/// Names the instance that read the prompt for the one that answered.
pub(super) const PREFILL: HeaderName = HeaderName::from_static("x-replica-prefill");
/// Names the request, in the client's log, ours and vLLM's.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells OpenAI's clients whether to send a request again, whatever the status says to them
/// (`_should_retry` in openai-python's `_base_client.py`).
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Names an adapter to `/invocations`, where it counts as the model.
pub(super) const ADAPTER: HeaderName =
    HeaderName::from_static("x-amzn-sagemaker-adapter-identifier");

/// Whether a field is about one connection and not about the message (RFC 9110, section 7.6.1).
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether `Connection` may not take a field away: without it the message would mean another thing,
/// and a client could have the proxy's own words removed.
fn is_kept(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "content-type" | "host" | "authorization"
    )
}

/// The fields that stay behind with their connection: those that always do, and those that it names.
#[derive(Debug, Default)]
pub(super) struct OfConnection(Vec<HeaderName>);

impl OfConnection {
    /// Those of a head.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut named = Self::default();
        for list in headers.get_all(header::CONNECTION) {
            named.add(list.as_bytes());
        }
        named
    }

    /// Adds those that a `Connection` names.
    pub(super) fn add(&mut self, list: &[u8]) {
        let names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        // What nearly every one says takes no room.
        let names = names.filter(|it| {
            !it.eq_ignore_ascii_case(b"close") && !it.eq_ignore_ascii_case(b"keep-alive")
        });
        let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
        self.0.extend(names.filter(|name| !is_kept(name)));
    }

    /// Whether a field of an answer goes down to the client. Only the proxy says who has answered.
    pub(super) fn lets_down(&self, name: &HeaderName) -> bool {
        let is_ours = *name == INSTANCE || *name == PREFILL;
        !is_hop_by_hop(name) && !is_ours && !self.0.contains(name)
    }

    /// Whether a field of a request goes up to the backend as it is. The length goes as the body that is
    /// sent really has one: with both it and `Transfer-Encoding`, a proxy that passes them on can be made
    /// to smuggle. `Expect: 100-continue` was answered when the body was read. The rest is said anew.
    pub(super) fn lets_up(&self, name: &HeaderName) -> bool {
        let is_ours = || {
            matches!(
                name.as_str(),
                "content-length" | "expect" | "x-request-id" | "x-forwarded-for"
            )
        };
        !is_hop_by_hop(name) && !is_ours() && !self.0.contains(name)
    }
}

/// Which of the fields a head has that few heads have, and that are looked for in each. They are found
/// together, as to look for one costs as much.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rare {
    pub(super) request_id: bool,
    pub(super) adapter: bool,
    pub(super) transfer_encoding: bool,
    pub(super) upgrade: bool,
}

impl Rare {
    /// Those of a head.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut rare = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "x-request-id" => rare.request_id = true,
                "x-amzn-sagemaker-adapter-identifier" => rare.adapter = true,
                "transfer-encoding" => rare.transfer_encoding = true,
                "upgrade" => rare.upgrade = true,
                _ => {}
            }
        }
        rare
    }
}

/// The clients and fronts that a request came through, nearest last.
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// By which host the client asked.
pub(super) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A client's address, as it is told to backends: text, without the port.
pub(super) fn told(client: IpAddr) -> HeaderValue {
    let address = client.to_canonical().to_string();
    HeaderValue::try_from(address).expect("an address is a header value")
}

/// The host of an absolute target, which counts for the request's (RFC 9112, section 3.2.2).
pub(super) fn host_of_target(target: &Uri) -> Option<HeaderValue> {
    let host = target.authority()?.as_str().rsplit('@').next()?;
    HeaderValue::from_str(host).ok()
}

/// Says whether a request may be sent again, where there is something to say.
pub(super) fn tell_whether_to_retry(headers: &mut HeaderMap, should_retry: Option<bool>) {
    if let Some(should_retry) = should_retry {
        let word = if should_retry { "true" } else { "false" };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(word));
    }
}

/// The client's name for its request, or a new one.
pub(super) fn request_id(headers: &HeaderMap, rare: Rare) -> HeaderValue {
    let named = rare.request_id.then(|| headers.get(REQUEST_ID));
    named
        .flatten()
        .filter(|id| (1..=256).contains(&id.len()))
        .cloned()
        .unwrap_or_else(new_request_id)
}

/// A random UUID (version 4) without its dashes: so long are the names that vLLM gives.
fn new_request_id() -> HeaderValue {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x8 << 60;
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0xc << 60) | VERSION | VARIANT;
    let mut id = [0; 32];
    for (digits, byte) in id.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 0xf)];
    }
    HeaderValue::from_bytes(&id).expect("hexadecimal digits are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    /// Which of these fields go up, and which down.
    fn passed(headers: &HeaderMap) -> [Vec<&str>; 2] {
        let of_connection = OfConnection::of(headers);
        let those = |lets: &dyn Fn(&HeaderName) -> bool| {
            let mut names: Vec<_> = headers.keys().filter(|it| lets(it)).collect();
            names.sort_unstable_by_key(|it| it.as_str());
            names.into_iter().map(HeaderName::as_str).collect()
        };
        [
            those(&|name| of_connection.lets_up(name)),
            those(&|name| of_connection.lets_down(name)),
        ]
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let headers = map(&[
            ("connection", "close, X-Secret-Hop"),
            ("connection", "x-other"),
            ("x-secret-hop", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("authorization", "Bearer k"),
            ("x-kept", "3"),
        ]);
        let kept = vec!["authorization", "x-kept"];
        assert_eq!(passed(&headers), [kept.clone(), kept]);
    }

    #[test]
    fn connection_cannot_take_away_what_the_message_needs() {
        let headers = map(&[
            ("connection", "content-type, authorization"),
            ("content-type", "application/json"),
            ("authorization", "Bearer k"),
        ]);
        let kept = vec!["authorization", "content-type"];
        assert_eq!(passed(&headers), [kept.clone(), kept]);
    }

    #[test]
    fn what_is_said_anew_is_not_passed() {
        let headers = map(&[
            ("content-length", "5"),
            ("expect", "100-continue"),
            ("x-request-id", "mine"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-replica-instance", "me"),
        ]);
        let up = vec!["x-replica-instance"];
        let down = vec![
            "content-length",
            "expect",
            "x-forwarded-for",
            "x-request-id",
        ];
        assert_eq!(passed(&headers), [up, down]);
    }

    #[test]
    fn the_host_of_an_absolute_target_counts() {
        for (target, host) in [
            ("http://user@other:81/x", Some("other:81")),
            ("http://other", Some("other")),
            ("/x", None),
        ] {
            let found = host_of_target(&Uri::from_static(target));
            assert_eq!(found, host.map(HeaderValue::from_static), "{target}");
        }
    }

    #[test]
    fn rare_fields_are_found_by_the_names_that_they_are_looked_up_by() {
        let found = |name| {
            let rare = Rare::of(&HeaderMap::from_iter([(
                name,
                HeaderValue::from_static("x"),
            )]));
            [
                rare.request_id,
                rare.adapter,
                rare.transfer_encoding,
                rare.upgrade,
            ]
        };
        assert_eq!(found(REQUEST_ID), [true, false, false, false]);
        assert_eq!(found(ADAPTER), [false, true, false, false]);
        assert_eq!(
            found(header::TRANSFER_ENCODING),
            [false, false, true, false]
        );
        assert_eq!(found(header::UPGRADE), [false, false, false, true]);
        assert_eq!(found(header::HOST), [false; 4]);
    }

    #[test]
    fn a_nameless_request_is_given_a_uuid() {
        let one = request_id(&HeaderMap::new(), Rare::default());
        let other = request_id(&HeaderMap::new(), Rare::default());
        assert_ne!(one, other);
        let text = one.to_str().unwrap();
        assert_eq!(text.len(), 32, "{text}");
        assert!(text.bytes().all(|it| it.is_ascii_hexdigit()), "{text}");
        assert_eq!(text.as_bytes()[12], b'4', "{text} is not a version 4 UUID");
        assert!(b"89ab".contains(&text.as_bytes()[16]), "{text}");
    }
}
