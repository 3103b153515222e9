//! The proxy before servers that end over a request, as vLLM 0.13 does over some: its engine is gone, its
//! requests are answered with 500, and seconds later so is the whole server.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::alone::{Serving, ask, get, until_it_answers};
use crate::suite::support::{Workdir, until};

/// What no engine here survives.
const POISON: &str = "hemlock";

/// Three servers, and a proxy before them.
struct Fleet {
    // The order matters: the folder goes when nobody is in it.
    _proxy: Serving,
    servers: Vec<Serving>,
    place: Workdir,
}

impl Fleet {
    fn start() -> Self {
        let place = Workdir::empty();
        let servers = (0..3).map(|index| mortal(&place, index)).collect();
        let port = |index| format!("127.0.0.1:{}", place.port(index));
        let urls = [0, 1, 2].map(|index| format!("http://{}", port(index)));
        let listen = port(3);
        let mut words = vec!["proxy", "--listen", &listen];
        words.extend(urls.iter().flat_map(|url| ["--backend", url]));
        let proxy = Serving::begin(&place, &words);
        let fleet = Self {
            _proxy: proxy,
            servers,
            place,
        };
        until_it_answers(fleet.place.port(3));
        for index in 0..3 {
            fleet.until_ready(index);
        }
        fleet
    }

    fn until_ready(&self, index: usize) {
        let line = format!(
            "replica_proxy_ready{{instance=\"127.0.0.1:{}\"}} 1",
            self.place.port(index)
        );
        until(&line, || {
            let page = get(self.place.port(3), "/metrics").ok()?;
            page.contains(&line).then_some(())
        });
    }

    /// Those whose engine lives.
    fn living(&self) -> Vec<usize> {
        let lives = |index: &usize| {
            let health = get(self.place.port(*index), "/health").unwrap_or_default();
            health.starts_with("HTTP/1.1 200")
        };
        (0..3).filter(lives).collect()
    }

    /// Starts the dead anew, once they are all gone, and waits until requests go to them.
    fn raise(&mut self) {
        let living = self.living();
        for index in (0..3).filter(|index| !living.contains(index)) {
            let _ = self.servers[index].end();
            self.servers[index] = mortal(&self.place, index);
            until_it_answers(self.place.port(index));
            self.until_ready(index);
        }
    }

    fn post(&self, body: &str) -> Answer {
        post(self.place.port(3), body)
    }

    /// One call of OpenAI's client: it tries again twice, unless it is told not to.
    fn call(&self, body: &str) -> Answer {
        let mut answer = self.post(body);
        for _ in 0..2 {
            if !answer.is_to_be_tried_again() {
                break;
            }
            answer = self.post(body);
        }
        answer
    }
}

fn mortal(place: &Workdir, index: usize) -> Serving {
    let port = place.port(index).to_string();
    let words = ["simulate", "serve", "demo", "--port", &port];
    let faults = ["--sim-load-seconds", "0", "--sim-poison", POISON];
    let server = Serving::begin(place, &[&words[..], &faults].concat());
    until_it_answers(place.port(index));
    server
}

fn post(port: u16, body: &str) -> Answer {
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer(ask(port, &request).unwrap())
}

#[derive(Debug)]
struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        self.0[9..12].parse().unwrap()
    }

    /// As openai-python 2 decides it.
    fn is_to_be_tried_again(&self) -> bool {
        if self.0.contains("\r\nx-should-retry: true\r\n") {
            return true;
        }
        let may = !self.0.contains("\r\nx-should-retry: false\r\n");
        may && (matches!(self.status(), 408 | 409 | 429) || self.status() >= 500)
    }
}

fn asking(prompt: &str) -> String {
    format!(r#"{{"model": "demo", "prompt": "{prompt}", "max_tokens": 3}}"#)
}

fn poisoned(id: &str) -> String {
    asking(&format!("of request {id}: a cup of {POISON}"))
}

#[test]
fn one_call_that_is_tried_three_times_kills_one_of_three() {
    let fleet = Fleet::start();
    let answer = fleet.call(&poisoned("1"));
    assert!(answer.status() >= 500, "{answer:?}");
    assert_eq!(fleet.living().len(), 2);
    for _ in 0..4 {
        assert_eq!(fleet.call(&asking("hello")).status(), 200);
    }
}

#[test]
fn four_poisoned_calls_leave_servers_that_answer() {
    let fleet = Fleet::start();
    let spelled = r#"{"max_tokens":4,"prompt":"of request 3: a cup of hemlock","model":"demo"}"#;
    for body in [&poisoned("1"), &poisoned("7f2"), spelled, &poisoned("4")] {
        let answer = fleet.call(body);
        assert!(answer.status() >= 500, "{answer:?}");
    }
    assert!(!fleet.living().is_empty());
    for _ in 0..4 {
        assert_eq!(fleet.call(&asking("hello")).status(), 200);
    }
}

#[test]
fn who_came_back_is_not_killed_by_what_killed_it() {
    let mut fleet = Fleet::start();
    fleet.call(&poisoned("1"));
    fleet.raise();
    assert_eq!(fleet.living().len(), 3);
    for _ in 0..3 {
        let answer = fleet.call(&poisoned("1"));
        assert!(answer.0.contains("upstream_died"), "{answer:?}");
    }
    assert_eq!(fleet.living().len(), 3);
}

/// Nobody knows of the first of many at once; what they were is known all the same.
#[test]
fn what_killed_servers_at_once_kills_none_that_came_back() {
    let mut fleet = Fleet::start();
    let port = fleet.place.port(3);
    let body = poisoned("1");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(post(port, &body).status() >= 500));
        }
    });
    fleet.raise();
    for _ in 0..3 {
        let answer = fleet.call(&body);
        assert!(answer.0.contains("upstream_died"), "{answer:?}");
    }
    assert_eq!(fleet.living().len(), 3);
}

#[test]
fn an_innocent_load_is_not_shut_out_when_a_server_is_killed() {
    let fleet = Fleet::start();
    let (is_over, ok, failed) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let port = fleet.place.port(3);
    thread::scope(|scope| {
        for client in 0..6 {
            let (is_over, ok, failed) = (&is_over, &ok, &failed);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let answer = post(port, &asking(&format!("the same for client {client}")));
                    let count = if answer.status() == 200 { ok } else { failed };
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        until("a load", || (ok.load(Ordering::SeqCst) > 50).then_some(()));
        assert!(fleet.post(&poisoned("1")).status() >= 500);
        let so_far = ok.load(Ordering::SeqCst);
        let later = || (ok.load(Ordering::SeqCst) > so_far + 200).then_some(());
        until("the load to go on", later);
        is_over.store(true, Ordering::SeqCst);
    });
    // What was in flight at the one that was killed.
    assert!(failed.load(Ordering::SeqCst) <= 6, "{failed:?}");
    assert_eq!(fleet.living().len(), 2);
}
