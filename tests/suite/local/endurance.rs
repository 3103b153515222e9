//! Replaces under load, over and over: nothing fails, is cut off, or comes twice. Half an hour, so that it
//! is asked for by name: `cargo test --test suite -- --ignored endurance`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::suite::support::Workdir;

/// Two servers that give a client fifty tokens a second, however many ask.
const STEADY: &str = "\
topology: steady
nodes: {here: {ssh: local}}
engines:
  demo:
    simulate: {profile: fast}
    args: {sim_load_seconds: 0, max_model_len: 16384, sim_pace: {step_ms: [[1, 20], [256, 20]]}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
  b: {node: here, port: 8200, engine: demo, model: demo}
proxy: {node: here, port: 8192, policy: least_connections}
";

/// Clients, each of which asks for one answer after another of so many tokens: those of 1, 20 and 90 s.
const CLIENTS: [(usize, u64); 3] = [(24, 50), (4, 1000), (2, 4500)];

/// Both servers are replaced so often.
const RESTARTS: usize = 10;

/// As many answers there are to be at least.
const ANSWERS: u64 = 20_000;

#[derive(Default)]
struct Load {
    over: AtomicBool,
    whole: AtomicU64,
}

impl Load {
    /// Asks again and again, and ends with the first answer that is not whole.
    async fn ask(self: Arc<Self>, url: String, tokens: u64) -> Result<(), String> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = json!({"model": "demo", "prompt": format!("Tell {tokens} tokens."), "seed": 1,
                          "temperature": 0, "max_tokens": tokens, "ignore_eos": true, "stream": true,
                          "stream_options": {"include_usage": true}});
        let mut first = None;
        while !self.over.load(Ordering::SeqCst) {
            let sent = client.post(&url).json(&body).send().await;
            let answer = sent.map_err(|error| format!("not sent: {error:?}"))?;
            let status = answer.status();
            let text = answer.text().await;
            let text = text.map_err(|error| format!("cut off: {error:?}"))?;
            let told = told(&text).ok_or_else(|| format!("{status}, not whole: {text}"))?;
            if told.1 != tokens {
                return Err(format!("{} tokens of {tokens}", told.1));
            }
            // A token that came twice, or from elsewhere, makes another text.
            let first = first.get_or_insert_with(|| told.0.clone());
            if *first != told.0 {
                return Err(format!("another text: {first} and {}", told.0));
            }
            self.whole.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// The text of a streamed answer that came to its end, and how many tokens its server counted.
fn told(stream: &str) -> Option<(String, u64)> {
    let events = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let mut events: Vec<&str> = events.collect();
    if events.pop()? != "[DONE]" {
        return None;
    }
    let (mut text, mut tokens) = (String::new(), None);
    for event in events {
        let event: Value = serde_json::from_str(event).ok()?;
        text.push_str(event["choices"][0]["text"].as_str().unwrap_or_default());
        tokens = event["usage"]["completion_tokens"].as_u64().or(tokens);
    }
    Some((text, tokens?))
}

/// What the proxy counted, by how it ended.
fn ledger(place: &Workdir) -> BTreeMap<String, u64> {
    let url = format!("http://127.0.0.1:{}/metrics", place.port(2));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let page = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().text().await.unwrap()
    });
    let mut counts = BTreeMap::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("replica_proxy_ledger_total{") else {
            continue;
        };
        let (labels, count) = rest.rsplit_once("} ").unwrap();
        let outcome = labels.split("outcome=\"").nth(1).unwrap();
        let outcome = outcome.split('"').next().unwrap();
        *counts.entry(outcome.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    counts.retain(|_, count| *count > 0);
    counts
}

#[test]
#[ignore = "half an hour: `.ci/run all` plays it"]
#[expect(
    clippy::print_stdout,
    reason = "who waits for so long is told how far it is"
)]
fn twenty_replaces_under_load_fail_nothing() {
    let place = Workdir::measuring(STEADY).applied();
    let before = ledger(&place);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let load = Arc::new(Load::default());
    let url = format!("http://127.0.0.1:{}/v1/completions", place.port(2));
    let mut clients = Vec::new();
    for (count, tokens) in CLIENTS {
        let one = || runtime.spawn(Arc::clone(&load).ask(url.clone(), tokens));
        clients.extend((0..count).map(|_| one()));
    }
    let replace = || {
        let words = ["restart", "a", "b", "-y", "--json"];
        let done = place.replica(&words).exits(0).json();
        assert_eq!(done["requests"]["failed"], 0, "{done:#}");
        assert_eq!(done["requests"]["cut"], 0, "{done:#}");
        assert_eq!(done["summary"]["replace"], 2, "{done:#}");
    };
    for round in 1..=RESTARTS {
        replace();
        let whole = load.whole.load(Ordering::SeqCst);
        println!("{} replaces, {whole} answers", 2 * round);
    }
    while load.whole.load(Ordering::SeqCst) < ANSWERS {
        replace();
    }
    load.over.store(true, Ordering::SeqCst);
    for client in clients {
        runtime.block_on(client).unwrap().unwrap();
    }
    let whole = load.whole.load(Ordering::SeqCst);
    let mut counted = ledger(&place);
    for (outcome, count) in before {
        *counted.get_mut(&outcome).unwrap() -= count;
    }
    println!("{whole} answers, and the proxy counted {counted:?}");
    counted.retain(|_, count| *count > 0);
    assert_eq!(counted, BTreeMap::from([("ok".to_owned(), whole)]));
}
