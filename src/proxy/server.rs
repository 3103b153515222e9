//! The side that clients see: accepts, answers, and leaves in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::headers;
use super::route::Front;
use super::sockets;
use super::upstream::BUFFER;

/// How long a client may keep an idle connection. Longer than any client's pool that we know
/// (reqwest and Go keep theirs for 90 s), so that it is the client that closes: a request sent into
/// a connection that the proxy was just closing would be lost.
const IDLE_CLIENT: Duration = Duration::from_secs(300);

/// Serves clients until told to stop, and then what is in flight to its end.
pub(super) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) {
    // Each connection holds a sender; when all are gone, so are the connections.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        match accepted {
            Ok((stream, client)) => {
                let (front, stop, open) = (Arc::clone(&front), stop.clone(), open.clone());
                tokio::spawn(async move {
                    converse(stream, headers::told(client.ip()), front, stop).await;
                    drop(open);
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop((listener, open));
    all_closed.recv().await;
}

/// Waits until the proxy is to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Without a teller nothing is told any more, which is as good a reason.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Lets some connections close when there are no descriptors left for another.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Answers one client's requests, one after another.
async fn converse(
    stream: TcpStream,
    client: HeaderValue,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) {
    sockets::tune(&stream);
    let service = service_fn(move |request| {
        let (front, client) = (Arc::clone(&front), client.clone());
        async move { front.answer(request, &client).await }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_CLIENT)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that leaves is daily business; a broken stream was already told of.
        tracing::debug!(%error, "a client's connection ended early");
    }
}
