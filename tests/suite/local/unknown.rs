//! A server that no manifest declares is measured all the same, and the result says that nothing is proved
//! of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::Value;

use crate::suite::support::process::Signal;
use crate::suite::support::{Running, Workdir, until};

/// A server that is told to end, and does: one that is killed leaves the process of its engine behind.
struct Serving(Option<Running>);

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            server.signal(Signal::TERM);
            let _ = server.end();
        }
    }
}

/// A simulated server on the first port of a place, ready.
fn serving(place: &Workdir, more: &[&str]) -> (Serving, String) {
    let port = place.port(0).to_string();
    let words = [&["simulate", "serve", "demo", "--port", &port], more].concat();
    let server = place.begin(&[&words[..], &["--sim-load-seconds", "0"]].concat());
    until("the server", || {
        TcpStream::connect(format!("127.0.0.1:{port}")).ok()
    });
    (Serving(Some(server)), format!("http://127.0.0.1:{port}"))
}

/// A server that answers each request by its path: a status and a body.
fn answering(answers: fn(&str) -> (u16, &'static str)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut lines = stream.by_ref().lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let mut length = 0;
            for line in lines.take_while(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
            }
            let _ = stream.read_exact(&mut vec![0; length]);
            let (status, body) = answers(first.split(' ').nth(1).unwrap_or_default());
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {status} it\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("http://{address}")
}

/// Requests that the server has answered by now.
fn answered(place: &Workdir) -> f64 {
    let mut server = TcpStream::connect(("127.0.0.1", place.port(0))).unwrap();
    let ask = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    server.write_all(ask.as_bytes()).unwrap();
    let mut page = String::new();
    server.read_to_string(&mut page).unwrap();
    let lines = page.lines();
    let counters = lines.filter(|line| line.starts_with("vllm:request_success_total{"));
    let counts = counters.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum()
}

const ONE_MODEL: &str = r#"{"data": [{"id": "only"}]}"#;

#[test]
fn an_unknown_server_is_measured_and_nothing_is_said_to_be_proved_of_it() {
    let place = Workdir::empty();
    let (_server, url) = serving(&place, &[]);
    let load = ["--concurrency", "2", "--requests", "6", "--max-tokens", "8"];
    let words = ["bench", "--url", &url, "--tag", "try=1", "--repeats", "1"];
    let words = [&words[..], &load].concat();
    let said = place.replica(&words).exits(0);
    let said = said.says("nothing is proved of http://127.0.0.1");
    let _ = said
        .shows("nothing proves who answers")
        .shows("✓ valid, as far as a client can see")
        .shows("try=1");

    let folder = format!("results/127.0.0.1-{}/bench", place.port(0));
    let latest = format!("{folder}/latest.json");
    let shown = place
        .replica(&["bench", "show", "--json", &latest])
        .exits(0);
    let result = shown.json();
    assert_eq!(result["job"]["model"], "demo");
    assert_eq!(result["job"]["instances"], Value::Array(Vec::new()));
    let unproved = ["identity", "software", "conditions", "counts", "canary"];
    assert_eq!(result["unproved"], serde_json::json!(unproved));
    assert_eq!(result["points"][0]["counts"]["ok"], 6);
    // What was warmed is whoever answers there.
    let warmed = &result["warmup"]["instances"][0];
    assert_eq!(warmed["instance"], url.trim_start_matches("http://"));
    assert!(warmed["requests"].as_array().unwrap().len() >= 2);
    assert!(result["canaries"].is_null() && result["conditions"].is_null());

    let report = place.replica(&["report", &latest, "-o", "r.html"]).exits(0);
    let _ = report.shows("r.html");
    let page = place.read("r.html");
    assert!(page.contains("nothing proves who answers"), "{page}");
}

#[test]
fn a_job_of_its_own_file_is_asked_and_its_mistakes_are_told_all_at_once() {
    let place = Workdir::empty();
    let (_server, url) = serving(&place, &[]);
    std::fs::create_dir(place.work().join("jobs")).unwrap();
    place.write(
        "jobs/night.yaml",
        "prompts: {file: p.txt}\nload: {batch: 3}\nmax_tokens: 4\nrepeats: 1\n",
    );
    place.write("jobs/p.txt", "why?\nhow?\n");
    let words = ["bench", "--url", &url, "--job", "jobs/night.yaml", "--json"];
    let results = place.replica(&words).exits(0).json();
    let result = &results[0];
    assert_eq!(result["job"]["name"], "night");
    assert_eq!(result["manifest"]["file"], "jobs/night.yaml");
    assert_eq!(result["points"][0]["counts"]["ok"], 3);

    place.write(
        "jobs/night.yaml",
        "prompts: {file: q.txt}\nlode: {batch: 3}\nmax_tokens: 0\n",
    );
    let said = place.replica(&words[..5]).exits(65);
    let _ = said
        .says("jobs/night.yaml:1:17")
        .says("there is no file `q.txt`")
        .says("jobs/night.yaml:2:1")
        .says("jobs/night.yaml:3:13")
        .says("4 errors in jobs/night.yaml");
}

#[test]
fn who_is_asked_wrongly_says_what_to_write() {
    let place = Workdir::empty();
    let url = answering(|path| match path {
        "/v1/models" => (200, ONE_MODEL),
        _ => (404, r#"{"detail": "Not Found"}"#),
    });
    let run = |words: &[&str]| place.replica(&[&["bench"], words].concat());
    let _ = run(&["--url", &url])
        .exits(1)
        .says("404 {\"detail\": \"Not Found\"}")
        .says("`--api chat` asks /v1/chat/completions");
    let two = answering(|_| (200, r#"{"data": [{"id": "a"}, {"id": "b"}]}"#));
    let _ = run(&["--url", &two])
        .exits(1)
        .says("`a` and `b`")
        .says("--model NAME");
    let none = answering(|_| (404, "no"));
    let _ = run(&["--url", &none])
        .exits(1)
        .says("/v1/models answers 404")
        .says("--model NAME");
    let locked = answering(|_| (401, "no"));
    let _ = run(&["--url", &locked]).exits(1).says("--api-key-env NAME");
    let _ = run(&["--url", &locked, "--model", "m"])
        .exits(1)
        .says("--api-key-env NAME");
    let gone = format!("http://127.0.0.1:{}", place.port(1));
    let _ = run(&["--url", &gone])
        .exits(1)
        .says("cannot connect to 127.0.0.1")
        .says("is a server running there?");
    for (words, expected) in [
        (
            &["--url", "127.0.0.1:8000"][..],
            "write `http://127.0.0.1:8000`",
        ),
        (&["--url", "https://a"], "no TLS"),
        (
            &["--url", &url, "topology.yaml"],
            "leave `topology.yaml` out",
        ),
        (&["--job", "a.yaml"], "add `--url http://HOST:PORT`"),
        (&["--batch", "3"], "add `--url http://HOST:PORT`"),
        (
            &["--url", &url, "--job", "a.yaml", "--batch", "3"],
            "leave `--batch` out",
        ),
        (&["--url", &url, "--rate", "3"], "`--duration`"),
    ] {
        let _ = run(words).exits(64).says(expected);
    }
}

#[test]
fn a_key_is_shown_and_never_written_down_and_an_interrupted_run_keeps_what_it_has() {
    let place = Workdir::empty().env("MY_KEY", "sk-hush-4711");
    let (_server, url) = serving(&place, &["--api-key", "sk-hush-4711"]);
    let asked = [
        "bench",
        "--url",
        &url,
        "--api-key-env",
        "MY_KEY",
        "--max-tokens",
        "8",
    ];
    let said = place.replica(&[&asked[..], &["-v", "-v", "--batch", "2"]].concat());
    let said = said.exits(0);
    assert!(!format!("{said}").contains("hush"), "{said}");
    let running = place.begin(&[&asked[..], &["--rate", "20/s", "--duration", "100s"]].concat());
    let before = answered(&place);
    // More than warm it.
    until("some requests", || {
        (answered(&place) > before + 40.0).then_some(())
    });
    running.signal(Signal::INT);
    let said = running.end().exits(130);
    let _ = said
        .shows("A20 interrupted")
        .says("what was measured is kept in");
    for entry in walk(&place.work()) {
        let text = std::fs::read(&entry).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains("hush"), "{}", entry.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
