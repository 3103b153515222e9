//! What a request's head must be before anything is made of it.
//!
//! hyper reads a head leniently. What two readers could take for two different requests is refused
//! here, and what the proxy does not do is said to be so.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Version};

use super::error::ApiError;
use super::headers::Rare;

/// Lets a request on, or says what is wrong with its head, which has these of the rare fields.
pub(super) fn check(head: &Parts, rare: Rare) -> Result<(), ApiError> {
    let headers = &head.headers;
    method(&head.method)?;
    if head.version >= Version::HTTP_2 {
        authority(head.uri.authority(), headers)?;
    } else {
        host(head.version, headers)?;
    }
    if rare.transfer_encoding {
        coding(headers)?;
    }
    if rare.upgrade {
        upgrade(headers)?;
    }
    Ok(())
}

fn method(method: &Method) -> Result<(), ApiError> {
    match *method {
        Method::CONNECT => Err(ApiError::not_implemented(
            "CONNECT asks for a tunnel, and the proxy makes none",
        )),
        // Its answer would show what the proxy adds, the key of a server included.
        Method::TRACE => Err(ApiError::not_implemented("TRACE is not passed on")),
        _ => Ok(()),
    }
}

/// RFC 9112, section 3.2: one valid `Host`, which only HTTP/1.0 may leave out.
fn host(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version >= Version::HTTP_11 => {
            Err(ApiError::bad_head("a request must have a `Host`"))
        }
        (Some(_), Some(_)) => Err(ApiError::bad_head("a request must have one `Host` only")),
        (Some(host), None) if !is_host(host) => {
            Err(ApiError::bad_head("`Host` must be a host, or host:port"))
        }
        _ => Ok(()),
    }
}

/// RFC 9113, section 8.3.1: `:authority` is a request's host, without a user. Where there is a `Host`
/// too, it is of the same.
fn authority(authority: Option<&Authority>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(authority) = authority else {
        return host(Version::HTTP_11, headers);
    };
    if authority.as_str().contains('@') {
        return Err(ApiError::bad_head("`:authority` must name no user"));
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_other = |host: &HeaderValue| {
        let authority = authority.as_str().as_bytes();
        !host.as_bytes().eq_ignore_ascii_case(authority)
    };
    if hosts.any(is_other) {
        return Err(ApiError::bad_head("`Host` must say what `:authority` says"));
    }
    Ok(())
}

fn is_host(host: &HeaderValue) -> bool {
    let bytes = host.as_bytes();
    if is_plain_host(bytes) {
        return true;
    }
    bytes.is_empty() || !bytes.contains(&b'@') && Authority::try_from(bytes).is_ok()
}

/// Whether it is a name or an address, with a port or without: nearly all are, and need not be parsed to be
/// seen to be one.
fn is_plain_host(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|byte| *byte == b':');
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let is_name = |it: &[u8]| !it.is_empty() && it.iter().all(is_of_name);
    let is_port = |it: &[u8]| !it.is_empty() && it.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(is_name) && parts.next().is_none_or(is_port) && parts.next().is_none()
}

/// RFC 9112, section 6.1: a body in a coding that is not understood would be passed on as if it was
/// plain.
fn coding(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    let only = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    only.then_some(()).ok_or_else(|| {
        ApiError::not_implemented("of the transfer codings, `chunked` alone is understood")
    })
}

/// RFC 9110, section 7.8: an upgrade may be ignored, and that to HTTP/2 is, as clients that offer it
/// go on in HTTP/1.1. For who wants another protocol there would be nobody to talk to.
fn upgrade(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(wanted) = headers.get(header::UPGRADE) else {
        return Ok(());
    };
    let is_meant = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    if !is_meant || wanted.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return Ok(());
    }
    let wanted = String::from_utf8_lossy(wanted.as_bytes());
    Err(ApiError::not_implemented(format!(
        "`Upgrade: {wanted}` is not passed on: the proxy speaks HTTP/1.1"
    )))
}

/// What a body is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyKind {
    Json,
    Other,
}

/// What is said of JSON in another encoding.
pub(super) const NOT_UTF8: &str = "JSON is written in UTF-8 (RFC 8259, section 8.1)";

impl BodyKind {
    /// Reads it from a head. Forms in encodings that are not UTF-8 are refused: Starlette would read
    /// their fields in the one that is named, and the proxy does not.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(kind) = headers.get(header::CONTENT_TYPE) else {
            // FastAPI takes it for JSON.
            return Ok(Self::Json);
        };
        if kind.as_bytes() == b"application/json" {
            // Nearly all say so, and it need not be copied to be read.
            return Ok(Self::Json);
        }
        let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
        let charset = kind.split("charset=").nth(1);
        let charset = charset.map(|it| it.split(';').next().unwrap_or_default());
        let is_utf8 =
            |it: &str| matches!(it.trim().trim_matches('"'), "utf-8" | "utf8" | "us-ascii");
        if kind.starts_with("multipart/") && !charset.is_none_or(is_utf8) {
            return Err(ApiError::bad_body("forms are read in UTF-8"));
        }
        Ok(if kind.contains("json") {
            Self::Json
        } else {
            Self::Other
        })
    }

    /// Lets a whole body on that is in the encoding that it must be in.
    pub(super) fn check(self, body: &[u8]) -> Result<(), ApiError> {
        let beginning = &body[..body.len().min(4)];
        let is_wide = beginning.contains(&0)
            || beginning.starts_with(b"\xfe\xff")
            || beginning.starts_with(b"\xff\xfe");
        if self == Self::Json && is_wide {
            return Err(ApiError::bad_body(NOT_UTF8));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    const HOST: (&str, &str) = ("host", "p");

    fn refused(method: &str, version: Version, fields: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder()
            .method(method)
            .version(version)
            .uri("/v1/x");
        for &(name, value) in fields {
            request = request.header(name, value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let checked = check(&head, Rare::of(&head.headers));
        checked.err().map(|error| error.status().as_u16())
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        const WEBSOCKET: Fields = &[HOST, ("connection", "Upgrade"), ("upgrade", "websocket")];
        const H2C: Fields = &[
            HOST,
            ("connection", "Upgrade, HTTP2-Settings"),
            ("upgrade", "h2c"),
        ];
        let cases: [(&str, Fields, Option<u16>); 19] = [
            ("GET", &[HOST], None),
            ("OPTIONS", &[HOST], None),
            ("CONNECT", &[HOST], Some(501)),
            ("TRACE", &[HOST], Some(501)),
            ("GET", &[], Some(400)),
            ("GET", &[HOST, HOST], Some(400)),
            ("GET", &[("host", "")], None),
            ("GET", &[("host", "[::1]:8000")], None),
            ("GET", &[("host", "a b")], Some(400)),
            ("GET", &[("host", "a/b")], Some(400)),
            ("GET", &[("host", "user@a")], Some(400)),
            ("POST", &[HOST, ("transfer-encoding", "Chunked")], None),
            (
                "POST",
                &[HOST, ("transfer-encoding", "gzip, chunked")],
                Some(501),
            ),
            (
                "POST",
                &[HOST, ("transfer-encoding", "chunked, chunked")],
                Some(501),
            ),
            (
                "POST",
                &[
                    HOST,
                    ("transfer-encoding", "identity"),
                    ("transfer-encoding", "chunked"),
                ],
                Some(501),
            ),
            ("GET", WEBSOCKET, Some(501)),
            ("GET", &WEBSOCKET[..2], None),
            ("GET", &[HOST, ("upgrade", "websocket")], None),
            ("GET", H2C, None),
        ];
        for (method, fields, status) in cases {
            let found = refused(method, Version::HTTP_11, fields);
            assert_eq!(found, status, "{method} {fields:?}");
        }
        assert_eq!(refused("GET", Version::HTTP_10, &[]), None);
        assert_eq!(refused("GET", Version::HTTP_10, &[HOST, HOST]), Some(400));
    }

    #[test]
    fn the_authority_of_http2_is_the_host() {
        let refused = |target: &'static str, hosts: &[&'static str]| {
            let mut request = Request::builder().version(Version::HTTP_2).uri(target);
            for &host in hosts {
                request = request.header("host", host);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let checked = check(&head, Rare::of(&head.headers));
            checked.err().map(|error| error.status().as_u16())
        };
        for (target, hosts, status) in [
            ("http://p:80/v1/x", &[][..], None),
            ("http://p:80/v1/x", &["P:80"], None),
            ("http://p:80/v1/x", &["p:80", "q:80"], Some(400)),
            ("http://p:80/v1/x", &["p"], Some(400)),
            ("http://user@p/v1/x", &[], Some(400)),
            ("/v1/x", &["p"], None),
            ("/v1/x", &[], Some(400)),
            ("/v1/x", &["p", "p"], Some(400)),
        ] {
            assert_eq!(refused(target, hosts), status, "{target} {hosts:?}");
        }
    }

    #[test]
    fn text_is_utf_8() {
        let kind = |of: &'static str| {
            let of = HeaderValue::from_static(of);
            BodyKind::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, of)])).ok()
        };
        let (json, other) = (Some(BodyKind::Json), Some(BodyKind::Other));
        assert_eq!(BodyKind::of(&HeaderMap::new()).ok(), json);
        for (named, wanted) in [
            ("application/json", json),
            ("application/json", json),
            ("Application/JSON; charset=utf-16", json),
            ("application/vnd.api+json", json),
            ("text/plain", other),
            ("multipart/form-data; boundary=x", other),
            ("multipart/form-data; boundary=x; charset=\"UTF-8\"", other),
            ("multipart/form-data; charset=utf-16; boundary=x", None),
            ("multipart/form-data; charset=cp037", None),
        ] {
            assert_eq!(kind(named), wanted, "{named}");
        }
        for (body, is_taken) in [
            (&b"{}"[..], true),
            (b"", true),
            (b"\xef\xbb\xbf{}", true),
            (b"{\0}\0", false),
            (b"\0{\0}", false),
            (b"\0\0\0{", false),
            (b"\xff\xfe{\0", false),
        ] {
            assert_eq!(BodyKind::Json.check(body).is_ok(), is_taken, "{body:?}");
            assert!(BodyKind::Other.check(body).is_ok());
        }
    }
}
