//! What may cross the proxy in a head, and what the proxy adds.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names the instance that answered.
pub(super) const INSTANCE: HeaderName = HeaderName::from_static("x-replica-instance");
/// Names the request, in the client's log, ours and vLLM's.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells OpenAI's clients whether to send a request again, whatever the status says to them
/// (`_should_retry` in openai-python's `_base_client.py`).
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Names an adapter to `/invocations`, where it counts as the model.
pub(super) const ADAPTER: HeaderName =
    HeaderName::from_static("x-amzn-sagemaker-adapter-identifier");

/// Fields about one connection and not about the message (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields that `Connection` may not take away: without them the message would mean another thing,
/// and a client could have the proxy's own words removed.
const KEPT: [HeaderName; 4] = [
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::AUTHORIZATION,
];

/// Removes the hop-by-hop fields, those that `Connection` names included.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    // To look each of them up would cost nine hashes, and most heads have none or one.
    let is_there = |headers: &HeaderMap, name| headers.keys().any(|key| key == name);
    for name in &HOP_BY_HOP {
        if is_there(headers, name) {
            headers.remove(name);
        }
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !KEPT.contains(name))
        .collect()
}

/// Makes a client's head into the one that goes upstream.
///
/// `Host` stays the client's, so that a redirect of the upstream's leads back to the proxy.
/// `Content-Length` goes, as hyper writes the one that the body really has: with both it and
/// `Transfer-Encoding` in a request, a proxy that passes them on can be made to smuggle.
pub(super) fn prepare_upstream(headers: &mut HeaderMap, id: &HeaderValue) {
    strip_hop_by_hop(headers);
    headers.remove(header::CONTENT_LENGTH);
    // The proxy itself answered `Expect: 100-continue` when it read the body.
    headers.remove(header::EXPECT);
    headers.insert(REQUEST_ID, id.clone());
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A client's address, as it is told to backends: text, without the port.
pub(super) fn told(client: IpAddr) -> HeaderValue {
    let address = client.to_canonical().to_string();
    HeaderValue::try_from(address).expect("an address is a header value")
}

/// Says for whom a request is sent on.
///
/// The client's address goes behind those that came, as nginx's `$proxy_add_x_forwarded_for` does:
/// the last is what was seen here, and what a front before this proxy saw is kept. By which host and
/// scheme the client asked, a front that came first knows better, so what it said stays. Nothing in
/// the proxy is decided by these.
pub(super) fn tell_origin(headers: &mut HeaderMap, client: &HeaderValue) {
    let mut chain = Vec::new();
    for before in headers.get_all(&FORWARDED_FOR) {
        chain.extend_from_slice(before.as_bytes());
        chain.extend_from_slice(b", ");
    }
    let chain = if chain.is_empty() {
        Ok(client.clone())
    } else {
        chain.extend_from_slice(client.as_bytes());
        HeaderValue::try_from(chain)
    };
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|_| client.clone()));
    if !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !headers.contains_key(&FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// The host of an absolute target, which counts for the request's (RFC 9112, section 3.2.2).
pub(super) fn host_of_target(target: &Uri) -> Option<HeaderValue> {
    let host = target.authority()?.as_str().rsplit('@').next()?;
    HeaderValue::from_str(host).ok()
}

/// Makes an upstream's head into the one that goes to the client.
pub(super) fn prepare_downstream(headers: &mut HeaderMap, id: &HeaderValue) {
    strip_hop_by_hop(headers);
    headers.insert(REQUEST_ID, id.clone());
    // Only the proxy says who has answered.
    headers.remove(INSTANCE);
}

/// Says whether a request may be sent again, where there is something to say.
pub(super) fn tell_whether_to_retry(headers: &mut HeaderMap, should_retry: Option<bool>) {
    if let Some(should_retry) = should_retry {
        let word = if should_retry { "true" } else { "false" };
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(word));
    }
}

/// The client's name for its request, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|id| (1..=256).contains(&id.len()))
        .cloned()
        .unwrap_or_else(new_request_id)
}

/// A random UUID (version 4).
fn new_request_id() -> HeaderValue {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x8 << 60;
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0xc << 60) | VERSION | VARIANT;
    let digits = bits.to_be_bytes().into_iter();
    let digits = digits.flat_map(|byte| [byte >> 4, byte & 0xf]);
    let mut id = [b'-'; 36];
    let places = id.iter_mut().enumerate();
    let places = places.filter(|(at, _)| !DASHES.contains(at));
    for ((_, place), digit) in places.zip(digits) {
        *place = DIGITS[usize::from(digit)];
    }
    HeaderValue::from_bytes(&id).expect("hexadecimal digits and dashes are a header value")
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

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hop_by_hop_fields_stay_behind() {
        let mut headers = map(&[
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
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["authorization", "x-kept"]);
    }

    #[test]
    fn connection_cannot_take_away_what_the_message_needs() {
        let mut headers = map(&[
            ("connection", "content-type, authorization"),
            ("content-type", "application/json"),
            ("authorization", "Bearer k"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["authorization", "content-type"]);
    }

    #[test]
    fn a_request_has_one_length_and_one_id() {
        let mut headers = map(&[
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("x-request-id", "mine"),
        ]);
        let id = request_id(&headers);
        prepare_upstream(&mut headers, &id);
        assert_eq!(headers, map(&[("x-request-id", "mine")]));
    }

    #[test]
    fn the_client_is_added_to_those_that_came_before() {
        let seen = told("::ffff:10.0.0.9".parse().unwrap());
        let mut direct = map(&[("host", "front:8000")]);
        tell_origin(&mut direct, &seen);
        let mut behind_a_front = map(&[
            ("host", "inner"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ]);
        tell_origin(&mut behind_a_front, &seen);
        for (headers, wanted) in [
            (&direct, ["10.0.0.9", "http", "front:8000"]),
            (
                &behind_a_front,
                [
                    "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9",
                    "https",
                    "shop.example",
                ],
            ),
        ] {
            let names = ["for", "proto", "host"].map(|it| format!("x-forwarded-{it}"));
            let found = names.map(|name| headers[name].to_str().unwrap().to_owned());
            assert_eq!(found, wanted);
        }
        let lines = behind_a_front.get_all("x-forwarded-for").iter().count();
        assert_eq!(lines, 1);
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
    fn a_nameless_request_is_given_a_uuid() {
        let one = request_id(&HeaderMap::new());
        let other = request_id(&HeaderMap::new());
        assert_ne!(one, other);
        let text = one.to_str().unwrap();
        let groups = text.split('-').map(str::len);
        assert_eq!(groups.collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{text}");
        assert!(text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit()));
        assert_eq!(text.as_bytes()[14], b'4', "{text} is not a version 4 UUID");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
    }
}
