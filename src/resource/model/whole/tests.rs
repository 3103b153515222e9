//! What vLLM makes a server of, and what it does not.

use super::*;
use crate::resource::model::cached::id;

/// What is said of a snapshot with these lines.
fn said(wanted: Weights, answer: &str) -> Vec<String> {
    of_all(&[Wanted::Weights(wanted)], answer)
}

fn of_all(wanted: &[Wanted], answer: &str) -> Vec<String> {
    let declared = ModelDeclaration {
        repo: "o/m".into(),
        ..ModelDeclaration::default()
    };
    let facts = [(id(&declared), answer.to_owned())].into_iter().collect();
    let wanted = wanted.iter().cloned().collect();
    let found = Cached::read(&declared, &facts).shortfalls(&declared, &wanted);
    found.into_iter().map(|shortfall| shortfall.text).collect()
}

const THERE: &str = "repo\nrevision abc\npath /c/snapshots/abc\n";
const WHOLE: &str =
    "repo\nrevision abc\npath /c/snapshots/abc\nfile 10 config.json\nfile 9 tokenizer.json\n";
const NO_WEIGHTS: &str = "it has no weights (.safetensors, .bin or .pt)";

fn beside_whole(more: &str) -> Vec<String> {
    said(Weights::served(), &format!("{WHOLE}{more}"))
}

/// What a completion is asked of at random is text to its model, and no marker.
#[test]
fn ordinary_ids_are_those_that_no_marker_is_among() {
    let declared = ModelDeclaration {
        repo: "o/m".into(),
        ..ModelDeclaration::default()
    };
    let ids = |answer: &str| {
        let facts = [(id(&declared), format!("{WHOLE}{answer}"))];
        let cached = Cached::read(&declared, &facts.into_iter().collect());
        let ids = cached.ordinary_ids();
        (ids.first, ids.first + ids.count)
    };
    let llama = "text config.json {\"vocab_size\": 128256}\n";
    assert_eq!(ids(&format!("{llama}added 128000 128255\n")), (0, 128_000));
    let nested = "text config.json {\"text_config\": {\"vocab_size\": 512}}\n";
    assert_eq!(
        ids(&format!("{nested}added 0 6\nadded 408 511\n")),
        (7, 408)
    );
    // Nothing is known of the markers, or of anything.
    assert_eq!(ids(llama), (1_000, 20_000));
    assert_eq!(ids("added 0 2\n"), (1_000, 20_000));
}

#[test]
fn every_shard_that_the_index_names_must_be_there() {
    assert_eq!(beside_whole("file 9 model.safetensors\n"), [""; 0]);
    assert_eq!(
        beside_whole("shard m-1.safetensors\nshard m-2.safetensors\nfile 9 m-1.safetensors\n"),
        ["m-2.safetensors is missing"]
    );
    assert_eq!(
        beside_whole("dangling m-1.safetensors\nshard m-1.safetensors\n"),
        ["m-1.safetensors points to a file that is not there"]
    );
    assert_eq!(beside_whole(""), [NO_WEIGHTS]);
    assert_eq!(
        beside_whole("shard a.safetensors\n"),
        ["a.safetensors is missing"]
    );
    let begun = "incomplete blobs/0f.incomplete\n";
    assert_eq!(
        beside_whole(begun),
        [NO_WEIGHTS, "it was once begun to be fetched, and not ended"]
    );
    assert_eq!(
        beside_whole(&format!("file 9 model.safetensors\n{begun}")),
        [""; 0]
    );
    let of_none = |answer| said(Weights::served(), answer);
    assert_eq!(of_none(""), ["o/m is not in the cache"]);
    assert_eq!(
        of_none("repo\nrevision \n"),
        ["the cache has no refs/main for it"]
    );
}

/// Each is what 0.13 makes a server of.
#[test]
fn whatever_vllm_loads_is_whole() {
    for files in [
        "file 9 pytorch_model.bin\nfile 4 training_args.bin\n",
        "file 9 pytorch_model-1-of-2.bin\nfile 9 pytorch_model-2-of-2.bin\n",
        "index pytorch_model.bin.index.json\nshard a.bin\nfile 9 a.bin\nfile 5 pytorch_model.bin.index.json\n",
        "file 9 model.pt\n",
        "file 9 m-00001-of-00002.safetensors\nfile 9 m-00002-of-00002.safetensors\n",
        "file 9 consolidated.safetensors\nfile 9 params.json\nfile 9 tekken.json\n",
        // What is not loaded may be cut short, empty or a pointer.
        "file 9 m.safetensors\nfile 9 m.bin\ncut m.bin\nfile 0 flax_model.msgpack\nfile 2 x.h5\npointer x.h5\n",
        "file 9 m.safetensors\nfile 9 generation_config.json\nbroken generation_config.json\n",
        // Nobody reads another vocabulary beside one that holds all.
        "file 9 m.safetensors\nfile 130 tokenizer.model\npointer tokenizer.model\nfile 0 vocab.json\n",
        "file 9 m.safetensors\nfile 9 special_tokens_map.json\nbroken special_tokens_map.json\nadded_tokens\n",
        "file 9 m.safetensors\nfile 9 tekken.json\nfile 130 tokenizer.model\npointer tokenizer.model\n",
    ] {
        assert_eq!(beside_whole(files), [""; 0], "{files}");
    }
    let of_mistral = "file 9 params.json\nfile 9 tekken.json\nfile 9 consolidated.safetensors\n";
    assert_eq!(
        said(Weights::served(), &format!("{THERE}{of_mistral}")),
        [""; 0]
    );
}

#[test]
fn whatever_vllm_fails_on_is_named() {
    for (files, text) in [
        (
            "file 9 m-1-of-2.safetensors\n",
            "m-2-of-2.safetensors is missing",
        ),
        ("file 9 m-1-of-2.bin\n", "m-2-of-2.bin is missing"),
        (
            "file 9 model.bin\ncut model.bin\n",
            "model.bin is cut short",
        ),
        (
            "file 9 model.bin\nodd model.bin\n",
            "model.bin holds no weights",
        ),
        ("file 0 model.bin\n", "model.bin is empty"),
        (
            "file 9 model.bin\npointer model.bin\nodd model.bin\n",
            "model.bin is a pointer of Git LFS, not the file itself",
        ),
        (
            "file 9 weights/model.safetensors\n",
            "it has no weights where vLLM looks for them: weights/model.safetensors is in a folder below",
        ),
        (
            "file 9 m.Q4.gguf\n",
            "it has no weights that are loaded (.safetensors, .bin or .pt): vLLM takes m.Q4.gguf by its path alone",
        ),
        (
            "file 9 training_args.bin\n",
            "it has no weights that are loaded (.safetensors, .bin or .pt), only training_args.bin",
        ),
        (
            "file 9 a.safetensors\nindex model.safetensors.index.json\nfile 2 model.safetensors.index.json\n",
            "model.safetensors.index.json names no weights",
        ),
        (
            "file 9 a.safetensors\nfile 0 tekken.json\n",
            "tekken.json is empty",
        ),
        (
            "file 9 a.safetensors\nfile 9 special_tokens_map.json\nbroken special_tokens_map.json\n",
            "special_tokens_map.json is not the JSON that it should be",
        ),
        (
            "file 9 a.safetensors\nfile 9 tokenizer_config.json\nbroken tokenizer_config.json\n",
            "tokenizer_config.json is not the JSON that it should be",
        ),
    ] {
        assert_eq!(beside_whole(files), [text], "{files}");
    }
}

#[test]
fn a_tokenizer_is_wanted_where_no_other_is_named() {
    let with = |files: &str| {
        let answer = format!("{THERE}file 10 config.json\nfile 9 m.bin\n{files}");
        let beside = said(Weights::default(), &answer);
        assert_eq!(beside, [""; 0], "{files}");
        said(Weights::served(), &answer).join(", ")
    };
    let none =
        "it has no tokenizer (tokenizer.json, tokenizer.model, tekken.json or another vocabulary)";
    assert_eq!(with(""), none);
    assert_eq!(with("file 9 tokenizer_config.json\n"), none);
    assert_eq!(with("file 9 sub/tokenizer.json\n"), none);
    for files in [
        "file 9 tokenizer.model\n",
        "file 9 vocab.json\nfile 9 merges.txt\n",
        "file 9 qwen.tiktoken\n",
        "file 9 tokenizer.model.v3\n",
        "text tokenizer_config.json {\"auto_map\": {\"AutoTokenizer\": [\"t.T\", null]}}\n",
    ] {
        assert_eq!(with(files), "", "{files}");
    }
    assert_eq!(with("file 0 tokenizer.json\n"), "tokenizer.json is empty");
    assert_eq!(
        with("file 130 tokenizer.json\npointer tokenizer.json\nbroken tokenizer.json\n"),
        "tokenizer.json is a pointer of Git LFS, not the file itself"
    );
}

#[test]
fn a_configuration_is_json_as_python_reads_it() {
    let with = |text: &str| beside_whole(&format!("file 9 m.bin\ntext config.json {text}\n"));
    for text in [
        "{}",
        r#"{"time_step_limit": [0.0, Infinity], "low": -Infinity, "no": NaN}"#,
        r#"{"a": "NaN \" Infinity"}"#,
    ] {
        assert_eq!(with(text), [""; 0], "{text}");
    }
    for text in ["{", "[]", "{'a': 1}", r#"{"a": "b"#, "Entry not found"] {
        assert_eq!(
            with(text),
            ["config.json is not the JSON that it should be"],
            "{text}"
        );
    }
}

#[test]
fn code_is_wanted_where_it_is_run() {
    let of = |config: &str, more: &str| {
        let files = format!("{WHOLE}file 9 m.bin\ntext config.json {config}\n{more}");
        assert_eq!(said(Weights::served(), &files), [""; 0]);
        let code = Weights {
            code: true,
            ..Weights::served()
        };
        said(code, &files).join(", ")
    };
    let config = r#"{"auto_map": {"AutoConfig": "configuration_x.XConfig", "AutoModel": "x.Y"}}"#;
    assert_eq!(of(config, ""), "configuration_x.py is missing");
    assert_eq!(of(config, "file 9 configuration_x.py\n"), "");
    assert_eq!(
        of(config, "file 0 configuration_x.py\n"),
        "configuration_x.py is empty"
    );
    assert_eq!(of(r#"{"auto_map": {"AutoConfig": "o/m--c.X"}}"#, ""), "");
    assert_eq!(of(r#"{"auto_map": 3}"#, ""), "");
}

#[test]
fn an_adapter_is_weights_beside_others() {
    let with = |files: &str| of_all(&[Wanted::Adapter], &format!("{THERE}{files}")).join(", ");
    let both = "file 9 adapter_config.json\nfile 9 adapter_model.bin\n";
    assert_eq!(with(both), "");
    assert_eq!(
        with("file 9 adapter_config.json\n"),
        "it has no adapter_model.safetensors"
    );
    assert_eq!(
        with("file 9 adapter_model.safetensors\n"),
        "adapter_config.json is missing"
    );
}

#[test]
fn a_file_must_be_as_long_as_it_says() {
    let with = |more: &str| beside_whole(&format!("file 172 m.safetensors\n{more}"));
    assert_eq!(with("header 100 64 m.safetensors\n"), [""; 0]);
    assert_eq!(
        with("header 100 128 m.safetensors\n"),
        ["m.safetensors has 172 of 236 bytes"]
    );
    assert_eq!(
        with("header 0 0 m.safetensors\n"),
        ["m.safetensors is no safetensors file"]
    );
}

#[test]
fn what_the_hub_noted_of_the_commit_must_be_there_where_it_is_read() {
    let tree = r#"tree {"format_version": 1, "files": {"config.json": {"size": 10}, "vocab.json": {"size": 5},
        "m.safetensors": {"size": 200}, "original/x.pth": {"size": 9}, "m.bin": {"size": 7},
        "README.md": {"size": 3}, ".gitattributes": {"size": 3}, "x.py": {"size": 3},
        "onnx/config.json": {"size": 3}, "m.bin.index.json": {"size": 3}, "a.png": {"size": 3}}}"#
        .replace('\n', " ");
    assert_eq!(
        beside_whole(&format!(
            "file 172 m.safetensors\nheader 100 64 m.safetensors\n{tree}\n"
        )),
        [
            "m.safetensors has 172 of 200 bytes",
            "vocab.json is missing"
        ]
    );
}
