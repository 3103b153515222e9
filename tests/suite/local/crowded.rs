//! A proxy with few descriptors, and clients that take them all.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::suite::support::process::Signal;
use crate::suite::support::{Running, Said, Workdir, until};

/// So many clients ask nothing.
const CROWD: usize = 150;

/// A server that answers everything, and counts how often it is probed.
struct Server {
    url: String,
    probes: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let probes = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&probes);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let probes = Arc::clone(&counted);
                thread::spawn(move || serve(stream, &probes));
            }
        });
        Self { url, probes }
    }

    fn probes(&self) -> usize {
        self.probes.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, probes: &AtomicUsize) -> Option<()> {
    loop {
        let head = read_head(&mut stream)?;
        let mut body = vec![0; length(&head)];
        stream.read_exact(&mut body).ok()?;
        if head.starts_with("GET /v1/models") {
            probes.fetch_add(1, Ordering::SeqCst);
        }
        let list = r#"{"object":"list","data":[{"id":"demo"}]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}",
            list.len()
        );
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn length(head: &str) -> usize {
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("content-length: "));
    length.map_or(0, |length| length.parse().unwrap())
}

/// A proxy before two servers, with so many descriptors.
struct Proxy {
    place: Workdir,
    servers: [Server; 2],
    running: Option<Running>,
}

impl Proxy {
    fn with_descriptors(descriptors: u32) -> Self {
        let place = Workdir::empty();
        let servers = [Server::start(), Server::start()];
        let listen = format!("127.0.0.1:{}", place.port(0));
        let [a, b] = &servers;
        let limit = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &limit, env!("CARGO_BIN_EXE_replica"), "proxy"])
            .args(["--listen", &listen, "--control", "proxy.sock"])
            .args(["--backend", &a.url, "--backend", &b.url])
            .stdin(Stdio::null());
        place.settle(&mut command);
        let running = Running::of(limit, command);
        let proxy = Self {
            place,
            servers,
            running: Some(running),
        };
        until("both servers", || {
            let status = proxy.status();
            let states = status["backends"].as_object()?.values();
            let ready = states.filter(|it| it["state"] == "ready");
            (ready.count() == 2).then_some(())
        });
        proxy
    }

    /// What it says of itself over its control socket.
    fn status(&self) -> Value {
        let socket = self.place.work().join("proxy.sock");
        let words = ["proxy-control", &socket.display().to_string()];
        let mut command = self.place.command(&words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut telling = command.stderr(Stdio::null()).spawn().unwrap();
        let mut told = telling.stdin.take().unwrap();
        told.write_all(b"\"status\"\n").unwrap();
        drop(told);
        let said = telling.wait_with_output().unwrap().stdout;
        let reply: Value = serde_json::from_slice(&said).unwrap_or_default();
        reply["done"].clone()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.place.port(0))).unwrap();
        let hangs = Some(Duration::from_secs(60));
        stream.set_read_timeout(hangs).unwrap();
        stream
    }

    /// The status with which a request is answered on a connection; nothing where that is closed.
    fn ask(stream: &mut TcpStream, method: &str, path: &str) -> Option<u16> {
        let length = if method == "POST" {
            "content-length: 2\r\n"
        } else {
            ""
        };
        let body = if method == "POST" { "{}" } else { "" };
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{length}\r\n{body}");
        stream.write_all(request.as_bytes()).ok()?;
        let head = read_head(stream)?;
        let mut body = vec![0; self::length(&head)];
        stream.read_exact(&mut body).ok()?;
        head[9..12].parse().ok()
    }

    /// A new client's request.
    fn answers(&self, method: &str, path: &str) -> Option<u16> {
        Self::ask(&mut self.connect(), method, path)
    }

    fn probes(&self) -> [usize; 2] {
        self.servers.each_ref().map(Server::probes)
    }

    /// Nobody was ever taken out, or is in trouble.
    fn has_ejected_nobody(&self) {
        let status = self.status();
        for (name, backend) in status["backends"].as_object().unwrap() {
            assert_eq!(backend["state"], "ready", "{name}: {status}");
            assert_eq!(backend["trouble"], Value::Null, "{name}: {status}");
        }
        let page = until("the counts", || self.counts());
        let is_count = |line: &&str| line.starts_with("replica_proxy_ejections_total{");
        let ejections = page.lines().filter(is_count);
        let counts: Vec<_> = ejections.map(|line| line.ends_with(" 0")).collect();
        assert_eq!(counts, [true; 4], "{page}");
    }

    fn counts(&self) -> Option<String> {
        let mut stream = self.connect();
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        (!page.is_empty()).then_some(page)
    }

    fn end(mut self) -> Said {
        let running = self.running.take().unwrap();
        running.signal(Signal::TERM);
        running.end()
    }
}

/// Many clients that come, and come again as they are sent away, with a beginning of a request each.
struct Crowd<'a> {
    proxy: &'a Proxy,
    begin: &'a str,
    clients: Vec<TcpStream>,
    rounds: usize,
}

impl<'a> Crowd<'a> {
    fn of(proxy: &'a Proxy, begin: &'a str) -> Self {
        Self {
            proxy,
            begin,
            clients: Vec::new(),
            rounds: 0,
        }
    }

    fn comes(&mut self) {
        self.rounds += 1;
        for _ in 0..10 {
            let mut client = self.proxy.connect();
            // Who was sent away at once is of the crowd, too.
            let _ = client.write_all(self.begin.as_bytes());
            self.clients.push(client);
        }
        let too_many = self.clients.len().saturating_sub(CROWD);
        self.clients.drain(..too_many);
        thread::sleep(Duration::from_millis(100));
    }

    /// Has it come until it is there, and each server has been probed three times meanwhile.
    fn presses(&mut self, mut meanwhile: impl FnMut()) {
        let proxy = self.proxy;
        let before = proxy.probes();
        let is_probed = |index: usize| proxy.probes()[index] >= before[index] + 3;
        while self.rounds < CROWD / 10 || !(is_probed(0) && is_probed(1)) {
            self.comes();
            meanwhile();
            proxy.has_ejected_nobody();
        }
    }
}

/// All that time the proxy answers whoever asks, and nobody is taken out.
fn bears(descriptors: u32, begin: &str) {
    let proxy = Proxy::with_descriptors(descriptors);
    let mut old = proxy.connect();
    let mut crowd = Crowd::of(&proxy, begin);
    crowd.presses(|| {
        for (method, path) in [("GET", "/health"), ("POST", "/v1/completions")] {
            // A client whose connection is closed before it is answered comes again.
            let answer = until(path, || proxy.answers(method, path));
            assert_eq!(answer, 200, "{path}");
        }
        let answer = until("an old client", || {
            let answer = Proxy::ask(&mut old, "POST", "/v1/completions");
            if answer.is_none() {
                old = proxy.connect();
            }
            answer
        });
        assert_eq!(answer, 200);
    });
    drop(crowd);
    let _ = proxy.end().exits(0);
}

#[test]
fn idle_clients_leave_descriptors_for_all_others() {
    bears(64, "");
}

#[test]
fn with_half_as_many_descriptors_they_do_so_too() {
    bears(32, "");
}

#[test]
fn clients_that_begin_to_ask_leave_descriptors_for_all_others() {
    bears(64, "POST /v1/completions HTTP/1.1\r\nhost: ");
}

/// Who sends a body has its place for as long as it sends: others are told so, and nobody is taken out.
#[test]
fn clients_that_hold_bodies_take_no_server_out() {
    let proxy = Proxy::with_descriptors(64);
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf";
    let mut crowd = Crowd::of(&proxy, head);
    crowd.presses(|| {
        let answer = until("/health", || proxy.answers("GET", "/health"));
        assert_eq!(answer, 200);
        let answer = until("an answer", || proxy.answers("POST", "/v1/completions"));
        assert!([200, 503].contains(&answer), "{answer}");
    });
    drop(crowd);
    until("room", || {
        (proxy.answers("POST", "/v1/completions") == Some(200)).then_some(())
    });
    let _ = proxy.end().exits(0);
}
