//! The side that clients see: accepts, answers, and leaves in order.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::body::Outgoing;
use super::clients::{ClientStream, During, Guest, Late, Told, Wakers};
use super::error::ApiError;
use super::headers::{self, Rare};
use super::http2;
use super::limits::Limits;
use super::paths::Route;
use super::record::Record;
use super::route::{ClientGone, Front};
use super::seldom::seldom;
use super::sockets;
use super::upstream::BUFFER;
use super::workers::Workers;

/// So long a client that asks nothing may keep its connection to a proxy that has a successor. Whoever
/// closed it at once would meet some requests half-way.
const PARTING: Duration = Duration::from_secs(5);

/// What a proxy is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Going {
    /// Serve.
    On,
    /// Accept nothing more: another one does. Each client goes with its next answer.
    Parting,
    /// Accept nothing more, and let idle clients go.
    Stopping,
}

/// Serves clients until told otherwise, and then what is in flight to its end.
pub(super) async fn serve(
    listener: TcpListener,
    workers: Workers,
    front: Arc<Front>,
    limits: Limits,
    mut going: watch::Receiver<Going>,
) {
    let clients = Arc::clone(&front.clients);
    // Each connection holds a sender; when all are gone, so are the connections.
    let (open, mut all_closed) = mpsc::channel::<()>(1);
    loop {
        let accepting = async {
            clients.room().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = told(&mut going, Going::Parting) => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let taking = front.pool.client_patience().unwrap_or(limits.client);
                sockets::tune_client(&stream, taking);
                let guest = clients.welcome();
                let standing = Arc::clone(&guest.standing);
                let limits = limits.clone();
                let client = Client {
                    address: headers::told(address.ip()),
                    guest,
                    front: Arc::clone(&front),
                    taking,
                    idle: limits.idle,
                    open: open.clone(),
                };
                let served = workers.serve(stream, move |stream| {
                    converse(ClientStream::new(stream, standing, &limits, taking), client)
                });
                if let Err(error) = served {
                    tracing::warn!(%error, "a connection was not handed on");
                }
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop((listener, open));
    clients.part();
    tokio::select! {
        _ = all_closed.recv() => return,
        () = told(&mut going, Going::Stopping) => {}
        () = tokio::time::sleep(PARTING) => {}
    }
    clients.stop();
    all_closed.recv().await;
}

/// A client that is connected, and what it takes to answer it.
pub(super) struct Client {
    /// Where it is, as backends are told.
    pub(super) address: HeaderValue,
    pub(super) guest: Guest,
    pub(super) front: Arc<Front>,
    /// How long it may take nothing of what is written to it.
    pub(super) taking: Duration,
    /// How long it may ask nothing.
    pub(super) idle: Duration,
    /// The proxy has stopped once nobody holds one any more.
    pub(super) open: mpsc::Sender<()>,
}

/// Waits until the proxy is to go so far.
async fn told(going: &mut watch::Receiver<Going>, so_far: Going) {
    // Without a teller nothing is told any more, which is as good a reason.
    let _ = going.wait_for(|going| *going >= so_far).await;
}

/// Lets some connections close when there are no descriptors left for another.
async fn pause_after(error: &io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Answers one client's requests, in whichever of the two protocols it begins with.
async fn converse(mut stream: ClientStream, client: Client) {
    let speaks_http2 = tokio::select! {
        biased;
        speaks_http2 = stream.speaks_http2() => speaks_http2,
        _ = client.guest.standing.told() => return,
    };
    match speaks_http2 {
        // Nearly nobody does, and no other connection is to be as large.
        Ok(true) => seldom(http2::converse(stream, client)).await,
        Ok(false) => one_by_one(stream, client).await,
        Err(error) => left_early(&client.guest, &error),
    }
}

/// Answers requests of HTTP/1, one after another.
async fn one_by_one(stream: ClientStream, client: Client) {
    let Client {
        address,
        guest,
        front,
        ..
    } = client;
    let (front, client, is_spare) = (&front, &address, guest.is_spare);
    let service = service_fn(|request: Request<Incoming>| {
        let version = request.version();
        let asked = guest.standing.ask();
        // hyper keeps a place for it as long as the connection lasts, and most wait idle: so that is a pointer's.
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let mut record = Record::begin(front, &head, client);
            let answer = if is_spare {
                seldom(answer_and_close(
                    front,
                    &mut head,
                    body,
                    client,
                    &mut record,
                ))
                .await
            } else {
                front.answer(&mut head, body, client, &mut record).await
            };
            let mut answer = answer?;
            if front.clients.are_parting() {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(header::CONNECTION, close);
            }
            record.answered(&answer);
            let answer = answer.map(|body| asked.until_over(body, version, record));
            Ok::<Response<During>, ClientGone>(answer)
        })
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut wakers = Wakers::default();
    let ended = tokio::select! {
        biased;
        ended = poll_fn(|cx| wakers.poll(connection.as_mut(), cx)) => ended,
        told = guest.standing.told() => {
            if told == Told::Leave && guest.standing.is_idle() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        left_early(&guest, &error);
    }
}

/// Notes why a connection ended before its time.
pub(super) fn left_early(guest: &Guest, error: &(dyn Error + 'static)) {
    if let Some(late) = Late::of(error) {
        guest.clients.ended(late);
    }
    // A client that leaves is daily business; a broken stream was already told of.
    tracing::debug!(%error, "a client's connection ended early");
}

/// Answers one for whom there is no room, and lets it go.
async fn answer_and_close(
    front: &Front,
    head: &mut Parts,
    body: Incoming,
    client: &HeaderValue,
    record: &mut Record,
) -> Result<Response<Outgoing>, ClientGone> {
    let mut answer = answer_without_room(front, head, body, client, record).await?;
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    Ok(answer)
}

/// Answers a request for which there is no room: it gets the proxy's own pages, and nothing that takes
/// more.
pub(super) async fn answer_without_room(
    front: &Front,
    head: &mut Parts,
    body: Incoming,
    client: &HeaderValue,
    record: &mut Record,
) -> Result<Response<Outgoing>, ClientGone> {
    let route = Route::of(&head.method, head.uri.path());
    if let Route::Health | Route::Ready | Route::Metrics = route {
        return front.answer(head, body, client, record).await;
    }
    let why = "the proxy is answering as many clients as it can".to_owned();
    let id = headers::request_id(&head.headers, Rare::of(&head.headers));
    record.named(&id);
    Ok(record.refuse(ApiError::proxy_exhausted(why), &id))
}
