//! Clients that stream through the proxy while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::suite::support::Workdir;

/// Answers that are streamed before it begins, and after it is over.
const AROUND: u32 = 8;

/// Clients that are at it.
pub(super) struct Clients {
    seen: Arc<Seen>,
    streaming: Vec<JoinHandle<()>>,
}

/// What they saw.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    whole: AtomicU32,
    broken: AtomicU32,
}

impl Seen {
    /// Streams one answer after another until told that it is over.
    async fn stream(self: Arc<Self>, url: String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        while !self.over.load(Ordering::SeqCst) {
            let body = json!({"model": "demo", "prompt": "Hello", "max_tokens": 200,
                              "ignore_eos": true, "stream": true});
            let answer = async {
                let request = client.post(&url).json(&body);
                let answer = request.send().await.ok()?.error_for_status().ok()?;
                answer.text().await.ok()
            };
            let is_whole = answer.await.is_some_and(|text| text.contains("[DONE]"));
            let count = if is_whole { &self.whole } else { &self.broken };
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn have(&self, whole: u32) {
        while self.whole.load(Ordering::SeqCst) < whole {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Clients {
    /// So many, once they have been answered.
    pub(super) async fn begin(place: &Workdir, count: usize) -> Self {
        let url = format!("http://127.0.0.1:{}/v1/completions", place.port(2));
        let seen = Arc::new(Seen::default());
        let one = |_| tokio::spawn(Arc::clone(&seen).stream(url.clone()));
        let streaming = (0..count).map(one).collect();
        seen.have(AROUND).await;
        Self { seen, streaming }
    }

    /// Ends them once they were answered again; returns how many answers were broken.
    pub(super) async fn end(self) -> u32 {
        let served = self.seen.whole.load(Ordering::SeqCst);
        self.seen.have(served + AROUND).await;
        self.seen.over.store(true, Ordering::SeqCst);
        for stream in self.streaming {
            stream.await.unwrap();
        }
        self.seen.broken.load(Ordering::SeqCst)
    }
}
