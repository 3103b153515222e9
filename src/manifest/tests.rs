//! The manifests that come with `replica` are good, and the schema is the one that is kept.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::file::understand;
use super::variables::Variables;
use super::{find, load, proxy_schema_text, reference_text, schema, schema_text};

pub(super) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(here(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no manifests in {folder}");
    files
}

#[test]
fn every_manifest_of_ours_is_good() {
    for path in yaml_files("manifests") {
        if let Err(error) = load(&path, Variables::default()) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_manifest_of_ours_names_its_schema() {
    for path in yaml_files("manifests") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# yaml-language-server: $schema=../schemas/topology.json\n"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_schema_that_is_kept_is_the_one_of_the_types() {
    for (name, now) in [
        ("schemas/topology.json", schema_text()),
        ("schemas/proxy.json", proxy_schema_text()),
        ("schemas/KEYS.md", reference_text()),
    ] {
        let path = here(name);
        if std::env::var_os("REPLICA_UPDATE").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == now,
            "{name} is out of date: run `cargo bless` if it should be as it is now"
        );
    }
}

/// Compares what is said of a manifest with what stands beside it, or writes it there.
fn compare(path: &Path, said: &str) -> Result<(), String> {
    let kept = path.with_extension("txt");
    if std::env::var_os("REPLICA_UPDATE").is_some() {
        std::fs::write(&kept, said).unwrap();
    }
    let expected = std::fs::read_to_string(&kept).unwrap_or_default();
    if expected == said {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(expected.as_str(), said);
    Err(format!("{}:\n{}", path.display(), diff.unified_diff()))
}

#[test]
fn every_mistake_is_told_as_it_is_kept() {
    let mut wrong = Vec::new();
    for path in yaml_files("tests/manifests/invalid") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let Err(error) = understand(name, &bytes, None, &Variables::default()) else {
            wrong.push(format!("{name} was taken for good"));
            continue;
        };
        assert_eq!(error.to_string(), error.render(false));
        wrong.extend(compare(&path, &format!("{error}\n")).err());
    }
    assert!(
        wrong.is_empty(),
        "{}\nrun `cargo bless` if this is as it should be",
        wrong.join("\n")
    );
}

#[test]
fn what_is_kept_belongs_to_a_manifest() {
    for entry in std::fs::read_dir(here("tests/manifests/invalid")).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            path.with_extension("yaml").is_file(),
            "{} is left over",
            path.display()
        );
    }
}

#[test]
fn nothing_is_said_of_what_is_good() {
    for path in yaml_files("tests/manifests/valid") {
        if let Err(error) = load(&path, Variables::default()) {
            panic!("{error}");
        }
    }
}

fn as_json(path: &Path) -> serde_json::Value {
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_schema_accepts_what_is_good() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let valid = yaml_files("tests/manifests/valid").into_iter();
    // What a variable will be, an editor does not see; and it marks a number in the place of a text.
    let is_plain = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        !text.contains("${") && !path.ends_with("numbers-as-texts.yaml")
    };
    for path in yaml_files("manifests")
        .into_iter()
        .chain(valid)
        .filter(is_plain)
    {
        let errors: Vec<String> = validator
            .iter_errors(&as_json(&path))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
}

/// What `validate` refuses and no schema can: what is between two places of a text, how a text is written, and
/// what another grammar has.
const UNSEEN_BY_THE_SCHEMA: &[&str] = &[
    "compare-cold",
    "contexts",
    "mixed-models",
    "more-available-than-there-are",
    "network-by-default",
    "networks",
    "one-machine-twice",
    "port-clashes",
    "references-to-nothing-declared",
    "references",
    "senders",
    "tags",
    "unreachable-backends",
];

#[test]
fn the_schema_refuses_all_that_a_schema_can_see() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut accepted = Vec::new();
    for path in yaml_files("tests/manifests/invalid") {
        // What is no YAML, or unfolds without end, no editor holds against a schema.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let read = serde_yaml::from_str::<serde_json::Value>(&text);
        if read.is_ok_and(|value| validator.is_valid(&value)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            accepted.push(name.to_owned());
        }
    }
    assert_eq!(accepted, UNSEEN_BY_THE_SCHEMA);
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn undescribed(at: &serde_json::Value, path: &str, out: &mut Vec<String>) {
        for (key, value) in at.as_object().into_iter().flatten() {
            let path = format!("{path}/{key}");
            let is_property = path.rsplit('/').nth(1) == Some("properties");
            if is_property && value.get("description").is_none() {
                out.push(path.clone());
            }
            undescribed(value, &path, out);
        }
    }
    let mut out = Vec::new();
    undescribed(&schema(), "", &mut out);
    assert!(out.is_empty(), "{out:#?}");
}

#[test]
fn a_manifest_is_found_or_its_absence_explained() {
    let good = here("manifests/local.yaml");
    assert_eq!(find(Some(&good)).unwrap(), good);
    insta::assert_snapshot!(find(Some(Path::new("nowhere.yaml"))).unwrap_err(), @"
    error: there is no file `nowhere.yaml`
    hint: name the manifest, which is the first argument: `manifests/cpu-experiment.yaml`, `manifests/cpu.yaml`, `manifests/disaggregated.yaml`, `manifests/experiment.yaml`, `manifests/local-experiment.yaml`, `manifests/local.yaml`, `manifests/refused.yaml`, `manifests/replicated.yaml`

    1 error in nowhere.yaml; nothing was changed
    ");
    insta::assert_snapshot!(find(Some(Path::new("manifests"))).unwrap_err(), @r"
    error: `manifests` is a folder, not a manifest
    hint: name a file in it

    1 error in manifests; nothing was changed
    ");
    // The folder of the crate holds no manifest by the name that is looked for.
    insta::assert_snapshot!(find(None).unwrap_err(), @"
    error: there is no `topology.yaml` in this folder
    hint: name the manifest, which is the first argument: `manifests/cpu-experiment.yaml`, `manifests/cpu.yaml`, `manifests/disaggregated.yaml`, `manifests/experiment.yaml`, `manifests/local-experiment.yaml`, `manifests/local.yaml`, `manifests/refused.yaml`, `manifests/replicated.yaml`

    1 error in topology.yaml; nothing was changed
    ");
    assert_eq!(
        load(Path::new("nowhere.yaml"), Variables::default()).unwrap_err(),
        find(Some(Path::new("nowhere.yaml"))).unwrap_err()
    );
}

#[test]
fn a_manifest_knows_its_file() {
    let manifest = load(&here("manifests/replicated.yaml"), Variables::default()).unwrap();
    assert_eq!(manifest.folder, here("manifests"));
    assert_eq!(manifest.sha256.len(), 64);
    assert_eq!(
        load(&here("manifests/replicated.yaml"), Variables::default()).unwrap(),
        manifest
    );
    for benchmark in manifest.topology.benchmarks.values() {
        let baseline = benchmark.baseline.as_ref().unwrap();
        assert!(manifest.folder.join(baseline).is_file());
    }
}

#[test]
fn a_file_beyond_the_bounds_is_not_read() {
    let large = " ".repeat((1 << 20) + 1);
    let error =
        understand("large.yaml", large.as_bytes(), None, &Variables::default()).unwrap_err();
    insta::assert_snapshot!(error, @"
    error: `large.yaml` is too long: a manifest has at most 1048576 bytes
    hint: is this the file that you meant?

    1 error in large.yaml; nothing was changed
    ");
}

#[test]
fn a_mebibyte_of_aliases_is_refused_at_once() {
    let mut text = String::from("topology: t\nx0: &x0 [a]\n");
    for i in 1.. {
        let alias = format!("*x{}, ", i - 1);
        let line = format!("x{i}: &x{i} [{}]\n", alias.repeat(1000));
        if text.len() + line.len() > 1 << 20 {
            break;
        }
        text += &line;
    }
    let error = understand("bomb.yaml", text.as_bytes(), None, &Variables::default()).unwrap_err();
    assert!(error.to_string().contains("20000 values"), "{error}");
}

#[test]
fn mistakes_without_number_are_cut_short() {
    let keys: String = (0..1000).fold(String::new(), |text, i| text + &format!("key{i}: 1\n"));
    let error = understand("many.yaml", keys.as_bytes(), None, &Variables::default()).unwrap_err();
    assert!(error.problems().len() <= 101);
    assert!(
        error
            .to_string()
            .ends_with("more than 99 errors in many.yaml; nothing was changed")
    );
}

#[test]
fn colours_are_only_where_they_are_asked_for() {
    let error = understand("t.yaml", b"toplogy: t\n", None, &Variables::default()).unwrap_err();
    assert!(!error.render(false).contains('\u{1b}'));
    assert!(error.render(true).contains('\u{1b}'));
}

#[test]
fn a_secret_is_never_shown() {
    let text = "topology: t\nnodes: {here: {ssh: locl}}\nengines:\n  demo:\n    simulate: {}\n    env: {HF_TOKEN: hf_sesame, X: [1]}\n";
    let said = understand("t.yaml", text.as_bytes(), None, &Variables::default())
        .unwrap_err()
        .to_string();
    assert!(said.contains("HF_TOKEN: *********, X: [1]"), "{said}");
    assert!(!said.contains("sesame"));
}

/// Nor where something else is wrong beside it, in whatever is said of that.
#[test]
fn a_login_in_a_url_is_never_shown() {
    let login = "https://me:sesame@host/simple";
    for text in [
        format!(
            "topology: t\nengines: {{e: {{venv: ~/v, vllm: 0.13.0, extra_indexes: [{login}]}}}}\n"
        ),
        format!("topology: t\nengines: {{e: {{venv: ~/v, extra_indexs: [{login}]}}}}\n"),
        format!("topology: t\nengines: {{e: {{venv: {login}}}}}\n"),
        format!("topology: t\nengines: {{e: {{vllm: {login}\n"),
        format!("topology: {login}\n"),
        format!("topology: t\n{login}: 1\n"),
        "topology: t\nenv: {MY_PASSWORD: sesame\n".to_owned(),
        "topology: t\ninstances: {a: {port: 1, env: {MY_TOKEN: [sesame]}}}\n".to_owned(),
    ] {
        let error = understand("t.yaml", text.as_bytes(), None, &Variables::default()).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("sesame"), "{said}");
    }
}

/// One change to a text.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Flip(usize, u8),
    Drop(usize),
    Double(usize),
    Cut(usize),
    Insert(usize, &'static str),
}

pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let one = prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Flip(at, byte)),
        any::<usize>().prop_map(Change::Drop),
        any::<usize>().prop_map(Change::Double),
        any::<usize>().prop_map(Change::Cut),
        (
            any::<usize>(),
            prop::sample::select(vec![
                "&a ",
                "*a",
                "<<: ",
                "- ",
                "? ",
                "!x ",
                "[",
                "}",
                "\"",
                "'",
                "\t",
                "\r\n",
                "---\n",
                "...\n",
                "|\n",
                ": ",
                "# ",
                "~",
                "é",
                "\u{feff}",
                "\0",
                "%YAML 1.2\n",
                ",",
            ]),
        )
            .prop_map(|(at, text)| Change::Insert(at, text)),
    ];
    prop::collection::vec(one, 1..6)
}

pub(super) fn apply(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes
                .split_inclusive(|b| *b == b'\n')
                .map(<[u8]>::to_vec)
                .collect()
        };
        let length = bytes.len().max(1);
        match change {
            Change::Flip(at, byte) => {
                if let Some(old) = bytes.get_mut(at % length) {
                    *old = *byte;
                }
            }
            Change::Drop(at) => {
                let mut lines = lines(&bytes);
                if !lines.is_empty() {
                    lines.remove(at % lines.len());
                }
                bytes = lines.concat();
            }
            Change::Double(at) => {
                let mut lines = lines(&bytes);
                if let Some(line) = lines.get(at % lines.len().max(1)).cloned() {
                    lines.insert(at % lines.len(), line);
                }
                bytes = lines.concat();
            }
            Change::Cut(at) => bytes.truncate(at % length),
            Change::Insert(at, text) => {
                let at = at % length;
                let at = at.min(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
        }
    }
    bytes
}

/// So many cases, or more where `PROPTEST_CASES` asks for more.
pub(super) fn at_least(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default().cases;
    ProptestConfig::with_cases(asked.max(cases))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..at_least(400) })]

    /// Whatever is done to a manifest, it loads, or there is a mistake with a place inside of it.
    #[test]
    fn no_text_is_too_broken_to_be_explained(file in 0_usize..8, changes in changes()) {
        let mut files = yaml_files("manifests");
        files.extend(yaml_files("tests/manifests/valid"));
        let bytes = apply(std::fs::read(&files[file % files.len()]).unwrap(), &changes);
        if let Err(error) = understand("t.yaml", &bytes, None, &Variables::default()) {
            prop_assert!(!error.problems().is_empty());
            let lines = bytes.split(|b| *b == b'\n').count();
            for problem in error.problems() {
                let (line, column) = error.position(problem).expect("a place");
                prop_assert!(line >= 1 && line <= lines && column >= 1, "{line}:{column}");
            }
            prop_assert!(error.render(true).contains("t.yaml"));
        }
    }
}

#[test]
fn prompts_are_read_before_anything_is_measured() {
    let said = |prompts: &str, more: &str| {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"q\": \"a\", \"n\": 3}\n{\"q\": \"b\"}\n";
        std::fs::write(folder.path().join("p.jsonl"), lines).unwrap();
        let text = format!(
            "topology: t\nnodes: {{here: {{ssh: local}}}}\nengines: {{demo: {{simulate: {{}}}}}}\n\
             instances: {{a: {{node: here, port: 8100, engine: demo, model: m}}}}\nbenchmarks:\n\
             \x20 one: {{prompts: {prompts}, load: {{batch: 2}}{more}}}\n"
        );
        let path = folder.path().join("t.yaml");
        std::fs::write(&path, text).unwrap();
        assert!(super::load_alone(&path, Variables::default()).is_ok());
        load(&path, Variables::default()).map_or_else(
            |error| {
                error
                    .render(false)
                    .replace(&folder.path().display().to_string(), "")
            },
            |_| String::new(),
        )
    };
    assert_eq!(said("{jsonl: p.jsonl, field: q}", ""), "");
    insta::assert_snapshot!(said("{jsonl: p.jsonl, field: q, output_field: n}", ""), @"
    error: line 2 of `p.jsonl` has no field `n`
     --> /t.yaml:6:26
      |
    6 |   one: {prompts: {jsonl: p.jsonl, field: q, output_field: n}, load: {batch: 2}}
      |                          ^^^^^^^
      |
      = hint: it has `q`

    1 error in /t.yaml; nothing was changed
    ");
    insta::assert_snapshot!(said("{file: nope.txt}", ""), @"
    error: there is no file `nope.txt`
     --> /t.yaml:6:25
      |
    6 |   one: {prompts: {file: nope.txt}, load: {batch: 2}}
      |                         ^^^^^^^^
      |
      = hint: a file of prompts is named as seen from the manifest's folder

    1 error in /t.yaml; nothing was changed
    ");
    insta::assert_snapshot!(said("{jsonl: p.jsonl}", ", api: chat"), @"
    error: line 1 of `p.jsonl` has no field `prompt`
     --> /t.yaml:6:26
      |
    6 |   one: {prompts: {jsonl: p.jsonl}, load: {batch: 2}, api: chat}
      |                          ^^^^^^^
      |
      = hint: it has `q`, `n`

    1 error in /t.yaml; nothing was changed
    ");
}

/// A manifest with two benchmarks of these files, in a folder with a baseline that is none.
fn with_files(one: &str, two: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("none.json"), "{}").unwrap();
    let text = format!(
        "topology: t\nnodes: {{here: {{ssh: local}}}}\nengines: {{demo: {{simulate: {{profile: fast}}}}}}\n\
         instances: {{a: {{node: here, port: 8100, engine: demo, model: m}}}}\nbenchmarks:\n\
         \x20 one: {{prompts: {{inline: [x]}}, load: {{batch: 2}}, {one}}}\n\
         \x20 two: {{prompts: {{inline: [x]}}, load: {{batch: 4}}, {two}}}\n"
    );
    let path = folder.path().join("t.yaml");
    std::fs::write(&path, text).unwrap();
    assert!(
        super::load_alone(&path, Variables::default()).is_ok(),
        "who measures nothing needs none"
    );
    let said =
        load(&path, Variables::default()).map_or_else(|error| error.to_string(), |_| String::new());
    let errors = said.lines().filter_map(|line| line.strip_prefix("error: "));
    errors
        .map(|line| line.replace(&folder.path().display().to_string(), ""))
        .collect()
}

#[test]
fn files_that_a_manifest_names_are_looked_at_before_anything_is_measured() {
    let fine = "max_tokens: 1";
    let none: [&str; 0] = [];
    assert_eq!(with_files(fine, fine), none);
    assert_eq!(
        with_files("baseline: nope.json", fine),
        ["there is no file `nope.json`"]
    );
    assert_eq!(
        with_files("baseline: none.json", fine),
        [
            "cannot read the baseline /none.json: it has neither `single_request` nor `batch_processing`"
        ]
    );
    assert_eq!(
        with_files("save: ./x/../t.yaml", fine),
        ["the result would overwrite this manifest"]
    );
    assert_eq!(
        with_files("save: x.json", "save: ./x.json"),
        ["`two` would overwrite what `one` saves"]
    );
    // What one saves the other may be compared with.
    assert_eq!(with_files("save: x.json", "baseline: x.json"), none);
}

#[test]
fn keys_that_begin_with_x_are_somebodys_own() {
    let text = "x-ports: &port 8100\ntopology: t\nnodes: {here: {ssh: local}}\n\
                engines: {demo: {simulate: {profile: fast}}}\n\
                instances: {a: {node: here, port: *port, engine: demo, model: m}}\n";
    let topology = super::read(text).unwrap();
    assert_eq!(topology.instances.values().next().unwrap().port.get(), 8100);
    assert!(super::read(&text.replace("x-ports", "y-ports")).is_err());
}

/// Whatever a manifest is, it loads, or there is a mistake with a place inside of it.
#[test]
fn fuzz_manifest() {
    let words = [
        "&a ",
        "*a",
        "<<: *a\n",
        "- ",
        "? ",
        "!!binary ",
        "|\n",
        "---\n",
        "{from_env: X}",
        "engines:\n",
        "  a: {node: here, port: 8100}\n",
        "\u{feff}",
        "\u{2028}",
        "1e999",
        "0x7f",
        "-.inf",
        "18446744073709551616",
        "100%",
        "30s",
        "'",
        "\"",
        "%YAML 1.2\n",
        "null",
    ];
    crate::fuzz::run("manifest", &words, |input| {
        let Err(error) = understand("t.yaml", input, None, &Variables::default()) else {
            return crate::fuzz::sort_of("good");
        };
        assert!(!error.problems().is_empty());
        let lines = input.split(|byte| *byte == b'\n').count();
        for problem in error.problems() {
            let (line, column) = error.position(problem).expect("a place");
            assert!(line >= 1 && line <= lines && column >= 1, "{line}:{column}");
        }
        let shown = error.render(false);
        assert!(shown.contains("t.yaml"));
        // What is told, without the words that are quoted of it.
        let titles = shown.lines().filter(|line| line.starts_with("error"));
        let titles = titles.map(|line| line.split('`').step_by(2).collect::<String>());
        crate::fuzz::sort_of(titles.take(3).collect::<Vec<_>>())
    });
}
