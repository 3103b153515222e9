//! The cases of the rooms: what is declared, what the nodes told, and what follows.
//!
//! A case is a file, `tests/rooms/<kind>/<case>.yaml`; its first line says what it shows, and what
//! follows stands under `expect` at its end, in words. `cargo bless` writes it anew. The folders
//! `orphan`, `unmanaged` and `marks` are no kinds: there everything that follows is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use replica::converge::{assess, decide};
use replica::manifest;
use replica::name::NodeName;
use replica::plan::{Action, Change, Effect, Plan};
use replica::resource::program::Binaries;
use replica::resource::{Catalogue, Fact, Observation, Paths, Resource, Topology, Undeclared};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::describe;
use super::node_case::NodeCase;

/// One case.
#[derive(Debug)]
struct Case {
    declared: Topology,
    world: World,
}

/// What a case says beside what is declared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct World {
    /// It is a manifest, and read as one.
    #[serde(rename = "declared")]
    _declared: IgnoredAny,
    /// The architectures of which a binary is at hand.
    #[serde(default = "architectures")]
    binaries: Vec<String>,
    #[serde(default)]
    nodes: BTreeMap<NodeName, NodeCase>,
    /// The newest result of each benchmark.
    #[serde(default)]
    results: BTreeMap<String, Found>,
    #[expect(dead_code, reason = "it is compared as text")]
    #[serde(default)]
    expect: Option<String>,
}

/// A result that is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    /// Whether it is of what would be measured now.
    #[serde(default)]
    current: bool,
    /// The fingerprint that it has instead, as a former version wrote it.
    fingerprint: Option<String>,
    valid: bool,
}

fn architectures() -> Vec<String> {
    vec!["x86_64".to_owned(), "aarch64".to_owned()]
}

/// What a case leaves of itself while it is looked at.
struct Scene {
    folder: tempfile::TempDir,
    binaries: Arc<Binaries>,
}

impl Scene {
    fn new(case: &Case) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).unwrap();
        for architecture in &case.world.binaries {
            let name = format!("replica-{architecture}-unknown-linux-musl");
            fs::write(programs.join(name), format!("replica for {architecture}\n")).unwrap();
        }
        let binaries = if case.world.binaries.is_empty() {
            Binaries::default()
        } else {
            Binaries::find(Some(&programs)).unwrap()
        };
        Self {
            folder,
            binaries: Arc::new(binaries),
        }
    }

    fn catalogue(&self, case: &Case) -> Catalogue {
        let paths = Paths {
            origin: None,
            manifest: self.folder.path().to_owned(),
            results: self.folder.path().join("results"),
        };
        Catalogue::new(&case.declared, &self.binaries, &paths)
    }

    /// Puts the results of a case where they are looked for.
    fn keep_results(&self, case: &Case, plan: &Plan) {
        for (name, found) in &case.world.results {
            let fingerprint = plan.steps.iter().find_map(|step| match &step.effect {
                Effect::Measure(job) if &job.name == name => Some(job.fingerprint.clone()),
                _ => None,
            });
            let fingerprint = fingerprint.filter(|_| found.current);
            let fingerprint = found
                .fingerprint
                .clone()
                .or(fingerprint)
                .unwrap_or_default();
            let topology = case.declared.name.as_str();
            let folder = self.folder.path().join("results").join(topology).join(name);
            fs::create_dir_all(&folder).unwrap();
            let result = result(topology, name, &fingerprint, found.valid);
            fs::write(folder.join("one.json"), result.to_string()).unwrap();
            let pointer = json!({
                "schema": "replica.latest/1", "result": "one.json", "requests": "",
                "valid": found.valid, "fingerprint": fingerprint,
            });
            fs::write(folder.join("latest.json"), pointer.to_string()).unwrap();
        }
    }
}

/// A result without numbers.
fn result(topology: &str, name: &str, fingerprint: &str, valid: bool) -> serde_json::Value {
    json!({
        "schema": "replica.bench/1",
        "tool": {"name": "replica", "version": "0.1.0"},
        "run": {"id": "r", "started": "2026-01-02T03:04:05Z"},
        "client": {"host": "h", "platform": "linux/x86_64", "kernel": "6", "cores": 1, "clock": "monotonic"},
        "topology": {},
        "job": {
            "name": name, "topology": topology, "fingerprint": fingerprint, "targets": "",
            "model": "demo", "endpoint": {"authority": "", "is_proxy": true, "policy": null},
            "instances": [], "load": {"batch": 1}, "prompts": {"count": 1, "sha256": ""},
            "max_tokens": 1, "warmup": 0, "timeout_s": 1.0, "definitions": ""
        },
        "warmup": {"asked": 0, "instances": [], "endpoint": null},
        "points": [], "comparison": null, "valid": valid, "files": {"requests": ""}
    })
}

impl Case {
    fn plan(&self) -> Plan {
        let scene = Scene::new(self);
        let first = self.decide(&scene);
        if self.world.results.is_empty() {
            return first;
        }
        scene.keep_results(self, &first);
        self.decide(&scene)
    }

    fn decide(&self, scene: &Scene) -> Plan {
        let declared = scene.catalogue(self).resources();
        let seen = self.seen(&declared);
        let undeclared = Undeclared::beside(&self.declared, &declared, &seen);
        let all = [&undeclared.resources[..], &declared].concat();
        Plan {
            unmanaged: undeclared.unmanaged,
            ..decide(assess(&all, &seen), &seen)
        }
    }

    fn seen(&self, resources: &[Arc<dyn Resource>]) -> Observation {
        let mut seen = Observation::default();
        for node in self.declared.nodes.keys() {
            let mut facts: BTreeMap<String, Fact> = BTreeMap::new();
            let asked = resources.iter().flat_map(|resource| resource.facts());
            let own = asked.filter_map(|(of, fact)| (of == *node).then_some(fact));
            let standing = Undeclared::facts(&self.declared);
            for fact in own.chain(standing) {
                facts.insert(fact.id.clone(), fact);
            }
            let describe = self.world.nodes.get(node).cloned().unwrap_or_default();
            let facts = describe.facts(facts.into_values());
            seen.insert(node.clone(), facts);
        }
        seen
    }
}

/// The cases of one folder, in the order of their names.
fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/rooms")
        .join(folder);
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// The text of a case before what it expects, and what it expects.
fn halves(text: &str) -> (&str, &str) {
    match text.find("\nexpect: |\n") {
        Some(at) => (&text[..=at], &text[at + 1..]),
        None => (text, ""),
    }
}

/// The sentence at the head of a case.
fn shows(text: &str) -> String {
    let head = text.lines().map_while(|line| line.strip_prefix("# "));
    head.collect::<Vec<_>>().join(" ")
}

/// The manifest in a case.
fn declared(text: &str) -> String {
    let lines = text.lines().skip_while(|line| *line != "declared:").skip(1);
    let inside = lines.map_while(|line| line.strip_prefix("  "));
    inside.fold(String::new(), |manifest, line| manifest + line + "\n")
}

fn read(path: &Path) -> (String, Case) {
    let text = fs::read_to_string(path).unwrap();
    let world = serde_yaml::from_str(&text);
    let world: World = world.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let declared = manifest::read(&declared(&text));
    let declared = declared.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let case = Case { declared, world };
    assert!(
        text.starts_with("# "),
        "{} does not say what it shows",
        path.display()
    );
    (text, case)
}

/// What follows from a case, as it stands in its file.
fn expectation(plan: &Plan, describe: impl Fn(&Change) -> bool) -> String {
    let mut text = "expect: |\n".to_owned();
    for change in plan.changes.iter().filter(|change| describe(change)) {
        let words = describe::describe(plan, change).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let words = without_folders(&words);
        for line in words.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    for line in &plan.unmanaged {
        let _ = writeln!(text, "  not ours: {line}");
    }
    text
}

/// Leaves out where binaries were looked for: that is a folder of this machine.
fn without_folders(words: &str) -> String {
    match words.split_once("(looked in ") {
        Some((before, after)) => {
            let (_, after) = after.split_once(')').unwrap_or_default();
            format!("{before}(looked in FOLDERS){after}")
        }
        None => words.to_owned(),
    }
}

fn hold(folder: &str, describe: impl Fn(&Change) -> bool) {
    let update = std::env::var_os("REPLICA_UPDATE").is_some();
    let mut wrong = Vec::new();
    for path in cases(folder) {
        let (text, case) = read(&path);
        let follows = expectation(&case.plan(), &describe);
        let (head, expected) = halves(&text);
        if follows == expected {
            continue;
        }
        if update {
            let head = head.trim_end();
            fs::write(&path, format!("{head}\n\n{follows}")).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            wrong.push(format!(
                "{folder}/{name}: {}\n{}",
                shows(&text),
                difference(expected, &follows)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nrun `cargo bless` if this is as it should be",
        wrong.join("\n")
    );
}

fn difference(expected: &str, follows: &str) -> String {
    similar::TextDiff::from_lines(expected, follows)
        .unified_diff()
        .header("expected", "what follows")
        .to_string()
}

macro_rules! kinds {
    ($($kind:ident),+) => {$(
        #[test]
        fn $kind() {
            hold(stringify!($kind), |change| change.address.kind == stringify!($kind));
        }
    )+};
}

kinds!(program, engine, model, instance, proxy, benchmark);

#[test]
fn orphan() {
    hold("orphan", |_| true);
}

#[test]
fn unmanaged() {
    hold("unmanaged", |_| true);
}

/// What this version and every older one wrote is as declared: an upgrade plans nothing.
#[test]
fn marks() {
    for path in cases("marks") {
        let (text, case) = read(&path);
        let plan = case.plan();
        let kept = plan.changes.iter().all(|c| c.action == Action::Keep);
        assert!(
            kept && plan.steps.is_empty(),
            "{}: {}\n{}",
            path.display(),
            shows(&text),
            expectation(&plan, |change| change.action != Action::Keep)
        );
    }
}

#[test]
fn every_folder_of_cases_is_looked_at() {
    let looked_at = [
        "benchmark",
        "engine",
        "instance",
        "marks",
        "model",
        "orphan",
        "program",
        "proxy",
        "unmanaged",
    ];
    let folders = cases("");
    let names: Vec<_> = folders
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, looked_at);
}

/// The control: a case that expects something else is seen to be wrong.
#[test]
fn a_wrong_expectation_is_noticed() {
    let (text, case) = read(&cases("program")[0]);
    let (_, expected) = halves(&text);
    let describe = |change: &Change| change.address.kind == "program";
    assert_eq!(expectation(&case.plan(), describe), expected);
    let spoilt = expected.replace("program", "something");
    assert!(difference(&spoilt, expected).contains('-'));
    assert_ne!(expectation(&case.plan(), describe), spoilt);
}
