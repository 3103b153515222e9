//! The side that clients see: accepts, answers, and leaves in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::clients::{ClientStream, During, Standing};
use super::headers;
use super::limits::Limits;
use super::route::{ClientGone, Front};
use super::sockets;
use super::upstream::BUFFER;

/// Serves clients until told to stop, and then what is in flight to its end.
pub(super) async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    limits: Limits,
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
                let taking = front.pool.client_patience().unwrap_or(limits.client);
                sockets::tune_client(&stream, taking);
                let standing = Arc::<Standing>::default();
                let stream = ClientStream::new(stream, Arc::clone(&standing), &limits, taking);
                tokio::spawn(async move {
                    let client = headers::told(client.ip());
                    converse(stream, client, standing, front, stop).await;
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
    stream: ClientStream,
    client: HeaderValue,
    standing: Arc<Standing>,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let (front, client) = (Arc::clone(&front), client.clone());
        let asked = standing.ask();
        async move {
            let (head, body) = front.answer(request, &client).await?.into_parts();
            Ok::<Response<During>, ClientGone>(Response::from_parts(head, asked.until_over(body)))
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
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
