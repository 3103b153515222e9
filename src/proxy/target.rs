//! The path of a request in the one form that every server reads alike.
//!
//! vLLM undoes each escape before it looks for a route: `/v1/%6dodels` is its list of models, and so
//! is `/v1%2fmodels`. Other servers resolve dots, or merge slashes. A proxy that judged the text as
//! it came would judge another request than the one that is answered. So escapes that say nothing
//! are undone (RFC 3986, section 6.2.2.2), and what servers read differently is refused.

use std::borrow::Cow;

use hyper::Uri;
use hyper::http::uri::PathAndQuery;

/// Below this a name may have slashes in it, written as `%2F`: models are named `owner/name`.
const NAMES: &str = "/v1/models/";

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The path with every escape undone. By this it is known what is asked for.
    pub(super) path: Cow<'a, str>,
    /// The path and the query to send where they differ from what came.
    pub(super) rewritten: Option<PathAndQuery>,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Irregular {
    #[error("it has a character that must be escaped")]
    Unescaped,
    #[error("it has a `%` without two hexadecimal digits, or one that escapes no text")]
    Escape,
    #[error("it has an escaped control character")]
    Control,
    #[error("it has an escaped slash")]
    Slash,
    #[error("it has a segment of dots, which some servers resolve")]
    Dots,
    #[error("it has an empty segment (`//`), which some servers leave out")]
    Empty,
}

impl<'a> Target<'a> {
    /// Reads the path of a request.
    pub(super) fn of(uri: &'a Uri) -> Result<Self, Irregular> {
        let path = uri.path();
        if is_plain(path) {
            let (path, rewritten) = (Cow::Borrowed(path), None);
            return Ok(Self { path, rewritten });
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('\\') {
            return Err(Irregular::Unescaped);
        }
        if !path.contains('%') {
            check_segments(path)?;
            let (path, rewritten) = (Cow::Borrowed(path), None);
            return Ok(Self { path, rewritten });
        }
        let sent = with_plain_letters(path)?;
        let read = undone(&sent)?;
        check_segments(&read)?;
        Ok(Self {
            path: Cow::Owned(read),
            rewritten: rewritten(uri, &sent),
        })
    }
}

/// Whether a path has nothing in it that could be read in two ways, as nearly all have not.
fn is_plain(path: &str) -> bool {
    let mut before = b' ';
    path.bytes().all(|byte| {
        let follows_slash = std::mem::replace(&mut before, byte) == b'/';
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-')
            || byte == b'/' && !follows_slash
    })
}

fn rewritten(uri: &Uri, path: &str) -> Option<PathAndQuery> {
    if path == uri.path() {
        return None;
    }
    let query = uri.query().map(|query| format!("?{query}"));
    format!("{path}{}", query.unwrap_or_default()).parse().ok()
}

/// Undoes the escapes of characters that need none.
fn with_plain_letters(path: &str) -> Result<String, Irregular> {
    let mut plain = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    plain.extend(pieces.next());
    for piece in pieces {
        let byte = escaped(piece)?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(char::from(byte));
            plain.push_str(&piece[2..]);
        } else {
            plain.push('%');
            plain.push_str(piece);
        }
    }
    Ok(plain)
}

/// Undoes the escapes that are left.
fn undone(path: &str) -> Result<String, Irregular> {
    let mut read = Vec::with_capacity(path.len());
    let mut pieces = path.split('%');
    read.extend(pieces.next().unwrap_or_default().bytes());
    for piece in pieces {
        match escaped(piece)? {
            b'/' if !path.starts_with(NAMES) => return Err(Irregular::Slash),
            b'\\' => return Err(Irregular::Slash),
            byte if byte.is_ascii_control() => return Err(Irregular::Control),
            byte => read.push(byte),
        }
        read.extend(piece[2..].bytes());
    }
    String::from_utf8(read).map_err(|_| Irregular::Escape)
}

/// The byte that the two digits after a `%` stand for.
fn escaped(after: &str) -> Result<u8, Irregular> {
    let digits = after.get(..2).ok_or(Irregular::Escape)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Irregular::Escape);
    }
    u8::from_str_radix(digits, 16).map_err(|_| Irregular::Escape)
}

fn check_segments(path: &str) -> Result<(), Irregular> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    if inner.starts_with('/') || inner.contains("//") {
        return Err(Irregular::Empty);
    }
    // Some servers read what follows a semicolon as a parameter of the segment.
    let names = inner
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    for name in names {
        if name == "." || name == ".." {
            return Err(Irregular::Dots);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked for, and what is sent.
    fn read(target: &str) -> Result<(String, String), Irregular> {
        let uri: Uri = target.parse().unwrap();
        let Target { path, rewritten } = Target::of(&uri)?;
        let sent = rewritten.as_ref().or(uri.path_and_query()).unwrap();
        Ok((path.into_owned(), sent.to_string()))
    }

    #[test]
    fn what_every_server_reads_alike_is_sent() {
        for (came, asked, sent) in [
            ("/v1/models", "/v1/models", "/v1/models"),
            ("/v1/models/", "/v1/models/", "/v1/models/"),
            ("/v1/x?a=%2e./b", "/v1/x", "/v1/x?a=%2e./b"),
            ("/v1/%6dodels", "/v1/models", "/v1/models"),
            ("/%76%31/%6D%6f?x=%6d", "/v1/mo", "/v1/mo?x=%6d"),
            ("/v1/files/a%20b", "/v1/files/a b", "/v1/files/a%20b"),
            (
                "/v1/files/caf%C3%A9",
                "/v1/files/café",
                "/v1/files/caf%C3%A9",
            ),
            ("/v1/models/o%2Fn", "/v1/models/o/n", "/v1/models/o%2Fn"),
            ("/v1/%6dodels/o%2fn", "/v1/models/o/n", "/v1/models/o%2fn"),
            // One escape is undone, and no second one.
            ("/v1/%256dodels", "/v1/%6dodels", "/v1/%256dodels"),
            ("/v1/%252e%252e/x", "/v1/%2e%2e/x", "/v1/%252e%252e/x"),
            ("/v1/.well/...", "/v1/.well/...", "/v1/.well/..."),
            ("*", "*", "*"),
            ("http://other/v1/%78", "/v1/x", "/v1/x"),
            ("http://other", "/", "/"),
        ] {
            let want = (asked.to_owned(), sent.to_owned());
            assert_eq!(read(came), Ok(want), "{came}");
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (target, why) in [
            ("/v1/../metrics", Irregular::Dots),
            ("/v1/./models", Irregular::Dots),
            ("/v1/x/..", Irregular::Dots),
            ("/v1/..;/x", Irregular::Dots),
            ("/v1/%2e%2e/x", Irregular::Dots),
            ("/v1/.%2E/x", Irregular::Dots),
            ("/v1/models/..%2fx", Irregular::Dots),
            ("/v1/..%2fx", Irregular::Slash),
            ("/v1%2fmodels", Irregular::Slash),
            ("/v1/models%2F", Irregular::Slash),
            ("/v1/..%5cx", Irregular::Slash),
            ("/v1/models/a%5Cb", Irregular::Slash),
            ("/v1/..\\x", Irregular::Unescaped),
            ("//v1/models", Irregular::Empty),
            ("/v1//models", Irregular::Empty),
            ("/v1/models//", Irregular::Empty),
            ("/v1/models/a%2f%2fb", Irregular::Empty),
            ("/v1/models%00", Irregular::Control),
            ("/v1/x%0d%0ay", Irregular::Control),
            ("/v1/x%7f", Irregular::Control),
            ("/v1/%zz", Irregular::Escape),
            ("/v1/%+f", Irregular::Escape),
            ("/v1/x%4", Irregular::Escape),
            ("/v1/x%", Irregular::Escape),
            ("/v1/%ff", Irregular::Escape),
        ] {
            assert_eq!(read(target), Err(why), "{target}");
        }
    }
}
