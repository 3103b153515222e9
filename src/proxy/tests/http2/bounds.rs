//! Clients that take and give nothing hold nothing for long, and nobody up.

use tokio::net::TcpSocket;

use super::*;

/// An instance that streams without end to who asks for a flood, and waits to be told otherwise.
async fn flooding() -> (Fake, mpsc::UnboundedReceiver<fake::Call>) {
    let (sender, calls) = mpsc::unbounded_channel();
    let fake = Fake::answering("a", move |mut call: fake::Call| {
        let sender = sender.clone();
        async move {
            if call.body != b"flood" {
                sender.send(call).ok();
                return None;
            }
            call.begin_stream().await;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
            while call.stream.write_all(chunk.as_bytes()).await.is_ok() {}
            None
        }
    });
    (fake.await, calls)
}

#[tokio::test]
async fn a_stream_that_is_not_read_ends_and_those_beside_it_go_on() {
    let (fake, mut calls) = flooding().await;
    let limits = Limits {
        client: Duration::from_millis(300),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let mut builder = Builder::new();
    let mut client = proxy
        .http2_by(builder.initial_connection_window_size(1 << 20))
        .await;
    let read = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    call.begin_stream().await;
    let mut read = begun(read).await;
    let mut unread = begun(client.post("flood").await).await;
    // The other one is silent for longer than a client may be.
    proxy.until_in_flight(1).await;
    call.chunk("data: 1\n\n").await;
    assert_eq!(piece(&mut read).await.unwrap().unwrap(), "data: 1\n\n");
    let mut came = 0;
    let end = loop {
        match soon(unread.data()).await.unwrap() {
            Ok(data) => came += data.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(end.reason(), Some(Reason::CANCEL));
    assert_eq!(came, 65_535, "what there was room for");
    call.end_stream().await;
    assert_eq!(rest(&mut read).await, (String::new(), None));
    proxy.until_requests(1, 0, 1).await;
    let cut = proxy.front.clients.cut();
    assert!(cut.contains(&("stalled", 1)), "{cut:?}");
}

#[tokio::test]
async fn a_client_that_reads_no_stream_at_all_is_cut_off() {
    let (fake, _calls) = flooding().await;
    let limits = Limits {
        client: Duration::from_millis(300),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(proxy.address).await.unwrap();
    let mut builder = Builder::new();
    builder
        .initial_window_size(1 << 30)
        .initial_connection_window_size(1 << 30);
    let (sending, mut connection) = builder.handshake(stream).await.unwrap();
    let (reads_no_more, mut told) = mpsc::channel::<()>(1);
    let driving = tokio::spawn(async move {
        tokio::select! {
            end = &mut connection => end,
            _ = told.recv() => std::future::pending().await,
        }
    });
    let mut client = Http2 { sending, driving };
    let _answers = [client.post("flood").await, client.post("flood").await];
    proxy.until_in_flight(2).await;
    drop(reads_no_more);
    proxy.until_in_flight(0).await;
    proxy.until_requests(0, 0, 2).await;
    proxy.until_nobody_is_connected().await;
}

fn few(clients: usize) -> Limits {
    Limits {
        clients: Some(clients),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_client_that_asks_nothing_goes_for_another() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::bearing(few(2), &[&fake]).await;
    let (mut busy, mut idle) = (proxy.http2().await, proxy.http2().await);
    let health = head(Method::GET, "/health");
    assert_eq!(idle.ask(health, "").await.status, 200);
    // One of its two requests ends, so that only the other one keeps it.
    let answers = [busy.post("{}").await, busy.post("{}").await];
    let mut upstream = [
        soon(calls.recv()).await.unwrap(),
        soon(calls.recv()).await.unwrap(),
    ];
    upstream[0].reply("200 OK", "{}").await;
    proxy.until_requests(1, 0, 0).await;
    assert_eq!(proxy.get("/health").await.status(), 200);
    idle.closed().await;
    upstream[1].reply("200 OK", "{}").await;
    for answer in answers {
        assert_eq!(whole(answer).await.status, 200);
    }
}

#[tokio::test]
async fn a_client_for_whom_there_is_no_room_is_told_so_and_let_go() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::bearing(few(1), &[&fake]).await;
    let mut busy = proxy.http2().await;
    let answer = busy.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    let mut spare = proxy.http2().await;
    let health = spare.send(head(Method::GET, "/health"), "").await;
    let refused = spare.post("{}").await;
    assert_eq!(whole(health).await.status, 200);
    let refused = whole(refused).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("proxy_exhausted"), "{}", refused.body);
    spare.closed().await;
    call.reply("200 OK", "{}").await;
    assert_eq!(whole(answer).await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_nothing_for_long_is_let_go_in_order() {
    let (fake, mut calls) = Fake::driven("a").await;
    let limits = Limits {
        idle: Duration::from_millis(300),
        // What comes between requests is no head that takes long.
        head: Duration::from_millis(10),
        ..Limits::default()
    };
    let proxy = Running::bearing(limits, &[&fake]).await;
    let (mut client, idle) = (proxy.http2().await, proxy.http2().await);
    let answer = client.post("{}").await;
    let mut call = soon(calls.recv()).await.unwrap();
    idle.closed().await;
    call.reply("200 OK", "{}").await;
    assert_eq!(whole(answer).await.status, 200);
    client.closed().await;
    let cut = proxy.front.clients.cut();
    assert!(cut.contains(&("idle", 2)), "{cut:?}");
}

/// The reason in a GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = frames {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if *kind == 7 {
            return Some(u32::from_be_bytes(rest[4..8].try_into().unwrap()));
        }
        frames = rest.get(length..)?;
    }
    None
}

/// Who opens requests and takes them back, faster than they can be looked at, is sent away.
#[tokio::test]
async fn a_flood_of_requests_that_are_taken_back_ends_the_connection() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let mut raw = proxy.client().await;
    // The preface, no settings, and HEADERS for `GET / http` with RST_STREAM behind each.
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1..2000_u32).step_by(2) {
        let stream = stream.to_be_bytes();
        flood.extend_from_slice(b"\0\0\x03\x01\x05");
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(b"\x82\x84\x86");
        flood.extend_from_slice(b"\0\0\x04\x03\0");
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(b"\0\0\0\x08");
    }
    let _ = raw.0.write_all(&flood).await;
    let mut read = Vec::new();
    let _ = soon(raw.0.read_to_end(&mut read)).await;
    // The last frame is GOAWAY, with ENHANCE_YOUR_CALM.
    assert_eq!(goaway(&read), Some(11), "{read:?}");
    assert_eq!(fake.calls(), 0);
}
