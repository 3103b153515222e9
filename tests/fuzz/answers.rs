//! What a node answers: it may be broken, old, of another system, or meant to deceive.

use std::sync::{Arc, LazyLock};

use crate::converge::{assess, decide};
use crate::manifest;
use crate::resource::program::Binaries;
use crate::resource::{Catalogue, Facts, Observation, Paths, Topology, Undeclared};

use super::{run, sort_of};

const MANIFEST: &str = "\
topology: fuzz
nodes: {one: {ssh: n@one, addresses: {lan: 10.0.0.1}, unmanaged: stop}}
engines:
  e: {venv: ~/v, vllm: 0.13.0, packages: {torch: 2.9.1}, args: {chat_template: ~/t.jinja, lora_modules: [x=o/l]}}
  demo: {simulate: {profile: fast}}
models:
  m: {repo: o/n, revision: 0e9e39f249a16976918f6564b8830bc894c89659}
  p: {path: ~/p}
instances:
  a: {node: one, port: 8100, engine: e, model: m}
  b: {node: one, port: 8200, engine: e, model: p}
  c: {node: one, port: 8300, engine: demo, model: demo}
proxy: {node: one, port: 8192, backends: [c]}
";

fn topology() -> &'static Topology {
    static TOPOLOGY: LazyLock<Topology> = LazyLock::new(|| manifest::read(MANIFEST).unwrap());
    &TOPOLOGY
}

fn catalogue() -> Catalogue {
    static BINARIES: LazyLock<Arc<Binaries>> =
        LazyLock::new(|| Arc::new(Binaries::find(None).unwrap()));
    let nowhere = std::env::temp_dir().join("replica-no-such-results");
    let paths = Paths {
        origin: None,
        manifest: nowhere.clone(),
        results: nowhere,
    };
    Catalogue::new(topology(), &BINARIES, &paths)
}

/// What each question is answered with: the lines below its name, `== venv`.
fn answer<'a>(text: &'a str, id: &str) -> &'a str {
    let sort = id.split(' ').next().unwrap_or_default();
    let heading = format!("== {sort}\n");
    let below = text.split_once(&heading).map_or(text, |(_, below)| below);
    below.split("\n== ").next().unwrap_or(below)
}

/// What makes one answer another.
const WORDS: &[&str] = &[
    "REPLICA_MARK",
    "MARK 7 v1:fuzz:instance/a:1:0f\n",
    "SPEC 7 {}\n",
    "process 7 1 7 5 marked x\n",
    "process 7 1 9 5 unmarked \n",
    "foreign 8 1 5 own orphan vllm\n",
    "listener 1FA4 9 0\n",
    "owner 9 7 7 n x\n",
    "file 3 log/instance.a.1.log\n",
    "file 0 log/instance.a.1.ready\n",
    "18446744073709551616",
    "-1",
    "NaN",
    "1e999",
    "4294967296",
    "dist ",
    "header 8 9 ",
    "shard ",
    "\r\n",
    "total ",
    "gpu ",
    "{\"done\":",
    "boot ",
    "clock ",
    "\u{202e}",
    "é",
];

/// Whatever a node says, there is a plan, and it is the same plan the next time.
#[test]
fn fuzz_answers() {
    run("answers", WORDS, |input| {
        let text = String::from_utf8_lossy(input);
        let resources = catalogue().resources();
        let own = resources
            .iter()
            .flat_map(|it| it.facts())
            .map(|(_, fact)| fact);
        let asked = Undeclared::facts(topology()).into_iter().chain(own);
        let facts: Facts = asked
            .map(|fact| {
                let answer = answer(&text, &fact.id).to_owned();
                (fact.id, answer)
            })
            .collect();
        let mut observed = Observation::default();
        observed.insert("one".parse().unwrap(), Ok(facts));
        let undeclared = Undeclared::beside(topology(), &resources, &observed);
        let all = [&undeclared.resources[..], &resources].concat();
        let plan = || decide(assess(&all, &observed), &observed);
        let (first, second) = (plan(), plan());
        assert_eq!(
            format!("{:?}", first.changes),
            format!("{:?}", second.changes)
        );
        let sorts = first.changes.iter().map(|change| {
            let codes: Vec<_> = change
                .reasons
                .iter()
                .map(|reason| reason.code.word())
                .collect();
            (change.action.sign(), codes)
        });
        sort_of(sorts.collect::<Vec<_>>())
    });
}
