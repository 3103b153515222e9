//! Clients that stream through the proxy for as long as they are let.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Clients, each with one stream after another.
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    /// Starts so many clients against `host:port`.
    pub(super) fn through(authority: &'static str, clients: usize) -> Self {
        Self::of(clients, move |_| stream(authority).map(drop))
    }

    /// Starts so many clients, each of which does this again and again. It is told how often it was done
    /// before by any of them.
    pub(super) fn of(
        clients: usize,
        ask: impl Fn(usize) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let ask = Arc::new(ask);
        let begun = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let client = |_| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            let (ask, begun) = (Arc::clone(&ask), Arc::clone(&begun));
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match ask(begun.fetch_add(1, Ordering::SeqCst)) {
                        Ok(()) => drop(served.fetch_add(1, Ordering::SeqCst)),
                        Err(why) => {
                            failures.push(why);
                            // Who is refused at once does not ask as fast as it can.
                            thread::sleep(Duration::from_millis(50));
                        }
                    }
                }
                failures
            })
        };
        let clients = (0..clients).map(client).collect();
        Self {
            stop,
            served,
            clients,
        }
    }

    /// How many streams came to their end so far.
    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Ends it, and returns what went wrong.
    pub(super) fn ends(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.clients.into_iter().map(JoinHandle::join);
        ended
            .flat_map(|it| it.expect("a client does not panic"))
            .collect()
    }
}

/// The API key that clients show, to whoever wants one.
pub(super) const KEY: &str = "open-sesame-4711";

/// Asks for one stream of forty tokens, and returns the instance that served it.
pub(super) fn stream(authority: &str) -> Result<String, String> {
    let body = r#"{"model":"demo","prompt":"Hello","max_tokens":40,"stream":true}"#;
    let text = post(authority, "/v1/completions", body)?;
    if !text.starts_with("HTTP/1.1 200") || !text.contains("data: [DONE]") {
        return Err(text);
    }
    let served = text
        .lines()
        .find_map(|line| line.strip_prefix("x-replica-instance: "));
    Ok(served.unwrap_or_default().trim().to_owned())
}

/// What the proxy at `host:port` counts, by the name and the labels of each series as they are written.
pub(super) fn counted(authority: &str, series: &str) -> Option<f64> {
    let mut socket = TcpStream::connect(authority).ok()?;
    let request =
        format!("GET /metrics HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).ok()?;
    let mut page = String::new();
    socket.read_to_string(&mut page).ok()?;
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Posts a document, and returns the whole answer with its head.
pub(super) fn post(authority: &str, path: &str, body: &str) -> Result<String, String> {
    let words = |error: std::io::Error| format!("{authority}{path}: {error}");
    let mut socket = TcpStream::connect(authority).map_err(words)?;
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .map_err(words)?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {KEY}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).map_err(words)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).map_err(words)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
