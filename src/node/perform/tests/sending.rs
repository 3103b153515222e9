//! Whoever sends requests for a measurement, with programs that send none.

use super::super::send_load::ordered;
use super::*;
use crate::load::{Told, telling};

/// A program that behaves so, whatever it is told.
fn program(folder: &TempDir, script: &str) -> String {
    let path = folder.path().join("a program");
    fs::write(&path, format!("#!/bin/sh\nread -r order\n{script}\n")).unwrap();
    let mut mode = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
    fs::set_permissions(&path, mode).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn sent(node: &Node, program: &str) -> (Failure, Vec<Told>) {
    let (teller, mut hearer) = telling();
    let stop = std::future::pending();
    let failure = ordered(node, program, "an order\n", stop, teller).await;
    let mut heard = Vec::new();
    while let Some(it) = hearer.heard() {
        heard.push(it);
    }
    (failure.unwrap_err(), heard)
}

#[tokio::test]
async fn what_it_tells_on_the_way_is_passed_on_and_its_failure_says_from_where() {
    let folder = TempDir::new().unwrap();
    let script = r#"echo a message of the day
        echo '{"told":"warm"}'
        echo '{"failed":{"kind":"world","message":"nobody is there","log":[],"hint":"look"}}'"#;
    let program = program(&folder, script);
    for node in shells() {
        let (failure, heard) = sent(&node, &program).await;
        assert_eq!(heard, [Told::Warm]);
        assert_eq!(failure.message, "sent from `here`: nobody is there");
        assert_eq!(failure.hint.as_deref(), Some("look"));
    }
}

/// It asks for the word by telling that all is warm.
#[tokio::test]
async fn the_word_to_begin_is_passed_on_and_not_before_it_is_given() {
    let folder = TempDir::new().unwrap();
    let script = r#"echo '{"told":"warm"}'
        while read -r word; do [ "$word" != begin ] || break; done
        echo '{"told":"over"}'
        echo "{\"failed\":{\"kind\":\"world\",\"message\":\"$word\",\"log\":[],\"hint\":null}}""#;
    let program = program(&folder, script);
    for node in shells() {
        let (teller, mut hearer) = telling();
        let stop = std::future::pending();
        let mut sending = std::pin::pin!(ordered(&node, &program, "an order\n", stop, teller));
        let mut heard = Vec::new();
        let failure = loop {
            tokio::select! {
                sent = &mut sending => break sent.unwrap_err(),
                Some(told) = hearer.hear() => heard.push(told),
                () = tokio::time::sleep(Duration::from_millis(50)), if !heard.is_empty() => {
                    assert_eq!(heard, [Told::Warm]);
                    hearer.begin();
                }
            }
        };
        assert_eq!(failure.message, "sent from `here`: begin");
    }
}

#[tokio::test]
async fn one_that_ends_without_a_word_is_told_by_its_end() {
    let folder = TempDir::new().unwrap();
    let program = program(&folder, "echo no room >&2; exit 3");
    let (failure, _) = sent(&here(), &program).await;
    let said = "the load generator on `here` ended without a word (exit status 3)";
    assert_eq!(
        (failure.message.as_str(), failure.log),
        (said, vec!["no room".to_owned()])
    );
    let (failure, _) = sent(&here(), "/nowhere/replica").await;
    assert!(failure.message.contains("exit status 127"), "{failure:?}");
}

/// Its input closes when nobody waits for it any more.
#[tokio::test]
async fn one_that_nobody_waits_for_any_more_is_let_go() {
    let folder = TempDir::new().unwrap();
    let ended = folder.path().join("ended");
    let script = format!(
        "echo '{{\"told\":\"warm\"}}'; cat >/dev/null; echo >'{}'",
        ended.display()
    );
    let program = program(&folder, &script);
    let (teller, mut hearer) = telling();
    let waiting = tokio::spawn(async move {
        let stop = std::future::pending();
        ordered(&here(), &program, "an order\n", stop, teller).await
    });
    assert_eq!(hearer.hear().await, Some(Told::Warm));
    waiting.abort();
    while !ended.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
