//! A secret reaches the process that needs it, and nobody else.

use std::fs;
use std::path::Path;

use replica::node::NodeKey;

use crate::suite::support::{Workdir, process};

const SECRET: &str = "open-sesame-4711";

const MANIFEST: &str = "\
topology: guarded
nodes: {here: {ssh: local}}
engines:
  demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}, env: {VLLM_API_KEY: {from_env: KEY}, HF_TOKEN: {from_env: KEY}}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
proxy: {node: here, port: 8192}
benchmarks:
  one: {prompts: {inline: [Hello]}, load: {sequential: 1}, max_tokens: 10}
";

/// Every file below a folder that holds the secret.
fn holding(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path));
        } else if let Ok(bytes) = fs::read(&path)
            && String::from_utf8_lossy(&bytes).contains(SECRET)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_is_in_no_plan_log_mark_argument_or_result() {
    let place = Workdir::with(MANIFEST).env("KEY", SECRET);
    let mut said = vec![
        place.replica(&["plan", "-v", "--json"]).exits(0),
        place.replica(&["plan", "-v"]).exits(0),
        place.replica(&["apply", "-y", "-vv"]).exits(0),
        place.replica(&["status", "--json"]).exits(0),
        place.replica(&["logs", "a"]).exits(0),
    ];
    let mut carried = Vec::new();
    for pid in process::marked(&place.topology) {
        let environ = process::environ(pid);
        let words = environ.split('\0').filter(|w| w.contains(SECRET));
        carried.extend(words.map(str::to_owned));
        assert!(!process::command(pid).contains(SECRET));
    }
    carried.sort();
    carried.dedup();
    // Of an API key the proxy has a digest, and the servers have others.
    assert_eq!(carried, [format!("HF_TOKEN={SECRET}")]);
    assert_eq!(holding(&place.home()), [""; 0]);
    assert_eq!(holding(&place.work()), [""; 0]);
    said.push(place.replica(&["destroy", "-y", "-vv"]).exits(0));
    for said in said {
        assert!(!said.out.contains(SECRET), "{}", said.words);
        assert!(!said.err.contains(SECRET), "{}", said.words);
    }
}

#[test]
fn another_secret_replaces_the_server_and_shows_neither() {
    let place = Workdir::with(MANIFEST).env("KEY", SECRET).applied();
    let mut command = place.command(&["plan"]);
    let output = command.env("KEY", "another-word-0815").output().unwrap();
    let plan = String::from_utf8_lossy(&output.stdout);
    assert!(plan.contains("-/+ instance.a"), "{plan}");
    assert!(plan.contains("HF_TOKEN"), "{plan}");
    assert!(!plan.contains(SECRET) && !plan.contains("0815"), "{plan}");
    // Whoever has the plan and guesses the word cannot tell: it takes what lies on the node.
    let node_key = place.read(place.state().join("run/node.key"));
    assert!(!plan.contains(&node_key), "{plan}");
    let digest = node_key
        .parse::<NodeKey>()
        .unwrap()
        .digest("HF_TOKEN", SECRET);
    assert!(plan.contains(&format!("{digest} -> keyed:")), "{plan}");
}

#[test]
fn a_secret_that_is_not_set_blocks_and_is_named() {
    let place = Workdir::with(MANIFEST);
    let _ = place
        .replica(&["apply", "-y"])
        .exits(6)
        .shows("VLLM_API_KEY is to come from KEY, which is not set here");
}

/// Who has not got the key looks, and changes nothing; nothing is broken by that.
#[test]
fn a_secret_that_is_not_set_is_said_of_what_runs() {
    let place = Workdir::with(MANIFEST).env("KEY", SECRET).applied();
    let without = |words: &[&str]| {
        let output = place.command(words).env_remove("KEY").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), said)
    };
    let (code, plan) = without(&["plan", "--detailed-exitcode"]);
    assert!(
        plan.contains("HF_TOKEN is to come from KEY, which is not set here"),
        "{plan}"
    );
    assert_eq!(code, Some(2), "there is something to measure: {plan}");
    let (code, status) = without(&["status", "--exit-code", "--json"]);
    assert_eq!(code, Some(0), "{status}");
    let (code, _) = without(&["apply", "-y", "--no-bench"]);
    assert_eq!(code, Some(0));
    assert_eq!(place.status()["converged"], true);
}
