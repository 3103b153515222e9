//! Clients that speak HTTP/2, many requests at once over one connection.

mod bounds;
mod uploads;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use hyper::{HeaderMap, Method, StatusCode};

use super::*;

/// A client's connection, whose frames the tests see.
struct Http2 {
    sending: SendRequest<Bytes>,
    driving: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
struct Whole {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Running {
    async fn http2(&self) -> Http2 {
        self.http2_by(&mut Builder::new()).await
    }

    async fn http2_by(&self, builder: &mut Builder) -> Http2 {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sending, connection) = builder.handshake(stream).await.unwrap();
        Http2 {
            sending,
            driving: tokio::spawn(connection),
        }
    }

    async fn until_nobody_is_connected(&self) {
        let connected = || self.front.clients.connected();
        soon(async {
            while connected() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn until_in_flight(&self, wanted: u64) {
        self.until(|status| {
            let counts = status.backends.values().map(|backend| backend.in_flight);
            counts.sum::<u64>() == wanted
        })
        .await;
    }
}

fn head(method: Method, path: &str) -> hyper::Request<()> {
    let target = format!("http://proxy{path}");
    let request = hyper::Request::builder().method(method).uri(target);
    request.body(()).unwrap()
}

impl Http2 {
    /// Begins a request whose body is still to be sent.
    async fn begin(&mut self, head: hyper::Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.sending = soon(self.sending.clone().ready()).await.unwrap();
        self.sending.send_request(head, false).unwrap()
    }

    /// Sends a whole request.
    async fn send(&mut self, head: hyper::Request<()>, body: &str) -> ResponseFuture {
        let (answer, mut sending) = self.begin(head).await;
        let body = Bytes::copy_from_slice(body.as_bytes());
        sending.send_data(body, true).unwrap();
        answer
    }

    async fn post(&mut self, body: &str) -> ResponseFuture {
        self.send(head(Method::POST, "/v1/completions"), body).await
    }

    async fn ask(&mut self, head: hyper::Request<()>, body: &str) -> Whole {
        whole(self.send(head, body).await).await
    }

    /// Waits until the proxy has closed the connection, in order.
    async fn closed(self) {
        soon(self.driving).await.unwrap().unwrap();
    }
}

async fn begun(answer: ResponseFuture) -> RecvStream {
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body()
}

/// The next piece of a body.
async fn piece(body: &mut RecvStream) -> Result<Option<String>, h2::Error> {
    let Some(data) = soon(body.data()).await else {
        return Ok(None);
    };
    let data = data?;
    body.flow_control().release_capacity(data.len())?;
    Ok(Some(String::from_utf8(data.to_vec()).unwrap()))
}

/// All that comes of a body, and the reason for which it was reset, if it was.
async fn rest(body: &mut RecvStream) -> (String, Option<Reason>) {
    let mut all = String::new();
    loop {
        match piece(body).await {
            Ok(Some(piece)) => all.push_str(&piece),
            Ok(None) => return (all, None),
            Err(error) => return (all, error.reason()),
        }
    }
}

async fn whole(answer: ResponseFuture) -> Whole {
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    let (body, reset) = rest(&mut body).await;
    assert_eq!(reset, None);
    Whole {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

#[tokio::test]
async fn a_request_goes_on_in_http_1() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let mut request = head(Method::POST, "/v1/%63ompletions?x=1");
    for (name, value) in [("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2")] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = client.send(request, "{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    assert_eq!(call.line(), "POST /v1/completions?x=1 HTTP/1.1");
    assert_eq!(call.body, b"{}");
    for (name, value) in [
        ("host", Some("proxy")),
        ("cookie", Some("a=1; b=2")),
        ("te", None),
        ("content-length", Some("2")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-forwarded-host", Some("proxy")),
        ("x-forwarded-proto", Some("http")),
    ] {
        assert_eq!(call.header(name), value, "{name}");
    }
    call.write(
        "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .await;
    call.chunk("whole").await;
    call.write("0\r\nx-trailer: 1\r\n\r\n").await;
    let answer = whole(answer).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "whole"));
    assert_eq!(answer.headers["x-replica-instance"], "a");
    for gone in ["connection", "transfer-encoding", "x-hop", "content-length"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_before_the_next_is_sent() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let answer = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.begin_stream().await;
    let mut body = begun(answer).await;
    for event in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
        call.chunk(event).await;
        assert_eq!(piece(&mut body).await.unwrap().as_deref(), Some(event));
    }
    call.end_stream().await;
    assert_eq!(rest(&mut body).await, (String::new(), None));
    proxy.until_requests(1, 0, 0).await;
}

#[tokio::test]
async fn a_hundred_streams_of_one_connection_are_as_many_requests() {
    let (a, mut at_a) = Fake::driven("a").await;
    let (b, mut at_b) = Fake::driven("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    let mut balanced = config(2, &[&a, &b]);
    balanced.policy = PolicySpec::LeastConnections;
    proxy.configure(&balanced).await;
    let mut client = proxy.http2().await;
    let mut answers = Vec::new();
    for number in 0..100 {
        answers.push(client.post(&number.to_string()).await);
    }
    let status = proxy
        .until(|status| status.backends.values().all(|it| it.in_flight == 50))
        .await;
    assert_eq!(status.requests.ok, 0);
    for calls in [&mut at_a, &mut at_b] {
        for _ in 0..50 {
            let mut call = soon(calls.recv()).await.unwrap();
            let body = String::from_utf8(call.body.clone()).unwrap();
            call.reply("200 OK", &body).await;
        }
    }
    for (number, answer) in answers.into_iter().enumerate() {
        assert_eq!(whole(answer).await.body, number.to_string());
    }
    proxy.until_requests(100, 0, 0).await;
}

#[tokio::test]
async fn a_broken_stream_is_reset_behind_all_that_came_before() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let broken = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    let other = client.post("{}").await;
    let mut other_call = soon(calls.recv()).await.unwrap();
    for call in [&mut call, &mut other_call] {
        call.begin_stream().await;
    }
    let many = "data: one\n\n".repeat(4000);
    call.chunk(&many).await;
    drop(call);
    let (mut broken, mut other) = (begun(broken).await, begun(other).await);
    let (seen, reset) = rest(&mut broken).await;
    assert_eq!(reset, Some(Reason::INTERNAL_ERROR), "{seen}");
    let event = seen.strip_prefix(&many).unwrap();
    let event = event.strip_prefix("data: ").unwrap();
    let error: Value = serde_json::from_str(event.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "upstream_broken");
    proxy.until_requests(0, 1, 0).await;
    other_call.end_stream().await;
    assert_eq!(rest(&mut other).await, (String::new(), None));
    proxy.until_requests(1, 1, 0).await;
}

#[tokio::test]
async fn what_came_of_a_body_of_known_length_arrives_before_it_is_reset() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let answer = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
        .await;
    drop(call);
    let mut body = begun(answer).await;
    let seen = rest(&mut body).await;
    assert_eq!(seen, ("short".to_owned(), Some(Reason::INTERNAL_ERROR)));
    proxy.until_requests(0, 1, 0).await;
}

#[tokio::test]
async fn a_stream_that_its_client_gives_up_cuts_one_request() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let lives = client.post("{}").await;
    let mut living = soon(calls.recv()).await.unwrap();
    living.begin_stream().await;
    let mut lives = begun(lives).await;
    for begins in [true, false] {
        let (given_up, mut reset) = client.begin(head(Method::POST, "/v1/completions")).await;
        reset.send_data(Bytes::from_static(b"{}"), true).unwrap();
        let mut call = soon(calls.recv()).await.unwrap();
        let mut body = None;
        if begins {
            call.begin_stream().await;
            body = Some(begun(given_up).await);
        }
        reset.send_reset(Reason::CANCEL);
        soon(call.gone()).await;
        drop(body);
        proxy.until_in_flight(1).await;
    }
    living.chunk("data: 1\n\n").await;
    living.end_stream().await;
    assert_eq!(rest(&mut lives).await, ("data: 1\n\n".to_owned(), None));
    proxy.until_requests(1, 0, 2).await;
}

#[tokio::test]
async fn a_client_that_goes_away_cuts_all_that_it_asked() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let _answers = [client.post("{}").await, client.post("{}").await];
    let mut upstream = [
        soon(calls.recv()).await.unwrap(),
        soon(calls.recv()).await.unwrap(),
    ];
    upstream[0].begin_stream().await;
    client.driving.abort();
    for call in &mut upstream {
        soon(call.gone()).await;
    }
    proxy.until_requests(0, 0, 2).await;
    proxy.until_in_flight(0).await;
}

#[tokio::test]
async fn a_proxy_that_stops_ends_its_streams_first() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let idle = proxy.http2().await;
    let mut client = proxy.http2().await;
    let answer = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.begin_stream().await;
    let mut body = begun(answer).await;
    let front = Arc::clone(&proxy.front);
    let stopping = tokio::spawn(proxy.stop());
    idle.closed().await;
    call.chunk("data: 1\n\n").await;
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "data: 1\n\n");
    call.end_stream().await;
    assert_eq!(rest(&mut body).await, (String::new(), None));
    client.closed().await;
    soon(stopping).await.unwrap();
    assert_eq!(front.ledger.read().ok, 1);
}

#[tokio::test]
async fn odd_requests_are_refused_and_their_connection_lives_on() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let of_nobody = hyper::Request::get("/v1/models").body(()).unwrap();
    let mut of_two = head(Method::GET, "/v1/models");
    let host = "other".parse().unwrap();
    of_two.headers_mut().insert("host", host);
    let mut large = head(Method::GET, "/v1/models");
    let filling = "x".repeat(70_000).parse().unwrap();
    large.headers_mut().insert("x-large", filling);
    let tunnel = hyper::Request::connect("example.com:443").body(()).unwrap();
    for (request, status) in [
        (of_nobody, 400),
        (of_two, 400),
        (large, 431),
        (tunnel, 501),
        (head(Method::TRACE, "/v1/models"), 501),
        (head(Method::GET, "/v1/../metrics"), 400),
        (head(Method::GET, "/nowhere"), 404),
        (head(Method::POST, "/health"), 405),
    ] {
        let named = format!("{request:?}");
        let answer = client.ask(request, "").await;
        assert_eq!(answer.status, status, "{named}");
        assert!(!answer.headers.contains_key("connection"), "{named}");
    }
    assert_eq!(fake.calls(), 0);
    assert_eq!(whole(client.post("{}").await).await.status, 200);
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.http2().await;
    let whole = client.ask(head(Method::GET, "/health"), "").await;
    let length = whole.headers["content-length"].clone();
    assert_eq!(length, whole.body.len().to_string());
    let answer = client.ask(head(Method::HEAD, "/health"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.headers["content-length"], length);
}

#[tokio::test]
async fn a_beginning_that_comes_in_pieces_is_understood() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut client = proxy.client().await;
    let request = post("/v1/completions", "{}");
    let (first, last) = request.split_at(1);
    client.send(first).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(last).await;
    assert_eq!(client.answer().await.status(), 200);
    let mut client = proxy.client().await;
    client.send("PRI * HTTP/2.0\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send("\r\nSM\r\n\r\n").await;
    client.send("\0\0\0\u{4}\0\0\0\0\0").await;
    let mut settings = [0; 9];
    soon(client.0.read_exact(&mut settings)).await.unwrap();
    assert_eq!(settings[3..], [4, 0, 0, 0, 0, 0], "{settings:?}");
}
