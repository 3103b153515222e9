//! KV caches handed from one simulated engine to another, over real connections. What is expected is
//! what 0.13.0 was seen to do with NixlConnector.

use serde_json::{Value, json};

use super::client::{Answer, get, open, post, read_until};
use super::world::{Inside, Outside, free_port, until};
use crate::simulator::engine::Power;

/// A server with a connector that keeps blocks for so many seconds.
fn connected(lease: f64, more: &str) -> String {
    format!(
        r#"m {more} --kv-transfer-config {{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_connector_extra_config":{{"kv_lease_duration":{lease}}}}}"#
    )
}

/// The same with something said beside the role.
fn connected_with(said: &str) -> String {
    format!(
        r#"m --kv-transfer-config {{"kv_connector":"NixlConnector","kv_role":"kv_both",{said}}}"#
    )
}

fn words(count: usize) -> Vec<u32> {
    (0..count as u32).map(|at| 1000 + at % 90).collect()
}

fn request(prompt: &[u32]) -> Value {
    json!({"prompt": prompt, "temperature": 0, "max_tokens": 20, "ignore_eos": true})
}

/// The request with some things said otherwise.
fn with(request: &Value, changes: Value) -> Value {
    let mut request = request.clone();
    let object = request.as_object_mut().expect("a request is an object");
    if let Value::Object(changes) = changes {
        object.extend(changes);
    }
    request
}

async fn ask(server: &Inside, body: &Value) -> Answer {
    post(server.address, "/v1/completions", body).await
}

/// Has a server read a prompt for another; returns what it says about that.
async fn prefilled(server: &Inside, body: &Value) -> Value {
    let wish = json!({
        "max_tokens": 1, "kv_transfer_params": {
            "do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": null,
            "remote_block_ids": null, "remote_host": null, "remote_port": null,
        },
    });
    let answer = ask(server, &with(body, wish)).await;
    assert_eq!(answer.status(), 200, "{}", answer.body);
    answer.json()["kv_transfer_params"].clone()
}

async fn decoded(server: &Inside, body: &Value, params: &Value) -> Answer {
    ask(server, &with(body, json!({"kv_transfer_params": params}))).await
}

fn text(answer: &Answer) -> String {
    assert_eq!(answer.status(), 200, "{}", answer.body);
    let text = answer.json()["choices"][0]["text"].clone();
    text.as_str().expect("an answer has a text").to_owned()
}

/// A sample of /metrics; nothing when there is none of that name.
async fn metric(server: &Inside, name: &str) -> Option<f64> {
    let page = get(server.address, "/metrics").await.body;
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("vllm:{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until a server holds no block.
async fn holds_nothing(server: &Inside) {
    until(|| server.engine.books().kv_usage().abs() < f64::EPSILON)
        .await
        .expect("every block comes back");
}

#[tokio::test]
async fn the_answer_says_where_the_blocks_are_as_captured() {
    let server = Inside::serving(&connected(60.0, "")).await;
    let params = prefilled(&server, &request(&words(40))).await;
    let (engine, port) = (&params["remote_engine_id"], &params["remote_port"]);
    let id = params["remote_request_id"].as_str().expect("a name");
    assert!(id.starts_with("cmpl-") && id.ends_with("-0"), "{id}");
    assert_eq!(engine.as_str().map(str::len), Some(36));
    assert_eq!(
        params.to_string(),
        format!(
            r#"{{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[1,2,3],"remote_engine_id":{engine},"remote_request_id":"{id}","remote_host":"127.0.0.1","remote_port":{port},"tp_size":1}}"#
        )
    );
    assert!(server.engine.books().kv_usage() > 0.0);
}

#[tokio::test]
async fn what_ended_by_itself_or_was_streamed_says_nothing() {
    let server = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let first = ask(
        &server,
        &with(&body, json!({"return_token_ids": true, "max_tokens": 1})),
    )
    .await;
    let token = first.json()["choices"][0]["token_ids"][0].clone();
    let stops = with(&body, json!({"stop_token_ids": [token]}));
    assert_eq!(prefilled(&server, &stops).await, Value::Null);
    holds_nothing(&server).await;
    let wish =
        json!({"max_tokens": 1, "stream": true, "kv_transfer_params": {"do_remote_decode": true}});
    let streamed = ask(&server, &with(&body, wish)).await;
    assert!(!streamed.body.contains("remote_block_ids"));
    assert!(server.engine.books().kv_usage() > 0.0);
}

#[tokio::test]
async fn another_engine_goes_on_as_if_it_had_read_the_prompt() {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let decode = Inside::serving(&connected(60.0, "")).await;
    let alone = Inside::serving("m").await;
    let mut tokens = 0;
    for count in [5, 16, 127, 128, 129, 300, 1000] {
        let prompt: Vec<_> = words(count).into_iter().rev().collect();
        let body = request(&prompt);
        let params = prefilled(&prefill, &body).await;
        let answer = decoded(&decode, &body, &params).await;
        assert_eq!(text(&answer), text(&ask(&alone, &body).await), "{count}");
        assert_eq!(answer.json()["kv_transfer_params"], Value::Null);
        assert_eq!(answer.json()["usage"]["prompt_tokens"], count);
        assert_eq!(answer.json()["usage"]["completion_tokens"], 20);
        tokens += count;
    }
    let queries = metric(&decode, "external_prefix_cache_queries_total").await;
    assert_eq!(queries, Some(tokens as f64));
    // Prompts that begin alike share what the decode side has by then.
    let hits = metric(&decode, "external_prefix_cache_hits_total").await;
    assert!(hits.is_some_and(|hits| hits > 500.0), "{hits:?}");
    let transfers = metric(&decode, "nixl_bytes_transferred_count").await;
    assert_eq!(transfers, Some(7.0));
    assert_eq!(
        metric(&prefill, "nixl_bytes_transferred_count").await,
        Some(0.0)
    );
    holds_nothing(&prefill).await;
    holds_nothing(&decode).await;
}

#[tokio::test]
async fn a_chat_is_handed_over_and_streamed() {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let decode = Inside::serving(&connected(60.0, "--enable-prompt-tokens-details")).await;
    let chat = json!({
        "messages": [{"role": "user", "content": "Tell me about caches, please"}],
        "temperature": 0, "max_completion_tokens": 12, "ignore_eos": true,
    });
    let path = "/v1/chat/completions";
    let reference = post(prefill.address, path, &chat).await.json();
    let wish =
        json!({"max_completion_tokens": 1, "kv_transfer_params": {"do_remote_decode": true}});
    let params =
        post(prefill.address, path, &with(&chat, wish)).await.json()["kv_transfer_params"].clone();
    let name = params["remote_request_id"].as_str().expect("a name");
    assert!(
        name.starts_with("chatcmpl-") && !name.ends_with("-0"),
        "{name}"
    );
    let more = json!({
        "kv_transfer_params": params, "stream": true, "stream_options": {"include_usage": true},
    });
    let chunks = post(decode.address, path, &with(&chat, more))
        .await
        .chunks();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(reference["choices"][0]["message"]["content"], text);
    let usage = &chunks.last().expect("usage is asked for")["usage"];
    let prompt = usage["prompt_tokens"].as_u64().expect("a count");
    // What came from elsewhere counts as cached; the last token was computed here.
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], prompt - 1);
}

#[tokio::test]
async fn the_blocks_decide_what_is_answered() {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let decode = Inside::serving(&connected(60.0, "--no-enable-prefix-caching")).await;
    let (ours, theirs) = (request(&words(40)), request(&words(41)[1..]));
    let reference = text(&ask(&decode, &ours).await);
    let params = prefilled(&prefill, &theirs).await;
    let tampered = decoded(&decode, &ours, &params).await;
    assert_ne!(text(&tampered), reference);
    // Fetched twice, it is the same as long as nobody has written there.
    let params = prefilled(&prefill, &ours).await;
    for _ in 0..2 {
        assert_eq!(text(&decoded(&decode, &ours, &params).await), reference);
    }
    holds_nothing(&prefill).await;
}

#[tokio::test]
async fn what_is_not_fetched_in_time_is_freed_and_counted() {
    let prefill = Inside::serving(&connected(0.05, "")).await;
    let decode = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let reference = text(&ask(&decode, &with(&body, json!({"cache_salt": "apart"}))).await);
    let params = prefilled(&prefill, &body).await;
    holds_nothing(&prefill).await;
    assert_eq!(
        metric(&prefill, "nixl_num_kv_expired_reqs_total").await,
        Some(1.0)
    );
    // Nobody has written there since: what comes is still right.
    assert_eq!(text(&decoded(&decode, &body, &params).await), reference);
}

#[tokio::test]
async fn an_expired_object_may_be_answered_wrongly() {
    let prefill = Inside::serving(&connected(0.05, "--num-gpu-blocks-override 4")).await;
    let decode = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let reference = text(&ask(&decode, &with(&body, json!({"cache_salt": "apart"}))).await);
    let params = prefilled(&prefill, &body).await;
    holds_nothing(&prefill).await;
    // Another prompt takes all blocks there are.
    let other = with(
        &request(&words(60)),
        json!({"cache_salt": "other", "max_tokens": 2}),
    );
    text(&ask(&prefill, &other).await);
    assert_ne!(text(&decoded(&decode, &body, &params).await), reference);
}

#[tokio::test]
async fn kept_blocks_can_run_out_until_they_are_fetched() {
    let prefill = Inside::serving(&connected(60.0, "--num-gpu-blocks-override 4")).await;
    let decode = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let params = prefilled(&prefill, &body).await;
    let second = with(&body, json!({"cache_salt": "second", "max_tokens": 1}));
    let mut waiting = open(prefill.address, "/v1/completions", &second).await;
    until(|| prefill.engine.books().waiting() == 1)
        .await
        .expect("it waits for blocks");
    text(&decoded(&decode, &body, &params).await);
    read_until(&mut waiting, "\"finish_reason\":\"length\"").await;
}

#[tokio::test]
async fn an_object_that_lacks_a_field_is_not_used() {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let decode = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let mut params = prefilled(&prefill, &body).await;
    let reference = text(&ask(&prefill, &body).await);
    params
        .as_object_mut()
        .expect("an object")
        .remove("remote_request_id");
    assert_eq!(text(&decoded(&decode, &body, &params).await), reference);
    assert_eq!(
        metric(&decode, "external_prefix_cache_hits_total").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn without_a_connector_there_is_nothing_of_it() {
    let server = Inside::serving("m").await;
    let body = request(&words(40));
    assert_eq!(prefilled(&server, &body).await, Value::Null);
    let elsewhere = json!({
        "do_remote_prefill": true, "remote_block_ids": [1], "remote_engine_id": "e",
        "remote_request_id": "r", "remote_host": "127.0.0.1", "remote_port": 1,
    });
    text(&decoded(&server, &body, &elsewhere).await);
    holds_nothing(&server).await;
    assert_eq!(metric(&server, "nixl_bytes_transferred_count").await, None);
}

/// Asks an engine to go on from an object that ends it.
async fn is_ended_by(decode: &Inside, body: &Value, params: &Value) {
    let answer = decoded(decode, body, params).await;
    assert_eq!(answer.status(), 500);
    assert!(
        answer.body.contains("EngineCore encountered an issue."),
        "{}",
        answer.body
    );
    assert_eq!(get(decode.address, "/health").await.status(), 503);
}

#[tokio::test]
async fn an_engine_that_cannot_meet_the_other_dies_of_it() {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let body = request(&words(40));
    let good = prefilled(&prefill, &body).await;
    for wrong in [
        json!({"remote_engine_id": "nobody"}),
        json!({"remote_port": free_port()}),
        json!({"remote_block_ids": []}),
        json!({"remote_block_ids": [1]}),
    ] {
        let decode = Inside::serving(&connected(60.0, "")).await;
        is_ended_by(&decode, &body, &with(&good, wrong)).await;
    }
}

#[tokio::test]
async fn another_model_ends_the_engine_unless_that_is_not_checked() {
    let config = r#"--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;
    let prefill = Inside::serving(&format!("/one/path {config}")).await;
    let body = request(&words(40));
    let params = prefilled(&prefill, &body).await;
    let strict = Inside::serving(&format!("/other/path {config}")).await;
    is_ended_by(&strict, &body, &params).await;
    let said = r#""kv_connector_extra_config":{"enforce_handshake_compat":false}"#;
    let lax = Inside::serving(&connected_with(said)).await;
    text(&decoded(&lax, &body, &params).await);
}

/// A prefill engine that is gone, with an object of its, and a decode engine that had met it.
async fn bereaved(said: &str) -> (Inside, Value, Value) {
    let prefill = Inside::serving(&connected(60.0, "")).await;
    let decode = Inside::serving(&connected_with(said)).await;
    let body = request(&words(40));
    let params = prefilled(&prefill, &body).await;
    text(&decoded(&decode, &body, &params).await);
    let other = request(&words(90)[50..]);
    let params = prefilled(&prefill, &other).await;
    prefill.engine.switch(Power::Dead);
    (decode, other, params)
}

#[tokio::test]
async fn a_prompt_is_read_again_when_the_other_engine_is_gone() {
    let (decode, body, params) = bereaved(r#""kv_load_failure_policy":"recompute""#).await;
    let reference = text(&ask(&Inside::serving("m").await, &body).await);
    assert_eq!(text(&decoded(&decode, &body, &params).await), reference);
    assert_eq!(
        metric(&decode, "nixl_num_failed_transfers_total").await,
        Some(1.0)
    );
    holds_nothing(&decode).await;
}

#[tokio::test]
async fn or_the_request_fails_by_it_where_that_is_the_policy() {
    let (decode, body, params) = bereaved(r#""kv_load_failure_policy":"fail""#).await;
    let answer = decoded(&decode, &body, &params).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(
        answer.body,
        r#"{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}"#
    );
    let streamed = decoded(&decode, &with(&body, json!({"stream": true})), &params).await;
    assert_eq!(
        streamed.events(),
        [
            r#"{"error": {"message": "Internal server error", "type": "InternalServerError", "param": null, "code": 500}}"#,
            "[DONE]"
        ]
    );
    assert_eq!(get(decode.address, "/health").await.status(), 200);
    holds_nothing(&decode).await;
}

#[tokio::test]
async fn no_block_is_lost_over_aborts_expiries_and_stops() {
    let prefill = Inside::serving(&connected(1.0, "--num-gpu-blocks-override 200")).await;
    let decode = Inside::serving(&connected(
        1.0,
        "--num-gpu-blocks-override 40 --max-num-seqs 4",
    ))
    .await;
    let mut everything = tokio::task::JoinSet::new();
    let (prefill_at, decode_at) = (prefill.address, decode.address);
    for turn in 0..48_u64 {
        everything.spawn(async move {
            let salt = json!({"cache_salt": format!("turn {}", turn % 7)});
            let body = with(&request(&words(30 + turn as usize)), salt);
            let wish = json!({"max_tokens": 1, "kv_transfer_params": {"do_remote_decode": true}});
            let wish = with(&body, wish);
            let path = "/v1/completions";
            // A client that leaves at once, while the prompt may be read.
            if turn % 6 == 0 {
                drop(open(prefill_at, path, &wish).await);
                return;
            }
            let params = post(prefill_at, path, &wish).await.json()["kv_transfer_params"].clone();
            let longer = json!({"kv_transfer_params": params, "stream": true, "max_tokens": 60});
            let fetch = with(&body, longer);
            match turn % 6 {
                // Nobody comes for it.
                1 => {}
                // A client that leaves before, or while, it is fetched.
                2 => drop(open(decode_at, path, &fetch).await),
                // A client that leaves while it is answered.
                3 => {
                    let mut stream = open(decode_at, path, &fetch).await;
                    read_until(&mut stream, "data: ").await;
                }
                _ => assert!(
                    post(decode_at, path, &fetch)
                        .await
                        .body
                        .ends_with("[DONE]\n\n")
                ),
            }
        });
    }
    while let Some(done) = everything.join_next().await {
        done.expect("each turn goes as it should");
    }
    for server in [&prefill, &decode] {
        holds_nothing(server).await;
        let books = server.engine.books();
        assert_eq!((books.running(), books.waiting()), (0, 0));
    }
    assert!(prefill.engine.books().stats.nixl.expired >= 8);
}

const CONFIG: &str = r#"--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;

/// A process with a connector whose side channel has this port.
fn process(side_channel: u16, line: &str) -> Outside {
    let port = side_channel.to_string();
    let environment = [
        ("VLLM_NIXL_SIDE_CHANNEL_HOST", "127.0.0.1"),
        ("VLLM_NIXL_SIDE_CHANNEL_PORT", port.as_str()),
        ("VLLM_NIXL_ABORT_REQUEST_TIMEOUT", "30"),
    ];
    Outside::start_on(free_port(), line, &environment)
}

#[tokio::test]
async fn a_misspelt_connector_ends_the_start() {
    let mut server = process(
        free_port(),
        r#"--kv-transfer-config {"kv_connector":"NixlConector","kv_role":"kv_both"}"#,
    );
    assert_eq!(server.ended().await.code(), Some(1));
    server
        .says("ValueError: Unsupported connector type: NixlConector")
        .await;
}

#[tokio::test]
async fn a_process_hands_over_to_another_and_one_that_finds_nobody_ends() {
    let (side_channel, other) = (free_port(), free_port());
    let prefill = process(side_channel, CONFIG);
    let mut decode = process(other, CONFIG);
    for server in [&prefill, &decode] {
        server.says("Application startup complete.").await;
    }
    let path = "/v1/completions";
    let body = request(&words(40));
    let reference = post(
        decode.address,
        path,
        &with(&body, json!({"cache_salt": "apart"})),
    )
    .await;
    let wish = json!({"max_tokens": 1, "kv_transfer_params": {"do_remote_decode": true}});
    let wish = with(&body, wish);
    let params = post(prefill.address, path, &wish).await.json()["kv_transfer_params"].clone();
    assert_eq!(params["remote_port"], side_channel);
    let fetch = with(&body, json!({"kv_transfer_params": params}));
    let answer = post(decode.address, path, &fetch).await;
    assert_eq!(text(&answer), text(&reference));
    let stranger = with(&params, json!({"remote_engine_id": "stranger"}));
    let fetch = with(
        &body,
        json!({"kv_transfer_params": stranger, "cache_salt": "new"}),
    );
    assert_eq!(post(decode.address, path, &fetch).await.status(), 500);
    decode.ended().await;
    decode.says("KeyError: 'stranger'").await;
}

#[tokio::test]
async fn a_side_channel_that_is_taken_holds_up_the_start() {
    let side_channel = free_port();
    let first = process(side_channel, CONFIG);
    first.says("Application startup complete.").await;
    let second = process(side_channel, CONFIG);
    second
        .says("Exception in thread nixl_handshake_listener")
        .await;
    assert!(!second.log().contains("Application startup complete."));
}
