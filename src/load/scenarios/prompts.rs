//! What is asked: its lengths, its salts, its routes, and what is kept of it.

use super::*;

/// The bodies of the measured requests that an endpoint was sent, without those that warmed it.
fn bodies(of: &Fake) -> Vec<serde_json::Value> {
    let asked = of.asked().into_iter();
    let measured = asked.filter(|it| !it.headers["x-request-id"].contains("warm"));
    measured.map(|it| it.body).collect()
}

fn records(outcome: &Measurement) -> Vec<Record> {
    let text = fs::read_to_string(&outcome.requests).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Answers as many tokens as each request asks for.
async fn obliging() -> Lab {
    let mut lab = Lab::new(|asked, instance| {
        healthy(Some(instance), asked.body["max_tokens"].as_u64().unwrap())
    })
    .await;
    let as_asked = |asked: &Asked| healthy(None, asked.body["max_tokens"].as_u64().unwrap());
    lab.a = Fake::start("replica-a", as_asked).await;
    lab.b = Fake::start("replica-b", as_asked).await;
    lab
}

#[tokio::test]
async fn drawn_prompts_are_ids_and_each_answer_has_its_own_length() {
    let lab = obliging().await;
    let drawn = synthetic(&json!({"input": {"uniform": [3, 9]}, "output": {"uniform": [2, 6]}}));
    let job = Job {
        prompts: drawn.clone(),
        max_tokens: drawn.longest_answer(),
        ..lab.job("drawn", batch(12))
    };
    let outcome = run(&job).await;
    let sent = bodies(&lab.proxy);
    assert_eq!(sent.len(), 12);
    for body in &sent {
        let ids = body["prompt"].as_array().unwrap();
        assert!((3..=9).contains(&ids.len()), "{body}");
    }
    let records = records(&outcome);
    for record in &records {
        let ask = drawn.of(record.index);
        assert_eq!(record.status, Status::Ok);
        assert_eq!(record.asked, ask.tokens());
        assert_eq!(record.n_out, record.asked.map(u64::from));
        assert_eq!((&record.prompt, &record.answer), (&None, &None));
    }
    let facts = &outcome.result.job;
    assert!(!facts.equal_lengths);
    assert_eq!(facts.prompts.count, 12);
    assert_eq!(facts.prompts.kind.as_deref(), Some("synthetic"));
    let output = facts.prompts.output_tokens.unwrap();
    let asked = || records.iter().filter_map(|it| it.asked);
    assert_eq!(Some(output.min), asked().min().map(u64::from));
    assert_eq!(Some(facts.max_tokens), asked().max());
}

#[tokio::test]
async fn a_warm_up_asks_nothing_that_is_measured_where_prompts_are_drawn() {
    let lab = obliging().await;
    let job = Job {
        prompts: synthetic(&json!({"input": 20, "output": 2})),
        max_tokens: 2,
        // One that is slow by chance would be asked more than the other.
        warm_when: WarmWhen {
            max: 2,
            ..WarmWhen::default()
        },
        ..lab.job("drawn", batch(4))
    };
    run(&job).await;
    let prompts = |fake: &Fake| -> HashSet<String> {
        let asked = fake.asked().into_iter();
        asked.map(|it| it.body["prompt"].to_string()).collect()
    };
    let measured: HashSet<String> = bodies(&lab.proxy)
        .iter()
        .map(|body| body["prompt"].to_string())
        .collect();
    assert_eq!(measured.len(), 4);
    assert_eq!(prompts(&lab.a), prompts(&lab.b), "all are warmed alike");
    assert!(prompts(&lab.a).is_disjoint(&measured));
}

#[tokio::test]
async fn prompts_with_a_prefix_share_a_salt_by_their_group_and_no_more() {
    let lab = obliging().await;
    let prefix = json!({"tokens": 6, "groups": 2});
    let job = Job {
        prompts: synthetic(&json!({"input": 8, "output": 2, "shared_prefix": prefix})),
        max_tokens: 2,
        repeats: Some(2),
        ..lab.job("rag", batch(16))
    };
    run(&job).await;
    let mut salts: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for body in bodies(&lab.proxy) {
        let prefix = body["prompt"].as_array().unwrap()[..6].to_vec();
        let salt = body["cache_salt"].as_str().unwrap().to_owned();
        salts
            .entry(salt)
            .or_default()
            .insert(json!(prefix).to_string());
    }
    // Two groups in each of two rounds; none of them is that of a warm-up.
    assert_eq!(salts.len(), 4, "{salts:?}");
    assert!(salts.values().all(|prefixes| prefixes.len() == 1));
    let warmed = lab.a.asked();
    assert!(
        warmed
            .iter()
            .all(|it| !salts.contains_key(it.body["cache_salt"].as_str().unwrap()))
    );
}

#[tokio::test]
async fn a_cache_that_is_allowed_is_given_no_salt() {
    let lab = Lab::healthy().await;
    let job = Job {
        cache: Cache::Allow,
        ..lab.job("batch", batch(2))
    };
    run(&job).await;
    assert!(
        bodies(&lab.proxy)
            .iter()
            .all(|it| it.get("cache_salt").is_none())
    );
}

#[tokio::test]
async fn a_chat_goes_to_its_own_route_and_says_who_speaks() {
    let lab = Lab::healthy().await;
    let job = Job {
        api: Api::Chat,
        sampling: Sampling {
            temperature: Some(0.5),
            seed: Some(3),
            logprobs: Some(1),
            ..Sampling::default()
        },
        ..lab.job("chat", batch(2))
    };
    let outcome = run(&job).await;
    assert!(
        lab.proxy
            .asked()
            .iter()
            .all(|it| it.path == "/v1/chat/completions")
    );
    let body = &bodies(&lab.proxy)[0];
    assert_eq!(body["messages"][0]["role"], "user");
    assert_eq!(body["temperature"], 0.5);
    assert_eq!(
        (&body["logprobs"], &body["top_logprobs"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(body.get("prompt"), None);
    let facts = &outcome.result.job;
    assert_eq!((facts.api, facts.sampling.seed), (Api::Chat, Some(3)));
    let warmed = &outcome.result.warmup.instances[0].requests[0];
    assert_eq!(warmed.text_sha256, None, "what is drawn has no one answer");
}

#[tokio::test]
async fn answers_are_kept_where_that_is_asked_and_no_secret_in_them() {
    let lab = Lab::new(|_, instance| {
        let steps = [
            head(Some(instance)),
            token("say ", 1),
            token("sk-hush ", 2),
            token("and ", 3),
            token("go", 4),
            finish(4),
        ];
        steps.into_iter().map(Step::Write).collect()
    })
    .await;
    let job = Job {
        keep: Some(Keep::Answers),
        ..lab.job("batch", batch(2))
    };
    let keys = BTreeMap::from([(lab.proxy.authority.clone(), "sk-hush".to_owned())]);
    let outcome = measured_with(&job, &keys, |_| {}).await.unwrap();
    let records = records(&outcome);
    assert_eq!(records[1].prompt, Some(KeptPrompt::Text("Why?".to_owned())));
    assert_eq!(records[0].answer.as_deref(), Some("say [redacted] and go"));
    assert_eq!(records[0].prompt_number, Some(0));
    let kept = fs::read_to_string(&outcome.requests).unwrap();
    assert!(!kept.contains("hush"));
}

#[tokio::test]
async fn an_answer_that_may_end_by_itself_is_not_too_short() {
    let lab = Lab::new(|_, instance| healthy(Some(instance), TOKENS - 2)).await;
    let job = lab.job("batch", batch(2));
    let exact = run(&job).await;
    assert_eq!(only(&exact).counts.ok, 0);
    let free = Job {
        sampling: Sampling {
            ignore_eos: Some(false),
            ..Sampling::default()
        },
        ..job
    };
    let outcome = run(&free).await;
    assert_eq!(only(&outcome).counts.ok, 2);
    assert!(!outcome.result.job.equal_lengths);
}

/// What the server counts decides what is asked, before anything is measured.
#[tokio::test]
async fn the_servers_tokenizer_chooses_what_fits_and_how_long_answers_are() {
    let count = |asked: &Asked| {
        if asked.path != "/tokenize" {
            return healthy(None, asked.body["max_tokens"].as_u64().unwrap());
        }
        let words = asked.body["prompt"].as_str().unwrap().split(' ').count();
        let counted = json!({"count": words}).to_string();
        vec![Step::Write(answer(200, &[], &counted))]
    };
    let mut lab = obliging().await;
    lab.a = Fake::start("replica-a", count).await;
    let folder = TempDir::new().unwrap();
    let said = |question: &str, answer: &str| json!({"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]});
    let all = json!([
        said("far too long a question", "no"),
        said("one two", "a b c"),
        said("three", "a"),
    ]);
    fs::write(folder.path().join("s.json"), all.to_string()).unwrap();
    let prompts = crate::prompts::Prompts {
        sharegpt: Some("s.json".into()),
        max_input: Some(2),
        output_tokens: Some(crate::prompts::OutputTokens::FromDataset),
        ..Default::default()
    };
    let asks = prompts.meant().unwrap().read(&crate::prompts::Reading {
        folder: folder.path(),
        api: Api::Completions,
        max_tokens: 100,
    });
    let job = Job {
        prompts: asks.unwrap(),
        ..lab.job("chatty", batch(2))
    };
    let outcome = run(&job).await;
    let sent: Vec<_> = bodies(&lab.proxy)
        .iter()
        .map(|it| (it["prompt"].clone(), it["max_tokens"].clone()))
        .collect();
    let has = |prompt: &str, tokens: u32| sent.contains(&(json!(prompt), json!(tokens)));
    assert!(has("one two", 3) && has("three", 1), "{sent:?}");
    assert_eq!(outcome.result.job.max_tokens, 3);
}
