use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use super::*;
use crate::hex::hex;
use crate::plan::effect::control::{Hidden, Key};

#[tokio::test]
async fn the_nonce_is_hidden_wherever_models_are_listed() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    a.serve(&["tiny", "replica-a", "replica-b"]);
    let proxy = Running::before(&[&a, &b]).await;
    for path in ["/v1/models", "/v1/%6dodels", "/v1/models?x=1"] {
        let answer = proxy.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.instance().is_some());
        let models = answer.json();
        assert_eq!(models["data"].as_array().unwrap().len(), 1, "{models}");
        assert_eq!(models["data"][0]["id"], "tiny");
        assert_eq!(models["object"], "list");
    }
    let slash = proxy.get("/v1/models/?x=1").await;
    assert_eq!(slash.status(), 307);
    assert_eq!(slash.header("location"), Some("/v1/models?x=1"));
    let slash = proxy.post("/tokenize/?x=1", "{}").await;
    assert_eq!(slash.status(), 307);
    assert_eq!(slash.header("location"), Some("/tokenize?x=1"));
}

#[tokio::test]
async fn the_nonce_is_nobodys_model() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let adapter = "POST /invocations HTTP/1.1\r\nhost: p\r\ncontent-length: 0\r\n\
                   x-amzn-sagemaker-adapter-identifier: replica-a\r\n\r\n";
    let mut answers = vec![proxy.ask(adapter).await];
    for body in [
        r#"{"prompt":"p","model":"replica-a"}"#,
        r#"{"model":"tiny","model":"replica-a"}"#,
        r#"{"model":"\u0072eplica-a"}"#,
        r#"{"top_p":NaN,"model":"replica-a"}"#,
    ] {
        answers.push(proxy.post("/v1/completions", body).await);
    }
    let form = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nreplica-a\r\n--x--";
    answers.push(proxy.post("/v1/audio/transcriptions", form).await);
    for path in [
        "/v1/models/replica-a",
        "/v1/models/%72eplic%61-a",
        "/v1/files?model=replica%2da",
    ] {
        answers.push(proxy.get(path).await);
    }
    for answer in answers {
        assert_eq!(answer.status(), 404, "{answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["message"], "The model `replica-a` does not exist.");
        assert_eq!(error["type"], "NotFoundError");
        assert_eq!(error["code"], 404);
        assert!(error["param"].is_null());
    }
    let wide = r#"{"model":"replica-a"}"#.bytes().flat_map(|byte| [byte, 0]);
    let wide = String::from_utf8(wide.collect()).unwrap();
    assert_eq!(proxy.post("/v1/completions", &wide).await.status(), 400);
    assert_eq!(fake.calls(), 0);
    let asked_about = r#"{"model":"tiny","prompt":"who is replica-a?"}"#;
    assert_eq!(
        proxy.post("/v1/completions", asked_about).await.status(),
        200
    );
}

/// A body that is too large to be held flows on, and stops before the nonce.
#[tokio::test]
async fn a_nonce_in_a_large_body_is_nobodys_model_either() {
    let (fake, mut calls) = Fake::driven("a").await;
    let proxy = Running::before(&[&fake]).await;
    let filler = "x".repeat(9_000_000);
    for (end, status) in [
        ("replica-a\"}", 404),
        ("\\u0072eplica-a\"}", 404),
        ("\0\"}", 400),
    ] {
        let body = format!(r#"{{"prompt":"{filler}","model":"{end}"#);
        let request = post("/v1/completions", &body);
        let mut client = proxy.client().await;
        let reading = async {
            let mut call = calls.recv().await.unwrap();
            let mut read = Vec::new();
            // It ends without a whole request.
            let _ = call.stream.read_to_end(&mut read).await;
            read
        };
        let asking = async {
            client.send(&request).await;
            client.answer().await
        };
        let (read, answer) = soon(async { tokio::join!(reading, asking) }).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        assert!(read.len() < body.len(), "it was sent whole");
        assert!(read.iter().all(|byte| *byte != 0));
        assert!(!String::from_utf8(read).unwrap().contains("eplica-a"));
    }
    proxy.until(|s| s.backends["a"].in_flight == 0).await;
}

#[tokio::test]
async fn a_stranger_never_gets_a_request() {
    let stranger = Fake::start("a").await;
    stranger.serve(&["tiny", "replica-other"]);
    let good = Fake::start("b").await;
    let proxy = Running::start().await;
    proxy.configure(&config(1, &[&stranger, &good])).await;
    proxy.done(&Request::Admit(good.backend.clone())).await;
    let status = proxy
        .until(|status| status.backends["a"].trouble.is_some())
        .await;
    assert_eq!(status.backends["a"].state, BackendState::Pending);
    let trouble = status.backends["a"].trouble.as_deref().unwrap();
    assert!(trouble.contains("does not serve `replica-a`"), "{trouble}");
    for _ in 0..10 {
        assert_eq!(
            proxy.post("/v1/completions", "{}").await.instance(),
            Some("b")
        );
    }
    assert_eq!(stranger.calls(), 0);
}

#[tokio::test]
async fn only_the_right_nonce_is_taken_back() {
    let a = Fake::start("a").await;
    let address = a.address();
    let proxy = Running::before(&[&a]).await;
    drop(a);
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 502);
    // A stranger takes the port.
    let listener = TcpListener::bind(address).await.unwrap();
    let other = Fake::on(listener, "a", "replica-other", |mut call| async move {
        call.reply("200 OK", "{}").await;
        None
    });
    let is_stranger = |trouble: &Option<String>| {
        trouble
            .as_deref()
            .is_some_and(|t| t.contains("another server"))
    };
    let status = proxy.until(|s| is_stranger(&s.backends["a"].trouble)).await;
    assert_eq!(status.backends["a"].state, BackendState::Ejected);
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 503);
    // It turns out to be the right one.
    other.serve(&["tiny", "replica-a"]);
    proxy.until_state("a", BackendState::Ready).await;
    assert_eq!(proxy.post("/v1/completions", "{}").await.status(), 200);
}

#[tokio::test]
async fn a_ready_instance_whose_nonce_is_gone_is_taken_out() {
    let a = Fake::start("a").await;
    let proxy = Running::before(&[&a]).await;
    a.serve(&["tiny"]);
    let status = proxy.until_state("a", BackendState::Ejected).await;
    let trouble = status.backends["a"].trouble.as_deref().unwrap();
    assert!(trouble.contains("another server"), "{trouble}");
    assert_eq!(a.calls(), 0);
}

/// One request with this `Authorization`.
fn with_key(key: &str) -> String {
    let asked = "GET /v1/anything HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer";
    format!("{asked} {key}\r\n\r\n")
}

#[tokio::test]
async fn a_clients_key_goes_no_further_and_the_backend_is_shown_its_own() {
    let echo = |mut call: fake::Call| async move {
        let shown = call.header("authorization").map(str::to_owned);
        call.reply("200 OK", &json!({ "shown": shown }).to_string())
            .await;
        Some(call.stream)
    };
    let (mut own, keyless) = (
        Fake::answering("a", echo).await,
        Fake::answering("b", echo).await,
    );
    let key = |digest: &str, hidden: &str| Key {
        digest: digest.to_owned(),
        hidden: Some(Hidden(hidden.to_owned())),
    };
    own.backend.key = Some(key("a", "sk-own"));
    let proxy = Running::before(&[&own, &keyless]).await;
    assert_eq!(
        proxy.ask(&with_key("theirs")).await.json()["shown"],
        "Bearer sk-own"
    );

    let mut guarded = config(2, &[&own, &keyless]);
    guarded.client_keys = vec![key("one", &hex(&Sha256::digest("theirs")))];
    let status = proxy.configure(&guarded).await;
    let told = serde_json::to_string(&status).unwrap();
    assert!(!told.contains("sk-own") && !told.contains(&hex(&Sha256::digest("theirs"))));
    let mut shown = Vec::new();
    for _ in 0..2 {
        shown.push(proxy.ask(&with_key("theirs")).await.json()["shown"].clone());
    }
    shown.sort_by_key(ToString::to_string);
    assert_eq!(shown, [json!("Bearer sk-own"), json!(null)]);
    let keyless = [
        "/v1/models",
        "/v1/models/",
        "/%761/models",
        "/invocations",
        "/pooling",
        "/inference/v1/generate",
        "/version",
        "/sleep",
    ];
    let keyless = keyless.map(|path| format!("GET {path} HTTP/1.1\r\nhost: p\r\n\r\n"));
    for refused in keyless.into_iter().chain([with_key("sk-own")]) {
        let answer = proxy.ask(&refused).await;
        assert_eq!(
            (answer.status(), answer.error().as_str()),
            (401, "unauthorized")
        );
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(proxy.get("/health").await.status(), 200);
}

/// Who does not know the key of an instance is not that instance, and what it says no answer of it.
#[tokio::test]
async fn a_server_that_does_not_take_its_own_key_is_no_answer() {
    let mut a = Fake::answering("a", |mut call| async move {
        call.reply("401 Unauthorized", "{}").await;
        Some(call.stream)
    })
    .await;
    a.backend.key = Some(Key {
        digest: "a".to_owned(),
        hidden: Some(Hidden("sk-own".to_owned())),
    });
    let b = Fake::start("b").await;
    let proxy = Running::before(&[&a, &b]).await;
    for _ in 0..4 {
        let answer = proxy.post("/v1/completions", "{}").await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("b")));
    }
    assert_eq!(a.calls(), 2);
    let alone = Running::before(&[&a]).await;
    let answer = alone.post("/v1/completions", "{}").await;
    assert_eq!(
        (answer.status(), answer.error().as_str()),
        (502, "upstream_broken")
    );
}

/// What it was told of keys it keeps for its next start, and for its owner alone.
#[tokio::test]
async fn a_proxy_that_starts_again_knows_the_keys() {
    let fake = Fake::start("a").await;
    let proxy = Running::start().await;
    let mut guarded = config(1, &[&fake]);
    guarded.client_keys = vec![Key {
        digest: "one".to_owned(),
        hidden: Some(Hidden(hex(&Sha256::digest("theirs")))),
    }];
    proxy.configure(&guarded).await;
    let kept = proxy.folder.path().join("state.json");
    let mode = std::fs::metadata(kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = Running::start_in(proxy.stop().await).await;
    again.until_state("a", BackendState::Ready).await;
    assert_eq!(again.ask(&with_key("theirs")).await.status(), 200);
    assert_eq!(again.ask(&with_key("others")).await.status(), 401);
}

/// A listener that shares its port, as vLLM's do.
fn shared(address: std::net::SocketAddr) -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(64).unwrap()
}

/// The kernel gives each connection to one of the two; a stranger got 37 of 94 requests so, under the
/// name of the instance beside it.
#[tokio::test]
async fn a_stranger_on_the_same_port_gets_no_request() {
    let from = |name: &'static str| {
        move |mut call: fake::Call| async move {
            call.reply("200 OK", name).await;
            // Each request wants a connection of its own.
            None
        }
    };
    let listener = shared("127.0.0.1:0".parse().unwrap());
    let address = listener.local_addr().unwrap();
    let own = Fake::on(listener, "a", "replica-a", from("own"));
    let proxy = Running::before(&[&own]).await;
    let stranger = Fake::on(shared(address), "a", "replica-other", from("stranger"));
    // Whenever only the stranger is met it is out of service, until a probe meets it again.
    let mut served = 0;
    soon(async {
        while served < 10 {
            let answer = proxy.post("/v1/completions", "{}").await;
            assert_ne!(answer.body, "stranger");
            match answer.status() {
                200 => served += 1,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    assert_eq!(stranger.calls(), 0);
    assert_eq!(own.calls(), served);
}
