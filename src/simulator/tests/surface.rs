//! The HTTP surface, byte for byte where clients look. What is expected was captured from 0.13.0.
//!
//! Where it matters which token is in which chunk, time is paused: then it passes only when every
//! connection has written what it has, so a slow machine does not put tokens together.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::{get, open, post, read_until, send, write};
use super::world::{Inside, until};

const JSON: &[&str] = &["content-type: application/json"];

async fn completion(address: SocketAddr, body: &Value) -> super::client::Answer {
    post(address, "/v1/completions", body).await
}

/// Replaces what differs from call to call.
fn settled(text: &str) -> String {
    let mut value: Value = serde_json::from_str(text).expect("the body is JSON");
    for (key, settled) in [("id", json!("ID")), ("created", json!(0))] {
        if let Some(field) = value.get_mut(key) {
            *field = settled;
        }
    }
    value.to_string()
}

#[tokio::test]
async fn health_is_empty_and_only_for_get() {
    let server = Inside::serving("m").await;
    let health = get(server.address, "/health").await;
    assert_eq!((health.status(), health.body.as_str()), (200, ""));
    // The last one answers this client's `connection: close`.
    let names = health
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split(':').next());
    let names: Vec<_> = names.filter(|name| *name != "connection").collect();
    assert_eq!(names, ["date", "server", "content-length"]);
    assert_eq!(health.header("server"), Some("uvicorn"));
    let head = send(server.address, "HEAD /health", &[], "").await;
    assert_eq!((head.status(), head.header("allow")), (405, Some("GET")));
    assert_eq!(
        send(server.address, "POST /ping", &[], "").await.status(),
        200
    );
    assert_eq!(get(server.address, "/ping").await.status(), 200);
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused_as_by_fastapi() {
    let server = Inside::serving("m").await;
    let missing = get(server.address, "/").await;
    assert_eq!(
        (missing.status(), missing.body.as_str()),
        (404, r#"{"detail":"Not Found"}"#)
    );
    let wrong = get(server.address, "/v1/completions").await;
    assert_eq!(
        (wrong.status(), wrong.body.as_str()),
        (405, r#"{"detail":"Method Not Allowed"}"#)
    );
    assert_eq!(wrong.header("allow"), Some("POST"));
}

#[tokio::test]
async fn version_load_and_models_are_as_captured() {
    let server =
        Inside::serving("/models/llama --served-model-name tiny replica-1 --max-model-len 2048")
            .await;
    assert_eq!(
        get(server.address, "/version").await.body,
        r#"{"version":"0.13.0"}"#
    );
    assert_eq!(
        get(server.address, "/load").await.body,
        r#"{"server_load":0}"#
    );
    let models = get(server.address, "/v1/models").await;
    let start = r#"{"object":"list","data":[{"id":"tiny","object":"model","created":"#;
    assert!(models.body.starts_with(start), "{}", models.body);
    let list = models.json();
    let ids: Vec<_> = list["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|card| &card["id"])
        .collect();
    assert_eq!(ids, ["tiny", "replica-1"]);
    assert_eq!(list["data"][0]["root"], "/models/llama");
    assert_eq!(list["data"][1]["max_model_len"], 2048);
}

#[tokio::test]
async fn a_completion_has_the_captured_keys_in_order() {
    let server = Inside::serving("m --served-model-name tiny other").await;
    let body =
        json!({"model": "other", "prompt": "hello world", "max_tokens": 5, "temperature": 0});
    let answer = completion(server.address, &body).await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (200, Some("application/json"))
    );
    let text = answer.json()["choices"][0]["text"].to_string();
    assert_eq!(
        settled(&answer.body),
        format!(
            r#"{{"id":"ID","object":"text_completion","created":0,"model":"tiny","choices":[{{"index":0,"text":{text},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null}}],"service_tier":null,"system_fingerprint":null,"usage":{{"prompt_tokens":3,"total_tokens":8,"completion_tokens":5,"prompt_tokens_details":null}},"kv_transfer_params":null}}"#
        )
    );
    assert!(
        answer.json()["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("cmpl-") && id.len() == 21)
    );
    assert_eq!(
        completion(server.address, &body).await.json()["choices"][0]["text"].to_string(),
        text
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_captured_chunks() {
    let server = Inside::serving("m --profile gb10-llama-3.1-8b").await;
    let body = json!({
        "prompt": "hello world", "max_tokens": 2, "temperature": 0, "stream": true,
        "stream_options": {"include_usage": true},
    });
    let answer = completion(server.address, &body).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let events = answer.events();
    let texts: Vec<_> = answer.chunks()[..2]
        .iter()
        .map(|chunk| chunk["choices"][0]["text"].to_string())
        .collect();
    let chunk = |text: &str, finish: &str| {
        format!(
            r#"{{"id":"ID","object":"text_completion","created":0,"model":"m","choices":[{{"index":0,"text":{text},"logprobs":null,"finish_reason":{finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}}],"usage":null}}"#
        )
    };
    assert_eq!(settled(events[0]), chunk(&texts[0], "null"));
    assert_eq!(settled(events[1]), chunk(&texts[1], r#""length""#));
    assert_eq!(
        settled(events[2]),
        r#"{"id":"ID","object":"text_completion","created":0,"model":"m","choices":[],"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2}}"#
    );
    assert_eq!(events[3..], ["[DONE]"]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_stream_has_the_captured_chunks() {
    let server = Inside::serving("m --profile gb10-llama-3.1-8b").await;
    let body = json!({
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "max_completion_tokens": 2, "temperature": 0, "stream": true, "stream_options": {"include_usage": true},
    });
    let answer = post(server.address, "/v1/chat/completions", &body).await;
    let events = answer.events();
    let start = r#"{"id":"ID","object":"chat.completion.chunk","created":0,"model":"m","choices":[{"index":0,"delta":"#;
    assert_eq!(
        settled(events[0]),
        format!(
            r#"{start}{{"role":"assistant","content":"","reasoning_content":null}},"logprobs":null,"finish_reason":null}}],"prompt_token_ids":null}}"#
        )
    );
    let last = settled(events[2]);
    assert!(
        last.starts_with(&format!(r#"{start}{{"content":"#)),
        "{last}"
    );
    assert!(
        last.ends_with(
            r#","reasoning_content":null},"logprobs":null,"finish_reason":"length","stop_reason":null,"token_ids":null}]}"#
        ),
        "{last}"
    );
    assert_eq!(answer.chunks()[3]["choices"], json!([]));
    assert_eq!(answer.chunks()[3]["usage"]["completion_tokens"], 2);
    assert_eq!(events[4], "[DONE]");
}

#[tokio::test]
async fn a_chat_completion_has_a_message() {
    let server = Inside::serving("m").await;
    let body = json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4});
    let answer = post(server.address, "/v1/chat/completions", &body)
        .await
        .json();
    assert_eq!(answer["object"], "chat.completion");
    assert!(
        answer["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("chatcmpl-"))
    );
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert!(
        answer["choices"][0]["message"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    assert_eq!(answer["usage"]["completion_tokens"], 4);
}

#[tokio::test(start_paused = true)]
async fn continuous_usage_counts_every_token_even_without_text() {
    let server = Inside::serving("m").await;
    let body = json!({
        "prompt": "hello", "max_tokens": 600, "ignore_eos": true, "temperature": 0, "stream": true,
        "stream_options": {"include_usage": true, "continuous_usage_stats": true},
    });
    let chunks = completion(server.address, &body).await.chunks();
    let counts: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            chunk["usage"]["completion_tokens"]
                .as_u64()
                .expect("a count")
        })
        .collect();
    assert!(
        counts.is_sorted() && counts.ends_with(&[600, 600]),
        "{counts:?}"
    );
    assert_eq!(chunks[0]["usage"]["prompt_tokens_details"], Value::Null);
    assert!(
        chunks.iter().any(|chunk| chunk["choices"][0]["text"] == ""),
        "no token without text in 600"
    );
}

#[tokio::test(start_paused = true)]
async fn a_chunk_may_hold_several_tokens() {
    let server = Inside::serving("m --stream-interval 4").await;
    let body = json!({
        "prompt": "hello", "max_tokens": 9, "ignore_eos": true, "stream": true, "return_token_ids": true,
    });
    let chunks = completion(server.address, &body).await.chunks();
    let tokens: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            chunk["choices"][0]["token_ids"]
                .as_array()
                .expect("ids")
                .len()
        })
        .collect();
    assert_eq!(tokens, [1, 4, 4]);
    assert_eq!(
        chunks[0]["choices"][0]["prompt_token_ids"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn several_prompts_and_choices_are_numbered_through() {
    let server = Inside::serving("m").await;
    let body = json!({"prompt": ["one", "two"], "n": 2, "temperature": 1, "max_tokens": 3});
    let answer = completion(server.address, &body).await.json();
    let indexes: Vec<_> = answer["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .map(|choice| &choice["index"])
        .collect();
    assert_eq!(indexes, [0, 1, 2, 3]);
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 4, "total_tokens": 16, "completion_tokens": 12, "prompt_tokens_details": null})
    );
    let ids = completion(
        server.address,
        &json!({"prompt": [128_000, 5, 6], "max_tokens": 1}),
    )
    .await
    .json();
    assert_eq!(ids["usage"]["prompt_tokens"], 3);
}

#[tokio::test]
async fn a_stop_string_ends_an_answer_before_it() {
    let server = Inside::serving("m").await;
    let free = json!({"prompt": "hello", "max_tokens": 40, "temperature": 0});
    let text = completion(server.address, &free).await.json()["choices"][0]["text"]
        .as_str()
        .expect("text")
        .to_owned();
    let stop = text
        .split(' ')
        .nth(5)
        .map(|word| format!(" {word}"))
        .expect("it is longer");
    for stream in [false, true] {
        let stopped = json!({"prompt": "hello", "max_tokens": 40, "temperature": 0, "stop": [stop], "stream": stream});
        let answer = completion(server.address, &stopped).await;
        let choices: Vec<Value> = if stream {
            answer
                .chunks()
                .iter()
                .map(|chunk| chunk["choices"][0].clone())
                .collect()
        } else {
            vec![answer.json()["choices"][0].clone()]
        };
        let said: String = choices
            .iter()
            .filter_map(|choice| choice["text"].as_str())
            .collect();
        assert_eq!(
            said,
            text[..text.find(&stop).expect("it was taken from there")]
        );
        let last = choices.last().expect("there is an end");
        assert_eq!(
            (&last["finish_reason"], &last["stop_reason"]),
            (&json!("stop"), &json!(stop))
        );
    }
}

#[tokio::test]
async fn errors_are_as_captured() {
    let server = Inside::serving("m --max-model-len 2048").await;
    let cases = [
        (
            json!({"model": "nope", "prompt": "hello"}),
            404,
            r#"{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":null,"code":404}}"#,
        ),
        (
            json!({"prompt": "hello", "max_tokens": -1}),
            400,
            r#"{"error":{"message":"max_tokens must be at least 1, got -1.","type":"BadRequestError","param":null,"code":400}}"#,
        ),
        (
            json!({"prompt": vec![1; 3000], "max_tokens": 4, "stream": true}),
            400,
            r#"{"error":{"message":"This model's maximum context length is 2044 tokens. However, your request has 3000 input tokens. Please reduce the length of the input messages.","type":"BadRequestError","param":null,"code":400}}"#,
        ),
        (
            json!({"prompt": "hello", "temperature": 0, "n": 8}),
            400,
            r#"{"error":{"message":"n must be 1 when using greedy sampling, got 8.","type":"BadRequestError","param":null,"code":400}}"#,
        ),
    ];
    for (body, status, expected) in cases {
        let answer = completion(server.address, &body).await;
        assert_eq!((answer.status(), answer.body.as_str()), (status, expected));
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_bad_requests() {
    let server = Inside::serving("m").await;
    let invalid = send(
        server.address,
        "POST /v1/completions",
        JSON,
        r#"{"prompt": "x",}"#,
    )
    .await;
    assert_eq!(invalid.status(), 400);
    let error = &invalid.json()["error"];
    assert_eq!(error["type"], "Bad Request");
    let message = error["message"].as_str().expect("a message");
    let start = "1 validation error:\n  {'type': 'json_invalid', 'loc': ('body', 15), 'msg': 'JSON decode error', ";
    assert!(message.starts_with(start), "{message}");
    assert!(
        message.contains("/vllm/entrypoints/utils.py\", line 518"),
        "{message}"
    );
    let media = send(
        server.address,
        "POST /v1/completions",
        &["content-type: text/plain"],
        "{}",
    )
    .await;
    assert_eq!(media.status(), 400);
    let detail = "Unsupported Media Type: Only 'application/json' is allowed";
    assert_eq!(
        media.json()["error"]["message"],
        format!("1 validation error:\n  {detail} [\"{detail}\"]")
    );
    for body in [
        json!({"prompt": 5}),
        json!({"max_tokens": 3}),
        json!({"prompt": "x", "max_tokens": "many"}),
    ] {
        let answer = completion(server.address, &body).await;
        assert_eq!(
            (answer.status(), &answer.json()["error"]["type"]),
            (400, &json!("Bad Request"))
        );
    }
}

#[tokio::test]
async fn a_key_guards_v1_and_nothing_else() {
    let server = Inside::serving("m --api-key secret other").await;
    for path in ["/v1/models", "/v1/nothing"] {
        let refused = get(server.address, path).await;
        assert_eq!(
            (refused.status(), refused.body.as_str()),
            (401, r#"{"error":"Unauthorized"}"#)
        );
    }
    let wrong = send(
        server.address,
        "GET /v1/models",
        &["authorization: Bearer wrong"],
        "",
    )
    .await;
    assert_eq!(wrong.status(), 401);
    for key in [
        "authorization: Bearer secret",
        "authorization: bearer other",
    ] {
        assert_eq!(
            send(server.address, "GET /v1/models", &[key], "")
                .await
                .status(),
            200
        );
    }
    for path in ["/health", "/ping", "/metrics", "/version", "/load"] {
        assert_eq!(get(server.address, path).await.status(), 200, "{path}");
    }
    for path in ["/tokenize", "/invocations"] {
        assert_eq!(
            post(server.address, path, &json!({"prompt": "hello"}))
                .await
                .status(),
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_request_id_names_the_answer_and_comes_back_when_asked_for() {
    let quiet = Inside::serving("m").await;
    let loud = Inside::serving("m --enable-request-id-headers").await;
    let headers = [JSON, &["x-request-id: my-id-1"]].concat();
    for (server, header) in [(&quiet, None), (&loud, Some("my-id-1"))] {
        let answer = send(
            server.address,
            "POST /v1/completions",
            &headers,
            r#"{"prompt":"hello"}"#,
        )
        .await;
        assert_eq!(answer.json()["id"], "cmpl-my-id-1");
        assert_eq!(answer.header("x-request-id"), header);
    }
}

#[tokio::test]
async fn tokenize_counts_and_detokenize_reads_back() {
    let server = Inside::serving("m --max-model-len 2048").await;
    let tokens = post(
        server.address,
        "/tokenize",
        &json!({"prompt": " the server of data"}),
    )
    .await
    .json();
    assert_eq!(
        (&tokens["count"], &tokens["max_model_len"]),
        (&json!(5), &json!(2048))
    );
    let text = post(
        server.address,
        "/detokenize",
        &json!({"tokens": tokens["tokens"]}),
    )
    .await;
    assert_eq!(text.body, r#"{"prompt":" the server of data"}"#);
}

#[tokio::test]
async fn load_counts_only_when_asked_to() {
    let server = Inside::serving("m --enable-server-load-tracking").await;
    let endless =
        json!({"prompt": "hello", "max_tokens": 30_000, "ignore_eos": true, "stream": true});
    let mut stream = open(server.address, "/v1/completions", &endless).await;
    read_until(&mut stream, "data: ").await;
    assert_eq!(
        get(server.address, "/load").await.body,
        r#"{"server_load":1}"#
    );
    drop(stream);
    until(|| server.engine.books().running() == 0)
        .await
        .expect("a client that leaves is noticed");
    assert_eq!(server.engine.books().stats.ended, [0, 0, 1, 0]);
}

#[tokio::test]
async fn metrics_have_vllms_names_and_count() {
    let server =
        Inside::serving("m --served-model-name tiny other --gpu-memory-utilization 0.3").await;
    let body = json!({"prompt": vec![9; 40], "max_tokens": 5, "ignore_eos": true});
    for _ in 0..2 {
        completion(server.address, &body).await;
    }
    let page = get(server.address, "/metrics").await;
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain; version=1.0.0"))
    );
    let labels = r#"engine="0",model_name="tiny""#;
    for line in [
        &format!("vllm:num_requests_running{{{labels}}} 0.0"),
        &format!("vllm:num_requests_waiting{{{labels}}} 0.0"),
        &format!("vllm:kv_cache_usage_perc{{{labels}}} 0.0"),
        &format!("vllm:prompt_tokens_total{{{labels}}} 80.0"),
        &format!("vllm:generation_tokens_total{{{labels}}} 10.0"),
        &format!("vllm:prefix_cache_queries_total{{{labels}}} 80.0"),
        &format!("vllm:prefix_cache_hits_total{{{labels}}} 32.0"),
        &format!("vllm:external_prefix_cache_hits_total{{{labels}}} 0.0"),
        r#"vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 2.0"#,
        r#"vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="tiny"} 2.0"#,
        r#"vllm:inter_token_latency_seconds_bucket{engine="0",le="0.01",model_name="tiny"} "#,
        &format!("vllm:inter_token_latency_seconds_count{{{labels}}} 8.0"),
        &format!("vllm:e2e_request_latency_seconds_count{{{labels}}} 2.0"),
        &format!("vllm:request_time_per_output_token_seconds_sum{{{labels}}} "),
        &format!("vllm:request_queue_time_seconds_count{{{labels}}} 2.0"),
        &format!("vllm:request_inference_time_seconds_count{{{labels}}} 2.0"),
        &format!("vllm:request_prefill_time_seconds_count{{{labels}}} 2.0"),
        &format!("vllm:request_decode_time_seconds_count{{{labels}}} 2.0"),
        "process_start_time_seconds 1",
        r#"num_gpu_blocks="9197""#,
    ] {
        assert!(page.body.contains(line), "no `{line}` in:\n{}", page.body);
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_it_has_served_and_not_before() {
    let server = Inside::serving("m").await;
    let mut fresh = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    let mut used = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    write(&mut used, "GET /version", &[], "").await;
    read_until(&mut used, "0.13.0").await;
    // In paused time the five seconds pass as soon as nothing else happens.
    let end = tokio::io::AsyncReadExt::read(&mut used, &mut [0; 16])
        .await
        .expect("it ends in order");
    assert_eq!(end, 0);
    write(&mut fresh, "GET /version", &[], "").await;
    read_until(&mut fresh, "0.13.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_and_twelve_streams_run_at_once() {
    let server = Inside::serving("m").await;
    let body = json!({
        "prompt": "hello", "max_tokens": 64, "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true},
    });
    let mut streams = JoinSet::new();
    for _ in 0..512 {
        let (address, body) = (server.address, body.clone());
        streams.spawn(async move { completion(address, &body).await });
    }
    while let Some(answer) = streams.join_next().await {
        let answer = answer.expect("no stream panics");
        assert_eq!(
            answer.chunks().last().expect("usage")["usage"]["completion_tokens"],
            64
        );
    }
    assert_eq!(server.engine.books().stats.ended, [0, 512, 0, 0]);
}
