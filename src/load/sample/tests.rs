use super::*;

const MS: u64 = 1_000_000;

fn data(json: &str) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

fn token(text: &str, total: Option<u64>) -> Vec<u8> {
    let usage = total.map_or("null".to_owned(), |n| {
        format!(r#"{{"prompt_tokens":3,"completion_tokens":{n}}}"#)
    });
    data(&format!(
        r#"{{"choices":[{{"index":0,"text":"{text}","finish_reason":null}}],"usage":{usage}}}"#
    ))
}

fn finish(n: u64) -> Vec<u8> {
    [
        data(r#"{"choices":[{"index":0,"text":"","finish_reason":"length"}],"usage":null}"#),
        data(&format!(
            r#"{{"choices":[],"usage":{{"prompt_tokens":3,"completion_tokens":{n}}}}}"#
        )),
        data("[DONE]"),
    ]
    .concat()
}

/// A request sent at 0 ms whose body came in these pieces, each at its millisecond.
fn raw(pieces: Vec<(u64, Vec<u8>)>) -> Raw {
    let ended = pieces.last().map_or(0, |(at, _)| at * MS);
    Raw {
        index: 0,
        id: "r-0".to_owned(),
        asked: 0,
        is_exact: true,
        planned: 0,
        connect: Some((0, Some(0))),
        sent: Some(0),
        head: Some(MS),
        http_status: Some(200),
        content: (Some("text/event-stream; charset=utf-8".to_owned()), None),
        served_by: Some("a".to_owned()),
        prefilled_by: None,
        body: pieces
            .into_iter()
            .map(|(at, bytes)| (at * MS, bytes))
            .collect(),
        ending: Ending::Complete,
        ended,
    }
}

/// The record of a request of so many tokens.
fn read(raw: Raw, asked: u32) -> Record {
    super::read(Raw { asked, ..raw })
}

#[test]
fn exact_timings() {
    let mut pieces: Vec<_> = (0..64)
        .map(|i| (100 + 20 * i, token("x", Some(i + 1))))
        .collect();
    pieces.push((1400, finish(64)));
    let record = read(raw(pieces), 64);
    assert_eq!(record.status, Status::Ok);
    assert_eq!(record.ttft_ms(), Some(100.0));
    assert_eq!(record.tpot_ms(), Some(20.0));
    assert_eq!(record.itl_ms(), [20.0; 63]);
    assert_eq!(record.icl_ms().len(), 63);
    assert_eq!(record.e2el_ms(), Some(1360.0));
    assert_eq!(record.response_ms(), Some(1400.0));
    assert!(!record.tokens_estimated);
}

/// What vLLM 0.13.0 sent, without continuous usage: four tokens in three chunks, one of them empty.
#[test]
fn a_stream_as_vllm_sends_it() {
    let chunk = |text: &str, finish: &str| {
        let begin =
            r#"{"id":"cmpl-8c6e","object":"text_completion","created":1795392161,"model":"tiny""#;
        let choice = format!(
            r#"{{"index":0,"text":"{text}","logprobs":null,"finish_reason":{finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}}"#
        );
        data(&format!(r#"{begin},"choices":[{choice}],"usage":null}}"#))
    };
    let usage = data(
        r#"{"id":"cmpl-8c6e","choices":[],"usage":{"prompt_tokens":3,"total_tokens":7,"completion_tokens":4}}"#,
    );
    let last = [chunk("..G", r#""length""#), usage, data("[DONE]")].concat();
    let pieces = vec![
        (10, chunk(" brown", "null")),
        (20, chunk("", "null")),
        (40, last),
    ];
    let record = read(raw(pieces), 4);
    assert_eq!((record.status, record.error.as_deref()), (Status::Ok, None));
    assert_eq!((record.n_in, record.n_out), (Some(3), Some(4)));
    assert_eq!(record.tokens, [(10_000, 1), (40_000, 1)]);
    assert!(record.tokens_estimated);
    assert_eq!(record.tpot_ms(), Some(10.0)); // three gaps by `usage`, whatever the chunks
    assert_eq!(record.finish.as_deref(), Some("length"));
}

#[test]
fn a_role_chunk_is_not_a_token() {
    let role = data(r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#);
    let text = |t: &str| {
        data(&format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{t}"}}}}]}}"#
        ))
    };
    let record = read(
        raw(vec![
            (5, role),
            (100, text("a")),
            (120, text("b")),
            (121, finish(2)),
        ]),
        2,
    );
    assert_eq!(record.status, Status::Ok);
    assert_eq!(record.stamps.event, Some(5_000));
    assert_eq!(record.ttft_ms(), Some(100.0));
    assert_eq!(record.itl_ms(), [20.0]);
    assert!(record.tokens_estimated);
}

#[test]
fn an_empty_text_is_a_token_only_if_the_server_counted_one() {
    let with = vec![
        (50, token("", Some(1))),
        (70, token("ab", Some(2))),
        (80, finish(2)),
    ];
    let record = read(raw(with), 2);
    assert_eq!(record.ttft_ms(), Some(50.0));
    let without = vec![
        (50, token("", None)),
        (70, token("ab", None)),
        (80, finish(2)),
    ];
    let record = read(raw(without), 2);
    assert_eq!(record.ttft_ms(), Some(70.0));
    assert_eq!((record.n_out, record.tokens.len()), (Some(2), 1));
}

#[test]
fn several_tokens_a_chunk_share_their_gap() {
    let mut pieces: Vec<_> = (0..4)
        .map(|i| (100 + 60 * i, token("xyz", Some(3 * (i + 1)))))
        .collect();
    pieces.push((300, finish(12)));
    let record = read(raw(pieces), 12);
    assert_eq!(record.n_out, Some(12));
    assert_eq!(record.first_chunk_tokens(), 3);
    assert_eq!(record.icl_ms(), [60.0; 3]);
    assert_eq!(record.itl_ms(), [20.0; 9]);
    let sum: f64 = record.itl_ms().iter().sum();
    assert!((sum - (record.e2el_ms().unwrap() - record.ttft_ms().unwrap())).abs() < 1e-9);
}

#[test]
fn events_of_one_read_share_a_stamp_and_are_counted() {
    let both = [token("a", Some(1)), token("b", Some(2))].concat();
    let record = read(raw(vec![(10, both), (30, finish(2))]), 2);
    assert_eq!(record.tokens, [(10_000, 1), (10_000, 1)]);
    assert_eq!(record.coalesced_events, 3); // the second token, and two of the three last events
    assert_eq!(record.tpot_ms(), Some(0.0));
}

#[test]
fn without_usage_the_tokens_are_unknown() {
    let end = [
        data(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#),
        data("[DONE]"),
    ]
    .concat();
    let record = read(raw(vec![(10, token("a", None)), (20, end)]), 1);
    assert_eq!((record.status, record.n_out), (Status::Ok, None));
    assert_eq!(record.tpot_ms(), None);
}

#[test]
fn a_stream_with_an_error_failed_though_it_began_with_200() {
    for error in [
        data(r#"{"error":{"message":"EngineCore died","code":500}}"#),
        data(r#"{"object":"error","message":"EngineCore died"}"#),
        b"event: error\ndata: {\"message\":\"EngineCore died\"}\n\n".to_vec(),
        data("EngineCore died"),
    ] {
        let record = read(raw(vec![(10, token("a", Some(1))), (20, error)]), 4);
        assert_eq!(record.status, Status::SseError);
        assert!(record.error.unwrap().contains("EngineCore died"));
    }
}

#[test]
fn a_stream_that_is_cut_failed() {
    let no_finish = vec![(10, token("a", Some(1)))];
    let no_done = vec![(
        10,
        data(
            r#"{"choices":[{"text":"a","finish_reason":"length"}],"usage":{"completion_tokens":1}}"#,
        ),
    )];
    for pieces in [no_finish, no_done, Vec::new()] {
        assert_eq!(read(raw(pieces), 1).status, Status::Truncated);
    }
    let mut broken = raw(vec![(10, token("a", Some(1)))]);
    broken.ending = Ending::Broken("connection reset".to_owned());
    let record = read(broken, 1);
    assert_eq!(record.status, Status::Truncated);
    assert!(record.error.unwrap().ends_with("connection reset"));
    assert_eq!(record.stamps.eof, None);
}

#[test]
fn an_answer_of_another_length_failed() {
    let pieces = vec![(10, token("a", Some(1))), (20, finish(1))];
    let record = read(raw(pieces), 100);
    assert_eq!(record.status, Status::LengthMismatch);
    assert_eq!(record.error.as_deref(), Some("1 tokens instead of 100"));
}

#[test]
fn a_refusal_keeps_its_body_up_to_a_limit() {
    let mut refused = raw(vec![(1, "ö".repeat(2000).into_bytes())]);
    refused.http_status = Some(429);
    let record = read(refused, 1);
    assert_eq!(record.status, Status::HttpError);
    assert_eq!(record.error.unwrap().len(), 2048);
}

#[test]
fn silence_and_refusal_have_their_own_names() {
    let mut late = raw(vec![(10, token("a", Some(1)))]);
    late.ending = Ending::TimedOut;
    assert_eq!(read(late, 1).status, Status::Timeout);
    let mut refused = raw(Vec::new());
    refused.ending = Ending::NoConnection("refused".to_owned());
    assert_eq!(read(refused, 1).status, Status::Connect);
}

#[test]
fn a_record_reads_back_as_itself() {
    let pieces = vec![(10, token("a", Some(1))), (20, finish(1))];
    let record = read(raw(pieces), 1);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn a_compressed_answer_and_one_that_is_no_stream_are_called_what_they_are() {
    let mut packed = raw(vec![(10, vec![0x1f, 0x8b, 8, 0])]);
    packed.content.1 = Some("gzip".to_owned());
    let record = read(packed, 4);
    assert_eq!(record.status, Status::Compressed);
    assert!(record.error.unwrap().contains("content-encoding: gzip"));
    let plain = vec![(10, token("a", Some(1))), (20, finish(1))];
    let mut plain = raw(plain);
    plain.content.1 = Some("identity".to_owned());
    assert_eq!(read(plain, 1).status, Status::Ok);

    let whole = |body: &str| {
        let mut whole = raw(vec![(10, body.as_bytes().to_vec())]);
        whole.content.0 = Some("application/json".to_owned());
        read(whole, 4)
    };
    let record = whole(r#"{"choices":[{"text":"abcd","finish_reason":"length"}]}"#);
    assert_eq!(record.status, Status::NotStreamed);
    assert!(record.error.unwrap().contains("`stream: true` was asked"));
    let refused = whole(r#"{"error":{"message":"no such model"}}"#);
    assert_eq!(refused.status, Status::SseError);
}

/// Twelve tokens at 10 ms each, in reads of so many events.
fn in_bursts(of: u64) -> Record {
    let mut pieces: Vec<_> = (0..12 / of)
        .map(|burst| {
            let events = (1..=of).map(|k| token("x", Some(burst * of + k)));
            (
                100 + 10 * ((burst + 1) * of - 1),
                events.collect::<Vec<_>>().concat(),
            )
        })
        .collect();
    pieces.push((300, finish(12)));
    read(raw(pieces), 12)
}

#[test]
fn what_bursts_take_from_a_tpot_is_known() {
    for (of, reads) in [(1, 12), (2, 6), (3, 4), (6, 2), (12, 1)] {
        let record = in_bursts(of);
        assert_eq!(record.events_and_reads(), (12, reads));
        let tpot = record.tpot_ms().unwrap();
        assert!(
            (tpot - 10.0 * (1.0 - record.tpot_lost())).abs() < 1e-6,
            "{of}: {tpot}"
        );
        assert_eq!(record.is_in_one_read(), reads == 1);
    }
    let mut several: Vec<_> = (0..4)
        .map(|i| (100 + 60 * i, token("xyz", Some(3 * (i + 1)))))
        .collect();
    several.push((300, finish(12)));
    assert!(read(raw(several), 12).tpot_lost() < f64::EPSILON);
}
