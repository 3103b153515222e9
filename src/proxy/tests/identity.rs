use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn the_nonce_is_hidden_wherever_models_are_listed() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    a.serve(&["tiny", "replica-a", "replica-b"]);
    let proxy = Running::before(&[&a, &b]).await;
    for path in ["/v1/models", "/v1/models/", "/v1/models?x=1"] {
        let answer = proxy.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.instance().is_some());
        let models = answer.json();
        assert_eq!(models["data"].as_array().unwrap().len(), 1, "{models}");
        assert_eq!(models["data"][0]["id"], "tiny");
        assert_eq!(models["object"], "list");
    }
}

#[tokio::test]
async fn the_nonce_is_nobodys_model() {
    let fake = Fake::start("a").await;
    let proxy = Running::before(&[&fake]).await;
    let asked = proxy
        .post("/v1/completions", r#"{"prompt":"p","model":"replica-a"}"#)
        .await;
    let looked_up = proxy.get("/v1/models/replica-a").await;
    for answer in [asked, looked_up] {
        assert_eq!(answer.status(), 404);
        let error = &answer.json()["error"];
        assert_eq!(error["message"], "The model `replica-a` does not exist.");
        assert_eq!(error["type"], "NotFoundError");
        assert_eq!(error["code"], 404);
        assert!(error["param"].is_null());
    }
    assert_eq!(fake.calls(), 0);
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
