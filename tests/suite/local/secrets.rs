//! A secret reaches the process that needs it, and nobody else.

use std::fs;
use std::path::Path;

use crate::suite::support::{Workdir, process};

const SECRET: &str = "open-sesame-4711";

const MANIFEST: &str = "\
topology: guarded
nodes: {here: {ssh: local}}
engines:
  demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}, env: {VLLM_API_KEY: {from_env: KEY}}}
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
    // The proxy asks its backends for their names, and needs the key for it.
    let mut carried = 0;
    for pid in process::marked(&place.topology) {
        let environ = process::environ(pid);
        let words = environ.split('\0').filter(|w| w.contains(SECRET));
        for word in words {
            let name = word.strip_suffix(&format!("={SECRET}"));
            assert!(
                matches!(name, Some("VLLM_API_KEY" | "REPLICA_API_KEY")),
                "{word}"
            );
            carried += 1;
        }
        assert!(!process::command(pid).contains(SECRET));
    }
    assert_ne!(carried, 0);
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
    assert!(plan.contains("VLLM_API_KEY"), "{plan}");
    assert!(!plan.contains(SECRET) && !plan.contains("0815"), "{plan}");
}

#[test]
fn a_secret_that_is_not_set_blocks_and_is_named() {
    let place = Workdir::with(MANIFEST);
    let _ = place
        .replica(&["apply", "-y"])
        .exits(6)
        .shows("VLLM_API_KEY is to come from KEY, which is not set here");
}
