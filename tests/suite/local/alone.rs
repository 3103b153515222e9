//! The proxy without a topology: before servers that somebody else has started.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::suite::support::process::Signal;
use crate::suite::support::{Running, Workdir, until};

/// A program that is told to end, and does: one that is killed would leave its engine behind.
pub(super) struct Serving(Option<Running>);

impl Serving {
    pub(super) fn begin(place: &Workdir, words: &[&str]) -> Self {
        Self(Some(place.begin(words)))
    }

    /// A simulated server on one of the place's ports.
    fn simulated(place: &Workdir, index: usize) -> Self {
        let port = place.port(index).to_string();
        let words = ["simulate", "serve", "demo", "--port", &port];
        Self::begin(place, &[&words[..], &["--sim-load-seconds", "0"]].concat())
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.0.as_ref().unwrap().signal(signal);
    }

    /// Waits until it ends by itself.
    fn ends(&mut self) -> crate::suite::support::Said {
        self.0.take().unwrap().end()
    }

    pub(super) fn end(&mut self) -> crate::suite::support::Said {
        self.signal(Signal::TERM);
        self.0.take().unwrap().end()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.0.is_some() {
            let _ = self.end();
        }
    }
}

pub(super) fn ask(port: u16, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(super) fn get(port: u16, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask(port, &request)
}

/// Which server answers a completion, if one does.
fn served_by(port: u16) -> Option<String> {
    let body = r#"{"model": "demo", "prompt": "Hello", "max_tokens": 3}"#;
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(port, &request).unwrap();
    let mut lines = answer.lines();
    assert_ne!(lines.next(), Some("HTTP/1.1 502 Bad Gateway"), "{answer}");
    let named = lines.find_map(|line| line.strip_prefix("x-replica-instance: "));
    named.map(str::to_owned)
}

fn until_ready(port: u16, servers: &[String]) {
    for server in servers {
        until(server, || {
            (served_by(port).as_ref() == Some(server)).then_some(())
        });
    }
}

pub(super) fn until_it_answers(port: u16) {
    until("an answer", || get(port, "/health").ok());
}

#[test]
fn servers_that_nobody_declared_are_passed_requests_to() {
    let place = Workdir::empty();
    let _servers = [0, 1].map(|index| Serving::simulated(&place, index));
    for index in [0, 1] {
        until_it_answers(place.port(index));
    }
    let names = [0, 1].map(|index| format!("127.0.0.1:{}", place.port(index)));
    let urls = names.each_ref().map(|name| format!("http://{name}"));
    let listen = format!("127.0.0.1:{}", place.port(2));
    let [a, b] = &urls;
    let words = ["proxy", "--listen", &listen, "--backend", a, "--backend", b];
    let logged = ["--access-log", "-"];
    let mut proxy = Serving::begin(&place, &[&words[..], &logged].concat());
    until_it_answers(place.port(2));
    until_ready(place.port(2), &names);
    let _ = proxy
        .end()
        .exits(0)
        .says(&format!(
            "proxy on http://{listen}: round_robin to {} and {}",
            names[0], names[1]
        ))
        .says("nobody was proved")
        .says(&format!("ready backend={}", names[0]))
        .shows(r#""path":"/v1/completions""#)
        .shows(&format!(r#""instance":"{}""#, names[1]));
    assert!(!place.work().join("proxy.sock").exists());
}

#[test]
fn a_file_is_read_again_when_the_proxy_is_told_to() {
    let place = Workdir::empty();
    let _servers = [0, 1].map(|index| Serving::simulated(&place, index));
    for index in [0, 1] {
        until_it_answers(place.port(index));
    }
    let names = ["first".to_owned(), "second".to_owned()];
    let declare = |index: usize| {
        let text = format!(
            "listen: 127.0.0.1:{}\nbackends: [{{name: {}, url: 'http://127.0.0.1:{}'}}]\n",
            place.port(2),
            names[index],
            place.port(index),
        );
        place.write("proxy.yaml", &text);
    };
    declare(0);
    let mut proxy = Serving::begin(&place, &["proxy", "--config", "proxy.yaml"]);
    until_it_answers(place.port(2));
    until_ready(place.port(2), &names[..1]);
    declare(1);
    proxy.signal(Signal::HUP);
    until("the second", || {
        (served_by(place.port(2)).as_deref() == Some("second")).then_some(())
    });
    let _ = proxy.end().exits(0).says("configured generation=2");
}

#[test]
fn bounds_that_would_hold_for_nothing_are_refused() {
    let place = Workdir::empty();
    let alone = [
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--backend",
        "http://127.0.0.1:1",
    ];
    for (words, code, says) in [
        (&["--in-flight", "0"][..], 64, "a number from 1 on"),
        (&["--queue", "8"], 64, "--in-flight <REQUESTS>"),
        (&["--queue-timeout", "0"], 1, "leave it out for 30 seconds"),
    ] {
        let words = [&alone[..], words].concat();
        let _ = place.replica(&words).exits(code).says(says);
    }
    let by_file = ["proxy", "--config", "none.yaml", "--hold", "1s"];
    let _ = place
        .replica(&by_file)
        .exits(64)
        .says("cannot be used with");
}

#[test]
fn what_cannot_be_served_from_is_told_with_what_to_do() {
    let place = Workdir::empty();
    for (words, code, says) in [
        ("", 64, "--backend http://HOST:PORT"),
        (
            "--backend http://127.0.0.1:1",
            64,
            "--listen 127.0.0.1:8000",
        ),
        ("--listen 127.0.0.1:0 --backend https://x", 64, "plain HTTP"),
        (
            "--listen 127.0.0.1:0 --backend http://x/v1",
            64,
            "`/v1` included",
        ),
        (
            "--listen 127.0.0.1:0 --backend http://x:1,weight=0",
            64,
            "a weight must be from 1 to 256, and is 0",
        ),
        (
            "--listen 127.0.0.1:0 --backend http://x:1,backup",
            64,
            "there may be a weight, `,weight=3`, and a role, `,role=prefill` or `,role=decode`",
        ),
        ("--config none.yaml", 65, "no file `none.yaml`"),
        (
            "--listen 203.0.113.1:1 --backend http://127.0.0.1:1",
            1,
            "an address of this machine?",
        ),
    ] {
        let words: Vec<_> = ["proxy"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        let _ = place.replica(&words).exits(code).says(says);
    }
    place.write("proxy.yaml", "listen: 8000\nbackends: []\n");
    let said = place
        .replica(&["proxy", "--config", "proxy.yaml"])
        .exits(65);
    let _ = said.says("proxy.yaml:1:9").says("2 errors in proxy.yaml");
}

#[test]
fn another_takes_over_and_nobody_is_refused() {
    let place = Workdir::empty();
    let _server = Serving::simulated(&place, 0);
    until_it_answers(place.port(0));
    let backend = format!("http://127.0.0.1:{}", place.port(0));
    let port = place.port(2).to_string();
    let words = [
        "proxy",
        "--port",
        &port,
        "--backend",
        &backend,
        "--control",
        "proxy.sock",
        "--succeed",
    ];
    let mut before = Serving::begin(&place, &words);
    until_it_answers(place.port(2));
    let server = format!("127.0.0.1:{}", place.port(0));
    until_ready(place.port(2), std::slice::from_ref(&server));
    for _ in 0..2 {
        let mut next = Serving::begin(&place, &words);
        // It ends by itself, and nobody has told it to.
        let _ = before
            .ends()
            .exits(0)
            .says("another proxy has taken over: finishing what is in flight");
        assert_eq!(served_by(place.port(2)).as_ref(), Some(&server));
        std::mem::swap(&mut before, &mut next);
    }
}
