//! Clients that speak HTTP/2 from their first byte on, over plain TCP ("prior knowledge", RFC 9113
//! section 3.3). Backends are spoken to in HTTP/1.1, as all of them understand.
//!
//! Many requests are answered at once over one connection, each in a stream with a task of its own.
//! What holds for a connection of HTTP/1 holds for each of these: a client that takes nothing of one,
//! or gives it up, loses that one, and the others go on. One that broke off upstream is reset, and
//! never ended.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::mpsc;

use super::body::Outgoing;
use super::clients::{self, Asked, ClientStream, Clients, During, Guest, Late, Told};
use super::record::Record;
use super::route::{ClientGone, Front};
use super::server::{Client, answer_without_room, left_early};
use super::upstream::BUFFER;

/// So many requests may be asked at once over one connection.
const STREAMS: u32 = 250;

/// So much of a request may come that is not read yet. What a connection may hold is as much for each
/// stream: a backend that takes nothing of one upload never holds up another. No more than that, 16 MB,
/// is kept of what a client sends, beside what `Uploads` counts.
const WINDOW: u32 = 64 * 1024;

/// So much of an answer is kept that the client has not made room for, and one piece more: with as much
/// for each stream, 32 MB of a connection at most.
const UNSENT: usize = 64 * 1024;

/// So many streams may have been given up by the client before they were looked at. Who opens and resets
/// them faster than that is no client (CVE-2023-44487).
const RESET: usize = 50;

/// A client of which nothing came for so long is asked whether it is there.
const PING: Duration = Duration::from_secs(30);

/// Who is to leave has so long to take note of it.
const GOING: Duration = Duration::from_secs(1);

/// Answers a client's requests, many at once.
pub(super) async fn converse(stream: ClientStream, client: Client) {
    let Client {
        address,
        guest,
        front,
        taking,
        idle,
        open,
    } = client;
    let standing = &guest.standing;
    let service = service_fn(|request: Request<Incoming>| {
        let is_beside = standing.is_asked();
        let seat = is_beside.then(|| guest.clients.seat()).flatten();
        let has_room = !guest.is_spare && (!is_beside || seat.is_some());
        let asked = standing.ask().seated(seat);
        if guest.is_spare {
            standing.tell(Told::Leave);
        }
        let (front, client) = (Arc::clone(&front), address.clone());
        clients::noted(answer(front, client, request, asked, has_room))
    });
    let streams = Streams(Arc::new(Serving {
        taking,
        clients: Arc::clone(&guest.clients),
        _open: open,
    }));
    let connection = bounded(streams, taking).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let at_last = tokio::select! {
        ended = connection.as_mut() => return note_end(&guest, ended),
        told = standing.told() => match told {
            Told::Stop => taking,
            Told::Leave => GOING,
        },
        () = standing.is_free_for(idle) => {
            guest.clients.ended(Late::Request);
            GOING
        }
    };
    connection.as_mut().graceful_shutdown();
    // It may not answer, or not take what is left of an answer.
    let is_over = async {
        tokio::time::sleep(at_last).await;
        standing.is_free_for(at_last).await;
    };
    tokio::select! {
        ended = connection.as_mut() => note_end(&guest, ended),
        () = is_over => {}
    }
}

/// What bounds a connection, and the memory that it takes.
fn bounded(streams: Streams, taking: Duration) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESET)
        .max_header_list_size(BUFFER as u32)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(STREAMS * WINDOW)
        .max_send_buf_size(UNSENT)
        .keep_alive_interval(PING)
        // Who takes nothing hears no question either.
        .keep_alive_timeout(taking);
    builder
}

/// Runs the streams of a connection.
#[derive(Clone)]
struct Streams(Arc<Serving>);

/// What the streams of a connection share.
struct Serving {
    taking: Duration,
    clients: Arc<Clients>,
    /// They may end after the connection.
    _open: mpsc::Sender<()>,
}

impl<S: Future<Output = ()> + Send + 'static> Executor<S> for Streams {
    fn execute(&self, stream: S) {
        let serving = Arc::clone(&self.0);
        tokio::spawn(async move {
            // One that is given up is reset, as it is dropped.
            if !clients::bounded(stream, serving.taking).await {
                serving.clients.ended(Late::Taking);
            }
        });
    }
}

fn note_end(guest: &Guest, ended: hyper::Result<()>) {
    let Err(error) = ended else { return };
    // Of the error that ended it, h2 keeps the kind.
    let cause = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    if cause.is_some_and(|it| it.kind() == io::ErrorKind::TimedOut) {
        guest.clients.ended(Late::Taking);
    }
    left_early(guest, &error);
}

/// Answers one request, in the terms of HTTP/2.
async fn answer(
    front: Arc<Front>,
    client: HeaderValue,
    request: Request<Incoming>,
    asked: Asked,
    has_room: bool,
) -> Result<Response<During>, ClientGone> {
    let version = request.version();
    let is_head = request.method() == Method::HEAD;
    let (mut head, body) = request.into_parts();
    let mut record = Record::begin(&front, &head, &client);
    join_cookies(&mut head.headers);
    let mut answer = if has_room {
        front.answer(&mut head, body, &client, &mut record).await?
    } else {
        answer_without_room(&front, &mut head, body, &client, &mut record).await?
    };
    record.answered(&answer);
    // There is none to close: what is wrong with one stream is so with no other.
    answer.headers_mut().remove(header::CONNECTION);
    if is_head {
        leave_body_out(&mut answer);
    }
    Ok(answer.map(|body| asked.until_over(body, version, record)))
}

/// HTTP/2 allows a cookie in pieces, which HTTP/1.1 does not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let pieces = headers.get_all(header::COOKIE).iter();
    let pieces: Vec<_> = pieces.map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Leaves a page of the proxy's own out of an answer to HEAD, and its length in: of HTTP/1, hyper does so
/// itself.
fn leave_body_out(answer: &mut Response<Outgoing>) {
    let Outgoing::Own(Some(page)) = answer.body() else {
        return;
    };
    let length = HeaderValue::from(page.len());
    let headers = answer.headers_mut();
    headers.entry(header::CONTENT_LENGTH).or_insert(length);
    *answer.body_mut() = Outgoing::own(Bytes::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_put_together_again() {
        for (pieces, whole) in [
            (&["a=1", "b=2; c=3", "d=4"][..], Some("a=1; b=2; c=3; d=4")),
            (&["a=1"], Some("a=1")),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for piece in pieces {
                headers.append(header::COOKIE, HeaderValue::from_static(piece));
            }
            join_cookies(&mut headers);
            let found: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
            let wanted: Vec<_> = whole.into_iter().collect();
            assert_eq!(found, wanted);
        }
    }
}
