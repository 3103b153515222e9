//! A proxy that nobody tells anything, before servers that cannot be proved.

use std::sync::{Arc, Mutex};

use super::*;

/// A configuration with these, none of which has a nonce.
fn unproved(fakes: &[&Fake]) -> Config {
    let mut config = config(1, fakes);
    for backend in &mut config.backends {
        backend.nonce = None;
    }
    config
}

#[tokio::test]
async fn what_is_declared_is_served_from_at_once_and_without_a_proof() {
    let fake = Fake::start("a").await;
    fake.serve(&["whatever"]);
    let proxy = Running::declared(Declared::once(unproved(&[&fake])), None).await;
    for _ in 0..2 {
        let answer = proxy.post("/v1/completions", "{}").await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("a")));
    }
    let models = proxy.get("/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "whatever");
    let written = std::fs::read_dir(proxy.folder.path()).unwrap().count();
    assert_eq!(written, 0, "it keeps nothing");
    proxy.stop().await;
}

#[tokio::test]
async fn what_is_read_again_counts_unless_it_is_wrong() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let file = Arc::new(Mutex::new(Ok(unproved(&[&b]))));
    let read = Arc::clone(&file);
    let again = move || read.lock().unwrap().clone();
    let declared = Declared::read_by(unproved(&[&a]), again);
    let proxy = Running::declared(declared, Some("control.sock")).await;
    let asked = proxy.post("/v1/completions", "{}").await;
    assert_eq!(asked.instance(), Some("a"));

    let status = proxy.done(&Request::Reload).await;
    assert_eq!(status.config.unwrap().generation, 2);
    // It was not probed yet, and nobody is refused for that.
    let asked = proxy.post("/v1/completions", "{}").await;
    assert_eq!(asked.instance(), Some("b"));

    // Wrong as a file, and wrong as a configuration.
    let mistakes = [
        (Err("line 3 is wrong".to_owned()), "line 3 is wrong"),
        (Ok(unproved(&[&a, &a])), "two backends are named `a`"),
    ];
    for (text, why) in mistakes {
        *file.lock().unwrap() = text;
        let Reply::Refused { message } = proxy.tell(&Request::Reload).await else {
            panic!("it was taken");
        };
        assert!(message.contains(why), "{message}");
        let status = proxy.status().await;
        assert_eq!(status.config.unwrap().generation, 2);
        assert_eq!(status.backends["b"].state, BackendState::Ready);
    }
}

#[tokio::test]
async fn what_was_declared_once_is_not_read_again() {
    let fake = Fake::start("a").await;
    let declared = Declared::once(unproved(&[&fake]));
    let proxy = Running::declared(declared, Some("control.sock")).await;
    let Reply::Refused { message } = proxy.tell(&Request::Reload).await else {
        panic!("it was read");
    };
    assert!(message.contains("without `--config`"), "{message}");
}

#[tokio::test]
async fn what_is_declared_is_newer_than_what_was_kept() {
    let (a, b) = (Fake::start("a").await, Fake::start("b").await);
    let proxy = Running::before(&[&a]).await;
    let folder = proxy.stop().await;
    let options = Options {
        declared: Some(Declared::once(unproved(&[&b]))),
        ..options(&folder)
    };
    let proxy = Running::by(options, folder).await;
    let status = proxy.status().await;
    assert_eq!(status.config.unwrap().generation, 2);
    let asked = proxy.post("/v1/completions", "{}").await;
    assert_eq!(asked.instance(), Some("b"));
}
