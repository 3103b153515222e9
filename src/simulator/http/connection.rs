//! Connections: accepted, kept alive for five idle seconds, and waited for at the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Server, answer};
use crate::simulator::log::Log;

/// After how long uvicorn closes a connection that has served and is idle.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long uvicorn waits before it says that it waits.
const PATIENCE: Duration = Duration::from_millis(100);

/// The open connections of a server, and the socket that they come from.
pub(in crate::simulator) struct Connections {
    closing: watch::Sender<bool>,
    /// Ends when every connection has let go of the other end.
    open: mpsc::Receiver<Infallible>,
}

/// What a connection does. uvicorn gives a connection that has never asked all the time it wants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Activity {
    Fresh,
    Busy,
    Idle(Instant),
}

/// Says that a connection is busy for as long as it exists.
pub(super) struct Busy(Arc<watch::Sender<Activity>>);

impl Busy {
    pub(super) fn on(activity: &Arc<watch::Sender<Activity>>) -> Self {
        activity.send_replace(Activity::Busy);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_replace(Activity::Idle(Instant::now()));
    }
}

impl Connections {
    /// Accepts connections until they are closed.
    pub(in crate::simulator) fn accept(server: Arc<Server>, listener: TcpListener) -> Self {
        let (closing, mut closed) = watch::channel(false);
        let (holder, open) = mpsc::channel(1);
        let told = closing.subscribe();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    biased;
                    _ = closed.wait_for(|closed| *closed) => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, _)) => {
                        let serving =
                            serve(Arc::clone(&server), stream, told.clone(), holder.clone());
                        tokio::spawn(serving);
                    }
                    // Out of file descriptors, most likely: some will come back.
                    Err(_) => sleep(PATIENCE).await,
                }
            }
        });
        Self { closing, open }
    }

    /// Closes the socket and idle connections, and waits for the others.
    pub(in crate::simulator) async fn close(mut self, log: &Log) {
        self.closing.send_replace(true);
        log.uvicorn("Shutting down");
        tokio::select! {
            biased;
            _ = self.open.recv() => {}
            () = sleep(PATIENCE) => {
                log.uvicorn("Waiting for connections to close. (CTRL+C to force quit)");
                self.open.recv().await;
            }
        }
        log.uvicorn("Waiting for application shutdown.");
        log.uvicorn("Application shutdown complete.");
    }
}

async fn serve(
    server: Arc<Server>,
    stream: TcpStream,
    mut closing: watch::Receiver<bool>,
    _open: mpsc::Sender<Infallible>,
) {
    // A token is a small packet that must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let peer = stream
        .peer_addr()
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let activity = Arc::new(watch::Sender::new(Activity::Fresh));
    let mut watched = activity.subscribe();
    let service = service_fn(move |request| {
        let (server, peer, busy) = (Arc::clone(&server), peer.clone(), Busy::on(&activity));
        async move { Ok::<_, Infallible>(answer(server, request, &peer, busy).await) }
    });
    let mut connection = std::pin::pin!(
        // uvicorn puts the date first; hyper would put it last.
        http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
        () = idled(&mut watched) => {}
    }
    // Closes at once when idle, else after the response.
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn idled(activity: &mut watch::Receiver<Activity>) {
    loop {
        let now = *activity.borrow_and_update();
        let changed = activity.changed();
        match now {
            Activity::Idle(since) => tokio::select! {
                () = sleep_until(since + KEEP_ALIVE) => return,
                changed = changed => if changed.is_err() { return },
            },
            Activity::Fresh | Activity::Busy => {
                if changed.await.is_err() {
                    return;
                }
            }
        }
    }
}
