//! The port at which an engine tells others who it is, and lets them read its blocks.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::Connector;
use super::wire::{Line, Question, Reply};
use crate::simulator::engine::Engine;

/// A side channel that listens.
#[derive(Debug)]
pub(in crate::simulator) struct SideChannel(TcpListener);

impl SideChannel {
    /// Listens.
    pub(super) async fn bind(host: &str, port: u16) -> std::io::Result<Self> {
        TcpListener::bind((host, port)).await.map(Self)
    }

    pub(super) fn port(&self) -> std::io::Result<u16> {
        self.0.local_addr().map(|address| address.port())
    }

    /// Answers whoever connects for as long as the engine runs; its end is the end of all of them.
    pub(in crate::simulator) async fn serve(self, connector: Arc<Connector>, engine: Engine) {
        let accepting = async {
            loop {
                // Out of file descriptors, most likely: some will come back.
                let Ok((stream, _)) = self.0.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let (connector, engine) = (Arc::clone(&connector), engine.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = converse(Line::over(stream), &connector, &engine) => {}
                        () = engine.stopped() => {}
                    }
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = engine.stopped() => {}
        }
    }
}

async fn converse(mut line: Line, connector: &Connector, engine: &Engine) {
    while let Ok(question) = line.hear().await {
        let reply = answer(question, connector, engine);
        if line.say(&reply).await.is_err() {
            return;
        }
    }
}

fn answer(question: Question, connector: &Connector, engine: &Engine) -> Reply {
    let is_here = |name: &str| name == connector.engine_id;
    match question {
        Question::Who => Reply::Me(connector.identity.clone()),
        Question::Read {
            engine: name,
            places,
        } if is_here(&name) => Reply::Traces(engine.books().read(&places)),
        Question::Done {
            engine: name,
            request,
        } if is_here(&name) => {
            engine.fetched(request);
            Reply::Noted
        }
        Question::Read { .. } | Question::Done { .. } => Reply::Another,
    }
}
