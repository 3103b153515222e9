//! Two simulated servers behind the proxy, one of which reads prompts for the other: together they answer as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::client::{Answer, post};
use super::world::{Inside, until};
use crate::plan::Role;
use crate::proxy::control::{Backend, Config, InstanceLimits, Timeouts};
use crate::proxy::policy::PolicySpec;
use crate::proxy::{Declared, Limits, Options, Proxy};

const LINE: &str = r#"m --kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;

fn backend(name: &str, role: Role, server: &Inside) -> Backend {
    Backend {
        name: name.to_owned(),
        authority: server.address.to_string(),
        role,
        nonce: None,
        key: None,
    }
}

/// The address of a proxy before these, which stops with what is returned beside it.
async fn proxy(backends: Vec<Backend>) -> (SocketAddr, mpsc::Sender<()>) {
    let config = Config {
        generation: 1,
        backends,
        policy: PolicySpec::default(),
        weights: BTreeMap::new(),
        timeouts: Timeouts::default(),
        limits: InstanceLimits::default(),
        client_keys: Vec::new(),
        headers: true,
        access_log: None,
        drained: std::collections::BTreeSet::new(),
    };
    let options = Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        control: None,
        succeeds: false,
        state: None,
        declared: Some(Declared::once(config)),
        limits: Limits::default(),
        workers: Some(0),
    };
    let proxy = Proxy::bind(options).await.expect("a port is free");
    let address = proxy.address();
    let (stops, stopped) = mpsc::channel(1);
    tokio::spawn(proxy.serve(stopped));
    (address, stops)
}

/// What an answer says, without what is new in each: the text, why it ends, and what it has used.
fn said(answer: &Answer, is_stream: bool) -> (String, Vec<Value>) {
    assert_eq!(answer.status(), 200, "{}", answer.body);
    if !is_stream {
        let answer = answer.json();
        let choice = &answer["choices"][0];
        let end = vec![choice["finish_reason"].clone(), answer["usage"].clone()];
        return (text(choice).to_owned(), end);
    }
    // Events of several tokens are cut as it happens, and chunks have their lengths before them.
    let events = answer
        .body
        .lines()
        .filter_map(|it| it.strip_prefix("data: "));
    let events = events.filter(|it| *it != "[DONE]");
    let read = |it: &str| -> Value { serde_json::from_str(it).expect("an event is JSON") };
    let events: Vec<_> = events.map(read).collect();
    let texts = events.iter().map(|it| text(&it["choices"][0])).collect();
    let told = |key: &str, it: &Value| Some(it[key].clone()).filter(|it| !it.is_null());
    let reasons = events
        .iter()
        .filter_map(|it| told("finish_reason", &it["choices"][0]));
    let usages = events.iter().filter_map(|it| told("usage", it));
    (texts, reasons.chain(usages).collect())
}

/// What is written in a choice, of whatever kind it is.
fn text(choice: &Value) -> &str {
    let of_chat = ["message", "delta"].map(|key| &choice[key]["content"]);
    let all = [&choice["text"], of_chat[0], of_chat[1]];
    all.into_iter().find_map(Value::as_str).unwrap_or_default()
}

#[tokio::test]
async fn two_that_share_a_request_answer_as_one_does_that_has_it_alone() {
    let (p, d) = (Inside::serving(LINE).await, Inside::serving(LINE).await);
    let single = Inside::serving(LINE).await;
    let backends = vec![
        backend("p", Role::Prefill, &p),
        backend("d", Role::Decode, &d),
    ];
    let (address, _stops) = proxy(backends).await;
    for length in [5, 127, 128, 129, 300, 1000] {
        let words: Vec<u32> = (0..length).map(|at| 1000 + (at * length) % 90).collect();
        let content = "one two ".repeat(length as usize);
        for is_stream in [false, true] {
            let mut more = json!({"temperature": 0, "max_tokens": 20, "stream": is_stream});
            if is_stream {
                more["stream_options"] = json!({"include_usage": true});
            }
            let asked = [
                ("/v1/completions", "prompt", json!(words)),
                (
                    "/v1/chat/completions",
                    "messages",
                    json!([{"role": "user", "content": content}]),
                ),
            ];
            for (path, key, value) in asked {
                let mut body = more.clone();
                body[key] = value;
                let shared = post(address, path, &body).await;
                assert_eq!(shared.header("x-replica-prefill"), Some("p"), "{shared:?}");
                assert_eq!(shared.header("x-replica-instance"), Some("d"));
                let alone = post(single.address, path, &body).await;
                assert_eq!(said(&shared, is_stream), said(&alone, is_stream), "{path}");
            }
        }
    }
    for server in [&p, &d] {
        let holds_nothing = || server.engine.books().kv_usage().abs() < f64::EPSILON;
        until(holds_nothing).await.expect("every block comes back");
    }
}
