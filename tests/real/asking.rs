//! What is asked of real vLLM, and of the simulator: prompts and answers of exactly the lengths that
//! were declared.

use std::collections::BTreeMap;
use std::path::Path;

use replica::load::measure;
use replica::plan::{Endpoint, Job, Target, WarmWhen};
use replica::prompts::{Api, Cache, IdWindow, Keep, Prompts, Reading, Sampling};
use replica::results::{Record, Surveyed};
use replica::shape::{Load, Requests, Several};
use serde_json::{Value, json};

use super::believed::is_of_time;
use super::installed::Installed;
use super::server::{Kind, Server};

/// The ordinary ids of the tiny model, whose other tokens are markers.
const ORDINARY: IdWindow = IdWindow {
    first: 7,
    count: 401,
};

/// A measurement of one server, of four requests at a time.
fn job(server: &Server, results: &Path, prompts: &Value, api: Api, max_tokens: u32) -> Job {
    let prompts: Prompts = serde_json::from_value(prompts.clone()).expect("prompts are declared");
    let source = prompts.meant().expect("they are a source");
    let reading = Reading {
        folder: results,
        api,
        max_tokens,
    };
    let asks = source.read(&reading).expect("they can be read");
    let authority = format!("127.0.0.1:{}", server.port);
    let load = Load {
        concurrency: Some(Several::One(4)),
        requests: Some(Requests::All(8)),
        ..Load::default()
    };
    Job {
        name: "exact".to_owned(),
        topology: "asking".to_owned(),
        fingerprint: String::new(),
        endpoint: Endpoint {
            authority: authority.clone(),
            is_proxy: false,
            policy: None,
        },
        instances: vec![Target {
            name: "a".to_owned(),
            authority,
            nonce: "other".to_owned(),
            max_num_seqs: Some(16),
            role: None,
        }],
        idle: Vec::new(),
        idle_placed: Vec::new(),
        placed: Vec::new(),
        manifest: None,
        from: None,
        model: "tiny".to_owned(),
        max_tokens: asks.longest_answer(),
        prompts: asks.out_of(ORDINARY),
        api,
        sampling: Sampling::default(),
        cache: Cache::Salt,
        keep: Some(Keep::Answers),
        load: load.try_into().expect("it is a load"),
        repeats: Some(1),
        warmup: 2,
        warm_when: WarmWhen::default(),
        slo: None,
        fail_if: Vec::new(),
        canary: 0,
        timeout_s: 120.0,
        api_keys: BTreeMap::new(),
        baseline: None,
        save: None,
        results: results.to_owned(),
        provenance: json!({}),
        tags: BTreeMap::new(),
        notes: Vec::new(),
    }
}

/// Measures, and returns each request.
fn asked(job: &Job) -> Vec<Record> {
    let runtime = tokio::runtime::Runtime::new().expect("there are threads");
    let keys = BTreeMap::new();
    let nobody = |_| std::future::ready(Surveyed::new());
    let measured = measure(job, &keys, std::future::pending(), |_| {}, nobody);
    let outcome = runtime.block_on(measured);
    let outcome = outcome.unwrap_or_else(|failure| panic!("{failure:?}"));
    for wrong in outcome.anomalies.iter().filter(|it| it.invalidates()) {
        is_of_time(&wrong.id, wrong);
    }
    let text = std::fs::read_to_string(outcome.requests).expect("it was written");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("they are records")
}

/// The lengths of prompts and answers as the server counted them.
fn lengths(records: &[Record]) -> Vec<(Option<u64>, Option<u64>)> {
    assert!(records.iter().all(Record::is_ok), "{records:#?}");
    records.iter().map(|it| (it.n_in, it.n_out)).collect()
}

#[test]
fn lengths_are_exactly_what_was_declared() {
    let Some(installed) = Installed::find("lengths_are_exactly_what_was_declared") else {
        return;
    };
    for kind in [Kind::Real, Kind::Simulated] {
        let server = Server::healthy(kind, &installed, &[], None);
        let results = tempfile::tempdir().expect("there is room");
        let folder = results.path();

        let fixed = json!({"synthetic": {"input": 256, "output": 32}});
        let records = asked(&job(&server, folder, &fixed, Api::Completions, 100));
        assert_eq!(lengths(&records), [(Some(256), Some(32)); 8], "{kind:?}");

        let drawn = json!({"synthetic": {
            "input": {"lognormal": {"median": 100, "sigma": 0.5, "min": 64, "max": 300}},
            "output": {"uniform": [3, 20]},
            "shared_prefix": {"tokens": 64, "groups": 2},
        }});
        let job_of_drawn = job(&server, folder, &drawn, Api::Completions, 100);
        let records = asked(&job_of_drawn);
        for record in &records {
            let kept = serde_json::to_value(&record.prompt).expect("it is JSON");
            assert_eq!(kept["tokens"].as_u64(), record.n_in, "{kind:?} {record:#?}");
            assert_eq!(record.n_out, record.asked.map(u64::from), "{kind:?}");
        }
        assert!(!job_of_drawn.prompts.are_answers_equal());

        let chat = json!({"inline": ["hello", "what is a prefill?"]});
        let mut chat = job(&server, folder, &chat, Api::Chat, 12);
        chat.sampling = Sampling {
            temperature: Some(0.8),
            seed: Some(1),
            logprobs: Some(2),
            ..Sampling::default()
        };
        let records = asked(&chat);
        let answers: Vec<_> = lengths(&records).into_iter().map(|(_, n)| n).collect();
        assert_eq!(answers, [Some(12); 8], "{kind:?}");
        let said = records.iter().filter_map(|it| it.answer.as_deref());
        assert_eq!(said.filter(|answer| !answer.is_empty()).count(), 8);
    }
}

/// How long a text is, the server's own tokenizer tells: what it counts is what it counts again.
#[test]
fn conversations_are_as_long_as_the_server_says() {
    let Some(installed) = Installed::find("conversations_are_as_long_as_the_server_says") else {
        return;
    };
    for kind in [Kind::Real, Kind::Simulated] {
        let server = Server::healthy(kind, &installed, &[], None);
        let results = tempfile::tempdir().expect("there is room");
        let said = |question: &str, answer: &str| {
            json!({"conversations": [{"from": "human", "value": question},
                                     {"from": "gpt", "value": answer}]})
        };
        let all = json!([
            said("hello world", "a prefill"),
            said(&"the quick brown fox ".repeat(40), "too long"),
            said("what is a decode?", "round robin proxies send each request"),
        ]);
        std::fs::write(results.path().join("s.json"), all.to_string()).expect("it is ours");
        let prompts =
            json!({"sharegpt": "s.json", "max_input": 60, "output_tokens": "from-dataset"});
        let records = asked(&job(
            &server,
            results.path(),
            &prompts,
            Api::Completions,
            100,
        ));
        assert!(records.iter().all(Record::is_ok), "{kind:?} {records:#?}");
        assert!(records.iter().all(|it| it.n_in <= Some(60)), "{kind:?}");
        let numbers: Vec<_> = records.iter().filter_map(|it| it.prompt_number).collect();
        assert_eq!(numbers, [0, 1, 0, 1, 0, 1, 0, 1], "{kind:?}");
        assert!(records[0].n_out < records[1].n_out, "{kind:?} {records:#?}");
    }
}
