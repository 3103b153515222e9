//! Requests whose prompt one server reads for another that writes the answer.

mod failures;
mod leaving;
mod sharing;

use super::*;
use crate::plan::Role;
use fake::Call;
use tokio::sync::mpsc::UnboundedReceiver;

/// What vLLM 0.13 says of what it holds.
const HELD: &str = r#"{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[1,2,3],"remote_engine_id":"dc042d73-ba1f-4da2-aacd-737fe167d770","remote_request_id":"cmpl-r-1-p1-0","remote_host":"127.0.0.1","remote_port":5600,"tp_size":1}"#;

/// What has it hold something.
const HOLD: &str = r#"{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}"#;

/// Its whole answer to who is to read a prompt.
fn read(held: &str) -> String {
    format!(
        r#"{{"id":"cmpl-r-1-p1","object":"text_completion","created":1795392779,"model":"tiny","choices":[{{"index":0,"text":"","logprobs":null,"finish_reason":"length","stop_reason":null}}],"usage":{{"prompt_tokens":300,"total_tokens":301,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":16}}}},"kv_transfer_params":{held}}}"#
    )
}

/// Its whole answer to who has it write one, with so many tokens cached.
fn written(cached: u32) -> String {
    format!(
        r#"{{"id":"cmpl-r-1","object":"text_completion","choices":[{{"index":0,"text":" so","finish_reason":"length"}}],"usage":{{"prompt_tokens":300,"total_tokens":320,"completion_tokens":20,"prompt_tokens_details":{{"cached_tokens":{cached}}}}},"kv_transfer_params":null}}"#
    )
}

/// What a decode server is sent of a body.
fn handed(body: &str, held: &str) -> String {
    format!(
        r#"{{"kv_transfer_params":{held},{}"#,
        body.strip_prefix('{').unwrap()
    )
}

fn with_role(mut fake: Fake, role: Role) -> Fake {
    fake.backend.role = role;
    fake
}

async fn driven(name: &str, role: Role) -> (Fake, UnboundedReceiver<Call>) {
    let (fake, calls) = Fake::driven(name).await;
    (with_role(fake, role), calls)
}

/// One that reads prompts for others.
async fn reader(name: &str) -> Fake {
    saying(name, Role::Prefill, "200 OK", read(HELD)).await
}

/// One that writes answers, and says its name.
async fn writer(name: &str) -> Fake {
    with_role(Fake::start(name).await, Role::Decode)
}

/// One that answers everything so.
async fn saying(name: &str, role: Role, status: &'static str, body: String) -> Fake {
    let fake = Fake::answering(name, move |mut call| {
        let body = body.clone();
        async move {
            call.reply(status, &body).await;
            Some(call.stream)
        }
    });
    with_role(fake.await, role)
}

/// One that breaks every connection on which something is asked, and lives on.
async fn resetting(name: &str, role: Role) -> Fake {
    let fake = Fake::answering(name, |call| async move {
        call.reset();
        None
    });
    with_role(fake.await, role)
}

/// A proxy with this configuration, once all of its backends are ready.
async fn serving(config: Config) -> Running {
    let proxy = Running::start().await;
    proxy.configure(&config).await;
    for backend in config.backends {
        proxy.done(&Request::Admit(backend)).await;
    }
    proxy
}

impl Running {
    /// What `/metrics` says of hand-overs.
    async fn handoffs(&self, outcome: &str) -> u64 {
        let name = format!("replica_proxy_handoffs_total{{outcome=\"{outcome}\"}} ");
        self.counted(&name).await
    }

    /// A count of its page.
    async fn counted(&self, name: &str) -> u64 {
        let page = self.get("/metrics").await.body;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {page}"));
        line.parse().unwrap()
    }

    /// Waits until nothing is in flight anywhere, or held.
    async fn at_rest(&self) {
        let is_idle = |status: &Status| status.backends.values().all(|it| it.in_flight == 0);
        self.until(is_idle).await;
        let pool = &self.front.pool;
        soon(async {
            while pool.backends().iter().any(|it| it.unfinished() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

async fn next(calls: &mut UnboundedReceiver<Call>) -> Call {
    soon(calls.recv()).await.unwrap()
}

fn text(call: &Call) -> &str {
    std::str::from_utf8(&call.body).unwrap()
}

const ASKED: &str = r#"{"model":"tiny","prompt":"p","max_tokens":20}"#;

/// What a prefill server is sent of it.
fn shortened() -> String {
    format!(
        r#"{{"stream":false,"ignore_eos":true,"max_tokens":1,"kv_transfer_params":{HOLD},"model":"tiny","prompt":"p"}}"#
    )
}

fn named(path: &str, body: &str) -> String {
    post(path, body).replace(
        "host: proxy\r\n",
        "host: proxy\r\nx-request-id: r-1\r\naccept-encoding: gzip\r\n",
    )
}

#[tokio::test]
async fn one_reads_the_prompt_and_another_writes_all_of_the_answer() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    for filling in [0, 8_000, 200_000] {
        let fill = "x".repeat(filling);
        // What a client says of it is not passed on.
        let said = format!(
            r#"{{"model":"tiny","prompt":"p{fill}","max_tokens":20,"kv_transfer_params":{{"a":1}}}}"#
        );
        let mut client = proxy.client().await;
        client.send(&named("/v1/completions", &said)).await;
        let mut call = next(&mut reads).await;
        assert_eq!(call.line(), "POST /v1/completions HTTP/1.1");
        assert_eq!(call.header("x-request-id"), Some("r-1-p1"));
        assert_eq!(call.header("accept-encoding"), None);
        let want = shortened().replace(":\"p\"", &format!(":\"p{fill}\""));
        assert_eq!(text(&call), want);
        assert!(writes.try_recv().is_err(), "it was asked too early");
        call.reply("200 OK", &read(HELD)).await;
        let mut call = next(&mut writes).await;
        assert_eq!(call.header("x-request-id"), Some("r-1"));
        let asked = format!(r#"{{"model":"tiny","prompt":"p{fill}","max_tokens":20}}"#);
        assert_eq!(text(&call), handed(&asked, HELD));
        call.reply("200 OK", &written(299)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("d")));
        assert_eq!(answer.body, written(16));
        assert_eq!(answer.header("x-request-id"), Some("r-1"));
        assert_eq!(answer.header("x-replica-prefill"), Some("p"));
        let times = answer.header("server-timing").unwrap();
        assert!(times.contains(", prefill;dur="), "{times}");
    }
    proxy.until_requests(3, 0, 0).await;
    proxy.at_rest().await;
    assert_eq!(proxy.handoffs("handed_over").await, 3);
    let took = proxy.counted("replica_proxy_handoff_seconds_count ").await;
    assert_eq!(took, 3);
    assert_eq!((p.calls(), d.calls()), (3, 3));
}

#[tokio::test]
async fn chat_is_shared_as_well_with_the_limit_that_its_client_uses() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    let mut client = proxy.client().await;
    let said = r#"{"messages":[{"role":"user","content":"\"stop\":1"}],"max_completion_tokens":9,"max_tokens":8,"stop":["x"],"stream":true}"#;
    client.send(&post("/v1/chat/completions", said)).await;
    let mut call = next(&mut reads).await;
    let want = format!(
        r#"{{"stream":false,"ignore_eos":true,"max_completion_tokens":1,"kv_transfer_params":{HOLD},"messages":[{{"role":"user","content":"\"stop\":1"}}]}}"#
    );
    assert_eq!(text(&call), want);
    call.reply("200 OK", &read(HELD)).await;
    let mut call = next(&mut writes).await;
    assert_eq!(text(&call), handed(said, HELD));
    call.begin_stream().await;
    client.until("\r\n\r\n").await;
    // Nobody asks for the usage: not a byte is touched, nor held back.
    let usage = r#"data: {"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":299}}}"#;
    for part in [&usage[..30], &usage[30..], "\n\n", "data: [DONE]\n\n"] {
        call.chunk(part).await;
        client.until(&format!("\r\n{part}\r\n")).await;
    }
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
    proxy.until_requests(1, 0, 0).await;
    proxy.at_rest().await;
}

#[tokio::test]
async fn the_usage_of_a_stream_is_put_right_where_it_is_asked_for() {
    for gate in [0.0, 30.0] {
        let p = reader("p").await;
        let events = [
            r#"data: {"choices":[{"text":" so"}],"usage":null}"#,
            r#"data: {"choices":[],"usage":{"prompt_tokens":300,"prompt_tokens_details":{"cached_tokens":299}}}"#,
            "data: [DONE]",
        ];
        let stream = events.map(|it| format!("{it}\n\n")).concat();
        let want = stream.replace("299", "16");
        let sent = stream.clone();
        let d = Fake::answering("d", move |mut call| {
            let stream = sent.clone();
            async move {
                call.begin_stream().await;
                for piece in stream.as_bytes().chunks(37) {
                    call.chunk(std::str::from_utf8(piece).unwrap()).await;
                }
                call.end_stream().await;
                Some(call.stream)
            }
        });
        let d = with_role(d.await, Role::Decode);
        let mut config = config(1, &[&p, &d]);
        config.timeouts.gate = gate;
        let proxy = serving(config).await;
        let body = r#"{"prompt":"p","stream":true,"stream_options":{"include_usage":true}}"#;
        let answer = proxy.post("/v1/completions", body).await;
        assert_eq!(unchunked(&answer), want);
        assert_eq!(answer.header("x-replica-prefill"), Some("p"));
        proxy.until_requests(1, 0, 0).await;
        proxy.at_rest().await;
    }
}

/// A body without the frames of its chunks, where it has some.
fn unchunked(answer: &Answer) -> String {
    if answer.header("content-length").is_some() {
        return answer.body.clone();
    }
    let mut rest = &*answer.body;
    let mut data = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return data;
        }
        data += &after[..size];
        rest = &after[size + 2..];
    }
}

#[tokio::test]
async fn what_holds_nothing_is_answered_all_the_same() {
    for held in ["null", "{}", "[1]"] {
        let p = saying("p", Role::Prefill, "200 OK", read(held)).await;
        let (d, mut writes) = driven("d", Role::Decode).await;
        let proxy = Running::before(&[&p, &d]).await;
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        let mut call = next(&mut writes).await;
        assert_eq!(text(&call), ASKED);
        call.reply("200 OK", &written(299)).await;
        let answer = client.answer().await;
        assert_eq!(answer.body, written(299), "it has read the prompt itself");
        assert_eq!(answer.header("x-replica-prefill"), Some("none"));
        assert_eq!(proxy.handoffs("missing").await, 1);
        assert_eq!(proxy.handoffs("handed_over").await, 0);
        proxy.at_rest().await;
    }
}
