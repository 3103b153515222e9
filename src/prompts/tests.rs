use std::fs;

use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::known::{inline, synthetic};
use super::*;

fn prompts(declared: Value) -> Prompts {
    serde_json::from_value(declared).expect("a test declares prompts")
}

/// What is wrong with declared prompts: where, and what.
fn wrong(declared: Value) -> Vec<String> {
    let wrong = prompts(declared).meant().unwrap_err().into_iter();
    let at = |part: &PromptsPart| match part {
        PromptsPart::Whole => String::new(),
        PromptsPart::Key(keys) | PromptsPart::Value(keys) => keys.join("."),
    };
    wrong
        .map(|it| format!("{}: {}", at(&it.part), it.message))
        .collect()
}

/// A folder with one file, and what is read of it.
struct Folder(TempDir);

impl Folder {
    fn with(name: &str, text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        Self(folder)
    }

    fn read_for(&self, api: Api, declared: Value) -> Result<Asks, Unreadable> {
        let source = prompts(declared).meant().unwrap();
        source.read(&Reading {
            folder: self.0.path(),
            api,
            max_tokens: 100,
        })
    }

    fn read(&self, declared: Value) -> Result<Asks, Unreadable> {
        self.read_for(Api::Completions, declared)
    }

    fn says(&self, declared: Value) -> String {
        self.read(declared).unwrap_err().message
    }
}

fn texts(asks: &Asks) -> Vec<String> {
    let all = 0..asks.count().unwrap() as u32;
    all.map(|index| match asks.of(index).prompt.clone() {
        Prompt::Text(text) => text,
        other => panic!("{other:?}"),
    })
    .collect()
}

fn ids(ask: &Ask) -> Vec<u32> {
    match &ask.prompt {
        Prompt::Ids(ids) => ids.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_is_asked_from_the_beginning_again() {
    let asks = inline(&["a", "b"], 100);
    let asked = |index| asks.of(index).prompt.clone();
    assert_eq!(asked(0), asked(2));
    assert_ne!(asked(0), asked(1));
    assert_eq!((asks.number(1), asks.number(3)), (1, 1));
    assert!(asks.are_answers_equal());
}

/// The digest that results of 0.1 hold for these texts: what is compared must not change.
#[test]
fn the_digest_of_texts_is_what_it_always_was() {
    let asks = inline(&["What is a REST API?", "How does DNS work?"], 100);
    let list = r#"["What is a REST API?","How does DNS work?"]"#;
    assert_eq!(asks.sha256(), crate::hex::hex(&Sha256::digest(list)));
    assert_eq!(inline(&["a"], 7).sha256(), inline(&["a"], 8).sha256());
}

#[test]
fn one_source_is_named_and_what_goes_with_it() {
    assert_eq!(wrong(json!({})), [": `prompts` does not say what is asked"]);
    assert_eq!(
        wrong(json!({"inline": ["a"], "file": "x"})),
        ["file: `inline` and `file` are two sources of prompts"]
    );
    assert_eq!(
        wrong(json!({"inline": ["a", " "], "seed": 1, "take": 3})),
        [
            "take: `inline` takes no `take`",
            "seed: `inline` takes no `seed`",
            "inline.1: prompt 2 is empty"
        ]
    );
    assert_eq!(
        wrong(json!({"jsonl": "x", "field": ""})),
        ["field: `field` is empty"]
    );
    assert_eq!(
        wrong(json!({"sharegpt": "x", "sha256": "abc", "take": 0, "max_input": 0})),
        [
            "take: `take` must be 1 or more",
            "max_input: `max_input` must be 1 or more",
            "sha256: `sha256` is no digest"
        ]
    );
}

#[test]
fn lengths_that_are_none_are_told_all_at_once() {
    let declared = json!({"synthetic": {
        "input": {"lognormal": {"median": 0, "sigma": -1, "min": 0, "max": 0}},
        "output": {"uniform": [9, 3]},
        "shared_prefix": {"tokens": 0, "groups": 0},
    }});
    assert_eq!(
        wrong(declared),
        [
            "synthetic.shared_prefix.tokens: `tokens` must be 1 or more",
            "synthetic.shared_prefix.groups: `groups` must be 1 or more",
            "synthetic.input.lognormal.median: `median` must be a number above 0",
            "synthetic.input.lognormal.sigma: `sigma` must be a number above 0",
            "synthetic.input.lognormal.min: `min` must be 1 or more",
            "synthetic.input.lognormal.max: `max` must be 1 or more",
            "synthetic.output.uniform: `uniform` is the shortest and the longest of what is drawn",
        ]
    );
    let drawn = |input: Value| wrong(json!({"synthetic": {"input": input}}));
    assert_eq!(
        drawn(json!({}))[0],
        "synthetic.input: it does not say how a length is drawn"
    );
    let two = json!({"uniform": [1, 2], "normal": {"mean": 1, "sigma": 1, "max": 2}});
    assert_eq!(
        drawn(two),
        ["synthetic.input: a length is drawn in one way"]
    );
    let prefix = json!({"synthetic": {"input": 100, "shared_prefix": {"tokens": 101}}});
    assert_eq!(
        wrong(prefix),
        ["synthetic.shared_prefix.tokens: a prompt of 100 tokens has no room for a prefix of 101"]
    );
}

#[test]
fn what_is_drawn_is_exactly_as_long_as_was_asked_and_repeats() {
    let asks = synthetic(&json!({"input": 256, "output": 32}));
    let window = IdWindow {
        first: 7,
        count: 400,
    };
    let asks = asks.out_of(window);
    for index in [0, 1, 99, u32::MAX] {
        let ask = asks.of(index).into_owned();
        let ids = ids(&ask);
        assert_eq!((ids.len(), ask.tokens()), (256, Some(32)));
        assert!(ids.iter().all(|id| (7..407).contains(id)));
        assert_eq!(asks.of(index).into_owned(), ask);
    }
    assert_ne!(asks.of(0), asks.of(1));
    assert_eq!((asks.longest_answer(), asks.longest()), (32, Some(288)));
    assert!(asks.are_answers_equal());
    assert_ne!(
        asks.sha256(),
        asks.clone()
            .out_of(IdWindow {
                count: 399,
                ..window
            })
            .sha256(),
        "other ids are other prompts"
    );
}

/// What a seed draws must not change: results of one digest are of the same prompts.
#[test]
fn what_a_seed_draws_is_for_ever() {
    let asks = synthetic(&json!({
        "input": {"lognormal": {"median": 8, "sigma": 0.4, "min": 4, "max": 16}},
        "output": {"normal": {"mean": 9, "sigma": 2, "max": 20}},
        "shared_prefix": {"tokens": 2, "groups": 3}
    }));
    let said = |index| {
        let ask = asks.of(index).into_owned();
        format!("{:?} {:?} {:?}", ids(&ask), ask.tokens(), ask.prefix)
    };
    insta::assert_snapshot!([0, 1, 2].map(said).join("\n"), @"
    [9252, 13460, 2966, 1980, 14160, 14284, 1623, 6428, 13433] Some(8) Some(0)
    [12710, 10947, 15501, 2869, 16550, 10983, 7143] Some(8) Some(1)
    [12710, 10947, 1675, 9507, 3470, 18951, 18261] Some(7) Some(1)
    ");
    insta::assert_snapshot!(asks.sha256(), @"4220f4757de7b14f74cb4e520e049674f89fffe0d181ea701141792170e139a5");
}

#[test]
fn prefixes_are_shared_by_their_group_alone() {
    let declared = json!({"input": 12, "output": 1, "shared_prefix": {"tokens": 10, "groups": 3}});
    let asks = synthetic(&declared);
    let mut prefixes = std::collections::BTreeMap::new();
    for index in 0..64 {
        let ask = asks.of(index).into_owned();
        let (prefix, rest) = (ids(&ask)[..10].to_vec(), ids(&ask)[10..].to_vec());
        let known = prefixes
            .entry(ask.prefix.unwrap())
            .or_insert((prefix.clone(), rest.clone()));
        assert_eq!(known.0, prefix);
        assert!(index == 0 || known.1 != rest || *known == (prefix, rest));
    }
    assert_eq!(prefixes.len(), 3);
    let groups: Vec<_> = (0..64)
        .map(|index| asks.of(index).prefix.unwrap())
        .collect();
    assert!(
        groups.windows(2).any(|pair| pair[0] == pair[1]),
        "they take no turns, as a proxy may"
    );
}

#[test]
fn a_file_is_a_prompt_a_line() {
    let folder = Folder::with("p.txt", "\u{feff}What is a REST API?\n\n  How?\r\n");
    let asks = folder.read(json!({"file": "p.txt"})).unwrap();
    assert_eq!(texts(&asks), ["What is a REST API?", "  How?"]);
    assert_eq!(
        folder.says(json!({"file": "q.txt"})),
        "there is no file `q.txt`"
    );
    assert_eq!(
        Folder::with("p.txt", "\n\n").says(json!({"file": "p.txt"})),
        "`p.txt` has no prompts"
    );
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("p.txt"), b"a\nb\xff\n").unwrap();
    assert_eq!(
        Folder(folder).says(json!({"file": "p.txt"})),
        "line 2 of `p.txt` is not UTF-8"
    );
}

#[test]
fn each_line_of_json_says_what_is_asked_and_how_long_its_answer_is() {
    let text = "{\"q\": \"a\", \"n\": 3}\n{\"q\": [5, 6, 7], \"n\": 40}\n";
    let folder = Folder::with("p.jsonl", text);
    let asks = folder
        .read(json!({"jsonl": "p.jsonl", "field": "q", "output_field": "n"}))
        .unwrap();
    assert_eq!(*asks.of(0), Ask::new(Prompt::Text("a".to_owned()), 3));
    assert_eq!(*asks.of(1), Ask::new(Prompt::Ids(vec![5, 6, 7]), 40));
    assert_eq!((asks.longest_answer(), asks.longest()), (40, Some(43)));
    assert!(!asks.are_answers_equal());
    let other = folder
        .read(json!({"jsonl": "p.jsonl", "field": "q"}))
        .unwrap();
    assert_ne!(asks.sha256(), other.sha256());
}

#[test]
fn messages_are_for_chats_and_token_ids_are_not() {
    let text = r#"{"prompt": [{"role": "system", "content": "be short"}, {"role": "user", "content": "hi"}]}"#;
    let folder = Folder::with("p.jsonl", text);
    let declared = json!({"jsonl": "p.jsonl"});
    let asks = folder.read_for(Api::Chat, declared.clone()).unwrap();
    assert!(matches!(&asks.of(0).prompt, Prompt::Messages(all) if all.len() == 2));
    assert!(folder.says(declared.clone()).contains("holds messages"));
    let folder = Folder::with("p.jsonl", r#"{"prompt": [1, 2]}"#);
    let failed = folder.read_for(Api::Chat, declared).unwrap_err();
    assert!(failed.message.contains("holds token ids"), "{failed}");
    let drawn = prompts(json!({"synthetic": {"input": 3}})).meant().unwrap();
    assert!(drawn.suits(Api::Completions) && !drawn.suits(Api::Chat));
}

#[test]
fn a_line_that_is_no_prompt_is_named() {
    let declared = json!({"jsonl": "p.jsonl", "output_field": "n"});
    for (line, said) in [
        ("{\"prompt\": ", "line 2 of `p.jsonl` is no JSON object"),
        ("[]", "line 2 of `p.jsonl` is no JSON object"),
        ("{\"n\": 1}", "line 2 of `p.jsonl` has no field `prompt`"),
        (
            "{\"prompt\": \"a\"}",
            "line 2 of `p.jsonl` has no field `n`",
        ),
        (
            "{\"prompt\": 7, \"n\": 1}",
            "line 2 of `p.jsonl` has a `prompt` that is no prompt",
        ),
        (
            "{\"prompt\": [-7], \"n\": 1}",
            "line 2 of `p.jsonl` has a `prompt` that is no prompt",
        ),
        (
            "{\"prompt\": \" \", \"n\": 1}",
            "line 2 of `p.jsonl` has a `prompt` that is empty",
        ),
        (
            "{\"prompt\": \"a\", \"n\": 0}",
            "line 2 of `p.jsonl` has a `n` that is no number of tokens",
        ),
        (
            "{\"prompt\": \"a\", \"n\": \"x\"}",
            "line 2 of `p.jsonl` has a `n` that is no number of tokens",
        ),
    ] {
        let folder = Folder::with(
            "p.jsonl",
            &format!("{{\"prompt\": \"a\", \"n\": 1}}\n{line}\n"),
        );
        let found = folder.says(declared.clone());
        assert!(found.starts_with(said), "{line}: {found}");
    }
}

fn sharegpt(many: usize) -> String {
    let said = |index: usize| {
        json!({"id": index, "conversations": [
            {"from": "human", "value": format!("question {index}")},
            {"from": "gpt", "value": format!("answer {index}")},
            {"from": "human", "value": "more"},
        ]})
    };
    let mut all: Vec<Value> = (0..many).map(said).collect();
    all.push(json!({"conversations": [{"from": "human", "value": "alone"}]}));
    json!(all).to_string()
}

#[test]
fn conversations_are_asked_by_their_first_question() {
    let folder = Folder::with("s.json", &sharegpt(50));
    let all = folder.read(json!({"sharegpt": "s.json"})).unwrap();
    assert_eq!(all.count(), Some(50));
    assert_eq!(texts(&all)[7], "question 7");
    let some = |seed: u64| {
        let asks = folder.read(json!({"sharegpt": "s.json", "take": 10, "seed": seed}));
        texts(&asks.unwrap())
    };
    assert_eq!(some(1), some(1));
    assert_ne!(some(1), some(2));
    assert_eq!(some(1).len(), 10);
    let too_many = json!({"sharegpt": "s.json", "take": 51});
    assert_eq!(
        folder.says(too_many),
        "`s.json` has 50 conversations, and 51 are to be taken"
    );
    let other = Folder::with("s.json", "{}").says(json!({"sharegpt": "s.json"}));
    assert!(
        other.starts_with("`s.json` is not in the form of ShareGPT"),
        "{other}"
    );
}

const MOONCAKE: &str = r#"{"timestamp": 0, "input_length": 1200, "output_length": 7, "hash_ids": [0, 1, 2]}
{"timestamp": 0, "input_length": 600, "output_length": 900, "hash_ids": [0, 3]}
{"timestamp": 3000, "input_length": 700, "output_length": 0, "hash_ids": [9]}
"#;

#[test]
fn the_prompts_of_a_trace_have_its_lengths_and_share_its_blocks() {
    let folder = Folder::with("t.jsonl", MOONCAKE);
    let declared = json!({"trace": "t.jsonl", "format": "mooncake"});
    let asks = folder.read(declared.clone()).unwrap();
    let [first, second, third] = [0, 1, 2].map(|index| asks.of(index).into_owned());
    let lengths = |ask: &Ask| (ids(ask).len(), ask.tokens());
    assert_eq!(lengths(&first), (1200, Some(7)));
    assert_eq!(lengths(&second), (600, Some(900)));
    // An answer has a token at least.
    assert_eq!(lengths(&third), (700, Some(1)));
    assert_eq!(ids(&first)[..512], ids(&second)[..512]);
    assert_ne!(ids(&first)[512..600], ids(&second)[512..600]);
    assert_ne!(ids(&first)[..512], ids(&third)[..512]);
    assert_eq!(
        [&first, &second, &third].map(|it| it.prefix),
        [Some(0), Some(0), Some(9)]
    );
    assert_eq!((asks.longest(), asks.longest_answer()), (Some(1500), 900));
    assert_eq!((asks.count(), asks.shared_prefix()), (None, Some(512)));
    assert!(!asks.are_answers_equal());
    // The same file is the same prompts; a seed of its own others.
    assert_eq!(asks, folder.read(declared).unwrap());
    let seeded = folder
        .read(json!({"trace": "t.jsonl", "format": "mooncake", "seed": 1}))
        .unwrap();
    assert_ne!(asks.sha256(), seeded.sha256());
    assert_ne!(ids(&first), ids(&seeded.of(0)));
}

#[test]
fn a_trace_that_is_over_begins_again_with_other_words() {
    let folder = Folder::with("t.jsonl", MOONCAKE);
    let asks = folder
        .read(json!({"trace": "t.jsonl", "format": "mooncake"}))
        .unwrap();
    let (first, again) = (ids(&asks.of(0)), ids(&asks.of(3)));
    assert_eq!(first.len(), again.len());
    assert_ne!(first[..512], again[..512]);
    // And shares with its own turn what it shared before.
    assert_eq!(again[..512], ids(&asks.of(4))[..512]);
    assert_eq!(asks.number(3), 3);
}

#[test]
fn what_is_too_long_in_a_trace_is_cut() {
    let folder = Folder::with("t.jsonl", MOONCAKE);
    let cut = folder
        .read(json!({"trace": "t.jsonl", "format": "mooncake", "max_input": 520, "max_output": 8}));
    let cut = cut.unwrap();
    let lengths =
        [0, 1, 2].map(|index| (ids(&cut.of(index)).len(), cut.of(index).tokens().unwrap()));
    assert_eq!(lengths, [(520, 7), (520, 8), (520, 1)]);
    assert_eq!(cut.longest(), Some(528));
}

#[test]
fn a_trace_without_blocks_shares_nothing() {
    let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                 2023-11-16 18:15:46.6,30,4\n2023-11-16 18:15:47.6,20,4\n";
    let folder = Folder::with("t.csv", azure);
    let asks = folder
        .read(json!({"trace": "t.csv", "format": "azure"}))
        .unwrap();
    let (one, other) = (ids(&asks.of(0)), ids(&asks.of(1)));
    assert_eq!((one.len(), other.len()), (30, 20));
    assert_ne!(one[..20], other[..]);
    assert_eq!((asks.of(0).prefix, asks.shared_prefix()), (None, None));
    assert!(asks.are_answers_equal());
}

#[test]
fn a_trace_that_cannot_be_asked_says_why() {
    assert_eq!(
        wrong(json!({"trace": "t.jsonl", "max_input": 0, "take": 3})),
        [
            "take: `trace` takes no `take`",
            "max_input: `max_input` must be 1 or more",
            "trace: `trace` needs `format`: how the file is to be read",
        ]
    );
    assert_eq!(
        wrong(json!({"inline": ["a"], "format": "azure", "max_output": 3})),
        [
            "format: `inline` takes no `format`",
            "max_output: `inline` takes no `max_output`"
        ]
    );
    let folder = Folder::with("t.jsonl", "{}\n");
    let declared = json!({"trace": "t.jsonl", "format": "mooncake"});
    assert!(
        folder
            .says(declared.clone())
            .starts_with("`t.jsonl` is no trace: line 1")
    );
    let folder = Folder::with("other", "");
    assert!(folder.says(declared).starts_with("cannot read `t.jsonl`"));
    let source = prompts(json!({"trace": "t", "format": "azure"}))
        .meant()
        .unwrap();
    assert!(source.suits(Api::Completions) && !source.suits(Api::Chat));
}

#[test]
fn a_file_with_a_digest_is_that_file() {
    let folder = Folder::with("s.json", &sharegpt(1));
    let digest = crate::hex::hex(&Sha256::digest(sharegpt(1)));
    assert!(
        folder
            .read(json!({"sharegpt": "s.json", "sha256": digest}))
            .is_ok()
    );
    let other = "0".repeat(64);
    let said = folder.says(json!({"sharegpt": "s.json", "sha256": other}));
    assert_eq!(said, format!("the sha256 of `s.json` is {digest}"));
}

#[test]
fn what_a_tokenizer_has_to_tell_stays_open_until_the_server_has_counted() {
    let folder = Folder::with("s.json", &sharegpt(50));
    let declared =
        json!({"sharegpt": "s.json", "take": 5, "max_input": 9, "output_tokens": "from-dataset"});
    let asks = folder.read(declared).unwrap();
    let (fit, candidates) = asks.unfitted().unwrap();
    assert_eq!(
        (fit.take, fit.max_input, candidates.len()),
        (Some(5), Some(9), 40)
    );
    assert!(matches!(candidates[0].answer, Answer::LikeText(_)));
    assert!(!asks.are_answers_equal());
    let fitted = asks.fitted(vec![Ask::new(Prompt::Text("a".to_owned()), 3)]);
    assert_eq!((fitted.unfitted(), fitted.longest_answer()), (None, 3));
    assert_eq!(fitted.sha256(), asks.sha256());
}

#[test]
fn asks_read_back_as_themselves() {
    let folder = Folder::with("t.jsonl", MOONCAKE);
    let trace = folder
        .read(json!({"trace": "t.jsonl", "format": "mooncake"}))
        .unwrap();
    let written = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Asks>(&written).unwrap(), trace);
    for asks in [
        inline(&["a", "b"], 9),
        synthetic(
            &json!({"input": {"uniform": [3, 9]}, "output": 2, "shared_prefix": {"tokens": 2}}),
        ),
    ] {
        let text = serde_json::to_string(&asks).unwrap();
        assert_eq!(serde_json::from_str::<Asks>(&text).unwrap(), asks);
    }
}

proptest! {
    #[test]
    fn lengths_stay_within_their_bounds(
        min in 1..50_u32,
        span in 0..200_u32,
        middle in 1.0..500.0_f64,
        sigma in 0.01..3.0_f64,
        index in any::<u32>(),
    ) {
        let max = min + span;
        for length in [
            json!({"uniform": [min, max]}),
            json!({"normal": {"mean": middle, "sigma": sigma * 40.0, "min": min, "max": max}}),
            json!({"lognormal": {"median": middle, "sigma": sigma, "min": min, "max": max}}),
        ] {
            let asks = synthetic(&json!({"input": length, "output": length}));
            let ask = asks.of(index).into_owned();
            let found = u32::try_from(ids(&ask).len()).unwrap();
            prop_assert!((min..=max).contains(&found), "{length}: {found}");
            prop_assert!((min..=max).contains(&ask.tokens().unwrap()));
        }
    }
}
