//! What goes wrong in either part: exactly what the client gets, and who was asked for what.

use super::*;

/// An answer whose first event is an error.
async fn erring(name: &str, role: Role) -> Fake {
    let fake = Fake::answering(name, |mut call| async move {
        call.begin_stream().await;
        call.chunk("data: {\"error\":{\"message\":\"KV load failed\"}}\n\n")
            .await;
        call.end_stream().await;
        None
    });
    with_role(fake.await, role)
}

/// One that streams an event with its name.
async fn streaming(name: &'static str, role: Role) -> Fake {
    let fake = Fake::answering(name, move |mut call| async move {
        call.begin_stream().await;
        call.chunk(&format!("data: \"{name}\"\n\n")).await;
        call.end_stream().await;
        Some(call.stream)
    });
    with_role(fake.await, role)
}

/// Ends a server, and waits until nobody listens at its port.
async fn die(fake: Fake) {
    let address = fake.address();
    drop(fake);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// What became of asking: the status, who has read the prompt, and who has answered.
fn told(answer: &Answer) -> (u16, Option<&str>, Option<&str>) {
    let by = answer.header("x-replica-prefill");
    (answer.status(), by, answer.instance())
}

#[tokio::test]
async fn who_cannot_be_reached_to_read_a_prompt_is_passed_over() {
    let (p1, d) = (reader("p1").await, writer("d").await);
    // It keeps no connection that would outlive it.
    let p2 = Fake::answering("p2", |mut call| async move {
        call.reply("200 OK", &read(HELD)).await;
        None
    });
    let p2 = with_role(p2.await, Role::Prefill);
    let proxy = Running::before(&[&p1, &p2, &d]).await;
    die(p1).await;
    for _ in 0..2 {
        let answer = proxy.post("/v1/completions", ASKED).await;
        assert_eq!(told(&answer), (200, Some("p2"), Some("d")));
    }
    assert_eq!((p2.calls(), d.calls()), (2, 2));
    // And where there is no other, who writes answers does all of it.
    die(p2).await;
    let answer = proxy.post("/v1/completions", ASKED).await;
    assert_eq!(told(&answer), (200, Some("none"), Some("d")));
    proxy.until_requests(3, 0, 0).await;
    assert_eq!(proxy.handoffs("collapsed").await, 1);
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_is_refused_where_the_prompt_is_read_is_passed_on_as_it_is() {
    for status in ["400 Bad Request", "404 Not Found", "422 Unprocessable"] {
        let refusal = r#"{"error":{"message":"too long","code":400}}"#.to_owned();
        let p = saying("p", Role::Prefill, status, refusal.clone()).await;
        let (p2, d) = (reader("p2").await, writer("d").await);
        let proxy = Running::before(&[&p, &d]).await;
        let answer = proxy.post("/v1/completions", ASKED).await;
        assert_eq!((answer.instance(), &answer.body), (Some("p"), &refusal));
        assert_eq!(answer.status(), status[..3].parse::<u16>().unwrap());
        assert_eq!((p.calls(), p2.calls(), d.calls()), (1, 0, 0));
        proxy.until(|it| it.requests.refused == 1).await;
        proxy.at_rest().await;
    }
}

#[tokio::test]
async fn what_one_failed_to_read_is_read_by_another_once() {
    let failing = "500 Internal Server Error";
    for is_reset in [false, true] {
        let p1 = if is_reset {
            resetting("p1", Role::Prefill).await
        } else {
            saying("p1", Role::Prefill, failing, "{}".to_owned()).await
        };
        let (p2, d) = (reader("p2").await, writer("d").await);
        let proxy = Running::before(&[&p1, &p2, &d]).await;
        for _ in 0..2 {
            let answer = proxy.post("/v1/completions", ASKED).await;
            assert_eq!(told(&answer), (200, Some("p2"), Some("d")));
        }
        assert_eq!((p1.calls(), p2.calls(), d.calls()), (1, 2, 2));
        proxy.until_requests(2, 0, 0).await;
        proxy.at_rest().await;
    }
    // Where no other reads prompts, who writes answers does all of it.
    let p = saying("p", Role::Prefill, failing, "{}".to_owned()).await;
    let d = writer("d").await;
    let proxy = Running::before(&[&p, &d]).await;
    let answer = proxy.post("/v1/completions", ASKED).await;
    assert_eq!(told(&answer), (200, Some("none"), Some("d")));
    // And what fails at two is not sent to a third.
    let p1 = saying("p1", Role::Prefill, failing, r#"{"a":1}"#.to_owned()).await;
    let p2 = saying("p2", Role::Prefill, failing, r#"{"a":1}"#.to_owned()).await;
    let d = writer("d").await;
    let proxy = Running::before(&[&p1, &p2, &d]).await;
    let answer = proxy.post("/v1/completions", ASKED).await;
    assert_eq!((answer.status(), &*answer.body), (500, r#"{"a":1}"#));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!((p1.calls(), p2.calls(), d.calls()), (1, 1, 0));
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_a_server_died_of_as_it_read_it_goes_to_no_other() {
    let (p1, mut reads) = driven("p1", Role::Prefill).await;
    let d = writer("d").await;
    let proxy = Running::before(&[&p1, &d]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", ASKED)).await;
    let call = next(&mut reads).await;
    die(p1).await;
    call.reset();
    let answer = client.answer().await;
    assert_eq!(
        (answer.status(), &*answer.error()),
        (502, "upstream_broken")
    );
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let again = proxy.post("/v1/completions", ASKED).await;
    assert_eq!((again.status(), &*again.error()), (502, "upstream_died"));
    assert_eq!(d.calls(), 0);
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_was_computed_is_offered_to_another_where_one_cannot_be_reached() {
    let (p, d1) = (reader("p").await, writer("d1").await);
    let (d2, mut writes) = driven("d2", Role::Decode).await;
    let proxy = Running::before(&[&p, &d1, &d2]).await;
    die(d1).await;
    for turn in 1..3 {
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        let mut call = next(&mut writes).await;
        assert_eq!(text(&call), handed(ASKED, HELD));
        call.reply("200 OK", &written(299)).await;
        drop(call);
        let answer = client.answer().await;
        assert_eq!(told(&answer), (200, Some("p"), Some("d2")));
        assert_eq!((p.calls(), d2.calls()), (turn, turn));
    }
    // Where nobody is left to write it, who has read the prompt does, and fetches nothing.
    die(d2).await;
    let answer = proxy.post("/v1/completions", ASKED).await;
    assert_eq!(told(&answer), (200, Some("none"), Some("p")));
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_is_refused_where_the_answer_is_written_is_passed_on_as_it_is() {
    let refusal = r#"{"error":{"message":"no"}}"#.to_owned();
    let (p, d) = (
        reader("p").await,
        saying("d", Role::Decode, "400 Bad Request", refusal.clone()).await,
    );
    let d2 = writer("d2").await;
    let proxy = Running::before(&[&p, &d]).await;
    let answer = proxy.post("/v1/completions", ASKED).await;
    assert_eq!(told(&answer), (400, Some("p"), Some("d")));
    assert_eq!(answer.body, refusal);
    assert_eq!((p.calls(), d.calls(), d2.calls()), (1, 1, 0));
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_was_not_fetched_is_read_again_and_answered_by_another() {
    let stream = r#"{"prompt":"p","stream":true}"#;
    for case in ["500", "reset", "event", "busy"] {
        let (p1, p2) = (reader("p1").await, reader("p2").await);
        let d1 = match case {
            "500" => saying("d1", Role::Decode, "500 Internal", "{}".to_owned()).await,
            "busy" => saying("d1", Role::Decode, "503 Busy", "{}".to_owned()).await,
            "reset" => resetting("d1", Role::Decode).await,
            _ => erring("d1", Role::Decode).await,
        };
        let d2 = streaming("d2", Role::Decode).await;
        let mut config = config(1, &[&p1, &p2, &d1, &d2]);
        config.timeouts.gate = 30.0;
        let proxy = serving(config).await;
        let answer = proxy.post("/v1/completions", stream).await;
        assert_eq!(answer.instance(), Some("d2"), "{case}");
        assert_eq!(unchunked(&answer), "data: \"d2\"\n\n", "{case}");
        // Each was asked for its part once.
        let calls = [&p1, &p2, &d1, &d2].map(Fake::calls);
        assert_eq!(calls, [1, 1, 1, 1], "{case}");
        assert_eq!(proxy.handoffs("read_again").await, 1, "{case}");
        assert_eq!(proxy.handoffs("handed_over").await, 2, "{case}");
        proxy.until_requests(1, 0, 0).await;
        proxy.at_rest().await;
    }
}

#[tokio::test]
async fn of_two_servers_each_does_its_part_twice_at_most() {
    let (p, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    let mut client = proxy.client().await;
    client.send(&named("/v1/completions", ASKED)).await;
    for turn in ["1", "2"] {
        let mut call = next(&mut reads).await;
        assert_eq!(call.header("x-request-id"), Some(&*format!("r-1-p{turn}")));
        call.reply("200 OK", &read(&HELD.replace("-p1", &format!("-p{turn}"))))
            .await;
        drop(call);
        let mut call = next(&mut writes).await;
        let name = if turn == "1" { "r-1" } else { "r-1-d2" };
        assert_eq!(call.header("x-request-id"), Some(name));
        assert!(text(&call).contains(&format!("cmpl-r-1-p{turn}-0")));
        call.reply("500 Internal Server Error", r#"{"turn":1}"#)
            .await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status(), &*answer.body), (500, r#"{"turn":1}"#));
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    proxy.until_requests(0, 1, 0).await;
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_a_server_died_of_as_it_answered_goes_to_no_other() {
    let p = reader("p").await;
    let (d1, mut writes) = driven("d1", Role::Decode).await;
    let proxy = Running::before(&[&p, &d1]).await;
    let mut client = proxy.client().await;
    client.send(&post("/v1/completions", ASKED)).await;
    let call = next(&mut writes).await;
    let d2 = writer("d2").await;
    proxy.done(&Request::Admit(d2.backend.clone())).await;
    die(d1).await;
    call.reset();
    let answer = client.answer().await;
    assert_eq!(
        (answer.status(), &*answer.error()),
        (502, "upstream_broken")
    );
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let again = proxy.post("/v1/completions", ASKED).await;
    assert_eq!((again.status(), &*again.error()), (502, "upstream_died"));
    assert_eq!((p.calls(), d2.calls()), (1, 0));
    let other = proxy.post("/v1/completions", r#"{"prompt":"q"}"#).await;
    assert_eq!(told(&other), (200, Some("p"), Some("d2")));
    proxy.at_rest().await;
}

#[tokio::test]
async fn what_breaks_in_its_midst_is_cut_and_never_ends() {
    let p = reader("p").await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let proxy = Running::before(&[&p, &d]).await;
    let mut client = proxy.client().await;
    let body = r#"{"prompt":"p","stream":true,"stream_options":{"include_usage":true}}"#;
    client.send(&post("/v1/completions", body)).await;
    let mut call = next(&mut writes).await;
    call.begin_stream().await;
    call.chunk("data: 1\n\ndata: {\"choi").await;
    client.until("data: 1\n\n\r\n").await;
    call.reset();
    let rest = client.rest().await;
    assert!(
        rest.contains("data: {\"choi") && !rest.contains("0\r\n\r\n"),
        "{rest}"
    );
    proxy.until_requests(0, 1, 0).await;
    proxy.at_rest().await;
}

/// A prompt that was read by a server which is no longer the same is read by the one that is.
#[tokio::test]
async fn what_a_restarted_server_held_is_read_again() {
    let (old, mut reads) = driven("p", Role::Prefill).await;
    let (d, mut writes) = driven("d", Role::Decode).await;
    let mut config = config(1, &[&old, &d]);
    config.limits.in_flight = std::num::NonZeroU32::new(1);
    let proxy = serving(config).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        next(&mut reads).await.reply("200 OK", &read(HELD)).await;
        clients.push(client);
    }
    let mut call = next(&mut writes).await;
    proxy.until(|status| status.waiting == 1).await;
    let new = HELD.replace("5600", "5601");
    let answer = read(&new);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let restarted = Fake::on(listener, "p", "replica-new", move |mut call| {
        let answer = answer.clone();
        async move {
            call.reply("200 OK", &answer).await;
            Some(call.stream)
        }
    });
    let restarted = with_role(restarted, Role::Prefill);
    proxy.done(&Request::Admit(restarted.backend.clone())).await;
    call.reply("200 OK", &written(299)).await;
    drop(call);
    let mut call = next(&mut writes).await;
    assert_eq!(text(&call), handed(ASKED, &new));
    call.reply("200 OK", &written(299)).await;
    for client in &mut clients {
        assert_eq!(client.answer().await.status(), 200);
    }
    assert_eq!(restarted.calls(), 1);
    proxy.at_rest().await;
}

/// What one has read and cannot be fetched is read again by it where it lives on. Where it does not, or nobody
/// can tell, it may pass for ready still, and is not asked: who writes the answer reads the prompt, too.
#[tokio::test]
async fn who_is_not_seen_to_live_on_does_not_read_a_prompt_again() {
    for does_nobody_know in [false, true] {
        let p = reader("p").await;
        let (d, mut writes) = driven("d", Role::Decode).await;
        let proxy = Running::before(&[&p, &d]).await;
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        let mut call = next(&mut writes).await;
        if does_nobody_know {
            p.fall_silent();
        } else {
            p.die();
        }
        let failed = r#"{"error":{"message":"Internal server error"}}"#;
        call.reply("500 Internal Server Error", failed).await;
        drop(call);
        let mut call = next(&mut writes).await;
        assert_eq!(text(&call), ASKED);
        call.reply("200 OK", &written(299)).await;
        let answer = client.answer().await;
        assert_eq!(told(&answer), (200, Some("none"), Some("d")));
        assert_eq!((p.calls(), d.calls()), (1, 2));
        let knows = proxy.status().await.backends["p"].state;
        assert_eq!(knows == BackendState::Ready, does_nobody_know);
        proxy.at_rest().await;
    }
}

/// A server whose engine is dead answers as long as it is there. What its engine died of is sent to nobody else,
/// whether the other part of the pair lives or not.
#[tokio::test]
async fn what_an_engine_died_of_as_it_answered_goes_to_no_other() {
    for dies_the_reader_too in [false, true] {
        let p = reader("p").await;
        let (d1, mut writes) = driven("d1", Role::Decode).await;
        let proxy = Running::before(&[&p, &d1]).await;
        let mut client = proxy.client().await;
        client.send(&post("/v1/completions", ASKED)).await;
        let mut call = next(&mut writes).await;
        let d2 = writer("d2").await;
        proxy.done(&Request::Admit(d2.backend.clone())).await;
        if dies_the_reader_too {
            p.die();
        }
        d1.die();
        let dead = r#"{"error":{"message":"EngineCore encountered an issue."}}"#;
        call.reply("500 Internal Server Error", dead).await;
        drop(call);
        let answer = client.answer().await;
        assert_eq!(told(&answer), (500, Some("p"), Some("d1")));
        assert_eq!(answer.body, dead);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        let again = proxy.post("/v1/completions", ASKED).await;
        assert_eq!((again.status(), &*again.error()), (502, "upstream_died"));
        assert_eq!((p.calls(), d1.calls(), d2.calls()), (1, 1, 0));
        proxy.at_rest().await;
    }
}
