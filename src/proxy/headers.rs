//! What may cross the proxy in a head, and what the proxy adds.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names the instance that answered.
pub(super) const INSTANCE: HeaderName = HeaderName::from_static("x-replica-instance");
/// Names the request, in the client's log, ours and vLLM's.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    for name in &HOP_BY_HOP {
        headers.remove(name);
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

/// Makes an upstream's head into the one that goes to the client.
pub(super) fn prepare_downstream(
    headers: &mut HeaderMap,
    id: &HeaderValue,
    instance: &HeaderValue,
) {
    strip_hop_by_hop(headers);
    headers.insert(REQUEST_ID, id.clone());
    headers.insert(INSTANCE, instance.clone());
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
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0xc << 60) | VERSION | VARIANT;
    let hex = format!("{bits:032x}");
    let id = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-");
    HeaderValue::try_from(id).expect("hexadecimal digits and dashes are a header value")
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
    fn a_nameless_request_is_given_a_uuid() {
        let one = request_id(&HeaderMap::new());
        let other = request_id(&HeaderMap::new());
        assert_ne!(one, other);
        let text = one.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4', "{text} is not a version 4 UUID");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
    }
}
