//! Who gets which part, and who all of it.

use std::num::NonZeroU32;

use super::*;
use crate::proxy::policy::PrefixSettings;

#[tokio::test]
async fn what_cannot_be_shared_goes_whole_to_who_writes_answers() {
    let p = reader("p").await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    let large = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(900_000));
    let cases = [
        ("/v1/completions", r#"{"prompt":"p","n":2}"#, 1),
        ("/v1/completions", r#"{"prompt":["a","b"]}"#, 2),
        ("/v1/completions", r#"{"prompt":"p","echo":true}"#, 3),
        ("/v1/chat/completions", r#"{"prompt_logprobs":1}"#, 4),
        ("/v1/completions", "no JSON", 5),
        ("/v1/embeddings", r#"{"input":"p"}"#, 5),
        ("/tokenize", &large, 5),
    ];
    for (path, body, bypassed) in cases {
        let mut client = proxy.client().await;
        client.send(&post(path, body)).await;
        let mut call = next(&mut writes).await;
        assert_eq!(text(&call), body);
        call.reply("200 OK", &written(299)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("d")));
        assert_eq!(answer.header("x-replica-prefill"), None, "{body:.80}");
        assert_eq!(answer.body, written(299));
        assert_eq!(proxy.handoffs("bypassed").await, bypassed, "{path}");
    }
    assert_eq!(p.calls(), 0);
}

#[tokio::test]
async fn where_one_part_has_nobody_the_other_does_all_of_it() {
    for is_reader_left in [true, false] {
        let (p, mut reads) = driven("p", Role::Prefill).await;
        let (d, mut writes) = driven("d", Role::Decode).await;
        let proxy = Running::before(&[&p, &d]).await;
        let (gone, left, name) = if is_reader_left {
            ("d", &mut reads, "p")
        } else {
            ("p", &mut writes, "d")
        };
        proxy
            .done(&Request::Drain {
                backend: gone.to_owned(),
                wait: true,
            })
            .await;
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        let mut call = next(left).await;
        assert_eq!(text(&call), ASKED);
        call.reply("200 OK", &written(0)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.instance()), (200, Some(name)));
        assert_eq!(answer.header("x-replica-prefill"), Some("none"));
        assert_eq!(answer.body, written(0));
        assert_eq!(proxy.handoffs("collapsed").await, 1);
        proxy.at_rest().await;
    }
}

#[tokio::test]
async fn who_may_do_both_does_either_and_fetches_nothing_of_its_own() {
    let both = |name: &'static str| async move {
        Fake::answering(name, |mut call| async move {
            let is_read = text(&call).contains("do_remote_decode\":true");
            let answer = if is_read { read(HELD) } else { written(299) };
            call.reply("200 OK", &answer).await;
            Some(call.stream)
        })
        .await
    };
    let (a, b) = (both("a").await, both("b").await);
    let p = reader("p").await;
    let proxy = Running::before(&[&a, &b, &p]).await;
    for _ in 0..12 {
        let answer = proxy.post("/v1/completions", ASKED).await;
        let by = answer.header("x-replica-prefill").unwrap();
        assert!(answer.instance() != Some(by) && answer.instance() != Some("p"));
        assert_eq!(answer.body, written(16));
    }
    assert_eq!(proxy.handoffs("handed_over").await, 12);
    assert!(a.calls() > 0 && b.calls() > 0 && p.calls() > 0);
    proxy.at_rest().await;
}

#[tokio::test]
async fn the_same_prompt_is_read_where_it_was_and_answers_are_shared_out() {
    let (p1, p2) = (reader("p1").await, reader("p2").await);
    let (d1, d2) = (writer("d1").await, writer("d2").await);
    let mut config = config(1, &[&p1, &p2, &d1, &d2]);
    config.policy = PolicySpec::Prefix(PrefixSettings::default());
    let proxy = serving(config).await;
    let body = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(5000));
    for _ in 0..8 {
        assert_eq!(proxy.post("/v1/completions", &body).await.status(), 200);
    }
    let mut reads = [p1.calls(), p2.calls()];
    reads.sort_unstable();
    assert_eq!(reads, [0, 8]);
    assert_eq!([d1.calls(), d2.calls()], [4, 4]);
}

#[tokio::test]
async fn who_waits_for_an_answer_is_in_nobodys_way_who_has_a_prompt_to_be_read() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&p, &d]);
    config.limits = InstanceLimits {
        in_flight: NonZeroU32::new(2),
        queue: Some(2),
        ..InstanceLimits::default()
    };
    let proxy = serving(config).await;
    let mut clients = Vec::new();
    let mut held = std::collections::VecDeque::new();
    for waiting in [0, 0, 1, 2] {
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        clients.push(client);
        let mut call = next(&mut reads).await;
        call.reply("200 OK", &read(HELD)).await;
        drop(call);
        if waiting == 0 {
            held.push_back(next(&mut writes).await);
        }
        proxy.until(|status| status.waiting == waiting).await;
    }
    // As many were read ahead as can be written at once: the next is read when one of them is written.
    let mut late = proxy.client().await;
    late.send(&post("/v1/completions", ASKED)).await;
    clients.push(late);
    proxy.until(|status| status.waiting == 3).await;
    assert!(reads.try_recv().is_err());
    for (nth, client) in clients.iter_mut().enumerate() {
        let mut call = match held.pop_front() {
            Some(call) => call,
            None => next(&mut writes).await,
        };
        assert_eq!(text(&call), handed(ASKED, HELD));
        call.reply("200 OK", &written(299)).await;
        drop(call);
        assert_eq!(client.answer().await.body, written(16));
        if nth == 0 {
            let mut call = next(&mut reads).await;
            call.reply("200 OK", &read(HELD)).await;
        }
    }
    proxy.until_requests(5, 0, 0).await;
    proxy.at_rest().await;
}

#[tokio::test]
async fn a_prompt_that_nobody_has_room_to_answer_is_not_read_until_its_reader_leaves_the_line() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&p, &d]);
    config.limits.in_flight = NonZeroU32::new(1);
    let proxy = serving(config).await;
    let mut answered = proxy.client().await;
    answered.send(&post("/v1/completions", ASKED)).await;
    next(&mut reads).await.reply("200 OK", &read(HELD)).await;
    let _call = next(&mut writes).await;
    let mut leaving = proxy.client().await;
    leaving.send(&post("/v1/completions", ASKED)).await;
    next(&mut reads).await.reply("200 OK", &read(HELD)).await;
    proxy.until(|status| status.waiting == 1).await;
    let mut next_one = proxy.client().await;
    next_one.send(&post("/v1/completions", ASKED)).await;
    proxy.until(|status| status.waiting == 2).await;
    // Whoever leaves makes room for it.
    drop(leaving);
    let mut call = next(&mut reads).await;
    call.reply("200 OK", &read(HELD)).await;
    proxy.until(|status| status.waiting == 1).await;
}

#[tokio::test]
async fn a_short_prompt_is_read_by_who_answers() {
    let p = reader("p").await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&p, &d]);
    config.limits.min_prefill_tokens = Some(4);
    let proxy = serving(config).await;
    let long = r#"{"prompt":[1,2,3,4],"max_tokens":20}"#;
    let short = r#"{"prompt":[1,2,3],"max_tokens":20}"#;
    for (body, sent, by) in [
        (short, short.to_owned(), "short"),
        (long, handed(long, HELD), "p"),
    ] {
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", body)).await;
        let mut call = next(&mut writes).await;
        assert_eq!(text(&call), sent);
        call.reply("200 OK", &written(299)).await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("d")));
        assert_eq!(answer.header("x-replica-prefill"), Some(by));
    }
    for (outcome, times) in [("short", 1), ("handed_over", 1), ("bypassed", 0)] {
        assert_eq!(proxy.handoffs(outcome).await, times, "{outcome}");
    }
    assert_eq!(p.calls(), 1);
    proxy.at_rest().await;
}

#[tokio::test]
async fn the_next_turn_of_a_conversation_is_read_by_who_has_fetched_the_rest() {
    let p = reader("p").await;
    let d = writer("d").await;
    let mut config = config(1, &[&p, &d]);
    config.limits.min_prefill_tokens = Some(400);
    config.policy = PolicySpec::Prefix(PrefixSettings::default());
    let proxy = serving(config).await;
    // 2,000 bytes a turn are 500 tokens.
    let turn = |texts: &[&str]| {
        let messages = texts
            .iter()
            .map(|text| format!(r#"{{"role":"user","content":"{}"}}"#, text.repeat(250)));
        let messages: Vec<_> = messages.collect();
        format!(r#"{{"messages":[{}]}}"#, messages.join(","))
    };
    let mut client = proxy.client().await;
    for (texts, by) in [
        (&["first..."][..], "p"),
        (&["first...", "a"], "cached"),
        (&["first...", "another."], "p"),
        (&["first...", "another.", "b"], "cached"),
        // As long, and read by nobody.
        (&["second..", "another.", "b"], "p"),
    ] {
        client
            .send(&post("/v1/chat/completions", &turn(texts)))
            .await;
        let answer = client.answer().await;
        assert_eq!((answer.status(), answer.instance()), (200, Some("d")));
        assert_eq!(answer.header("x-replica-prefill"), Some(by), "{texts:?}");
    }
    for (outcome, times) in [("cached", 2), ("handed_over", 3), ("short", 0)] {
        assert_eq!(proxy.handoffs(outcome).await, times, "{outcome}");
    }
    assert_eq!(p.calls(), 3);
    proxy.at_rest().await;
}

#[tokio::test]
async fn who_has_read_a_prompt_drains_once_it_was_fetched() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    let mut client = proxy.client().await;
    let body = r#"{"prompt":"p","stream":true}"#;
    client.send(&post("/v1/completions", body)).await;
    next(&mut reads).await.reply("200 OK", &read(HELD)).await;
    let mut call = next(&mut writes).await;
    let drain = Request::Drain {
        backend: "p".to_owned(),
        wait: true,
    };
    let (heard, mut waits) = mpsc::unbounded_channel();
    let socket = proxy.socket();
    let drained = tokio::spawn(async move {
        let hears = |reply: &Reply| {
            if let Reply::Waiting { what, in_flight } = reply {
                heard.send((what.clone(), *in_flight)).ok();
            }
        };
        soon(call_proxy(&socket, &drain, hears)).await
    });
    let (what, in_flight) = soon(waits.recv()).await.unwrap();
    assert_eq!((&*what, in_flight), ("1 request in flight at p", 1));
    call.begin_stream().await;
    call.chunk(": ping\n\n").await;
    soon(waits.recv()).await.unwrap();
    assert!(!drained.is_finished());
    call.chunk("data: 1\n\n").await;
    let reply = drained.await.unwrap();
    assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    call.end_stream().await;
    client.until("0\r\n\r\n").await;
}

async fn call_proxy(
    socket: &std::path::Path,
    request: &Request,
    hears: impl FnMut(&Reply),
) -> Reply {
    crate::proxy::control::call(socket, request, hears)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_held_no_longer_is_not_waited_for() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&p, &d]);
    config.timeouts.lease = Some(0.2);
    let proxy = serving(config).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", ASKED)).await;
    next(&mut reads).await.reply("200 OK", &read(HELD)).await;
    let _call = next(&mut writes).await;
    let status = proxy
        .done(&Request::Drain {
            backend: "p".to_owned(),
            wait: true,
        })
        .await;
    assert_eq!(status.backends["p"].in_flight, 0);
    assert_eq!(status.backends["d"].in_flight, 1);
}
