//! Arms that are measured in turn.

use serde_json::Value;

use super::PAIR;
use crate::suite::support::process::Signal;
use crate::suite::support::{Workdir, process, until};

/// The same two servers, replicated and split.
const ARMS: &str = "\
topology: arms
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}}}
kv: {connector: nixl, buffer: cpu, port: 5600}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
  b: {node: here, port: 8200, engine: demo, model: demo, env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 5601}}
proxy: {node: here, port: 8192}
benchmarks:
  chat:
    prompts: {synthetic: {input: 64, output: 16}}
    load: {concurrency: 4, requests: 16}
    # Other tests share this machine: what is asked here is not how fast it is.
    warmup: {per_instance: 2, until_stable: 90%, max: 10}
    repeats: 1
compare:
  rounds: 2
  arms:
    replicated: {}
    split: {instances: {a: {role: prefill}, b: {role: decode}}}
";

/// The comparison that is stored.
fn stored(place: &Workdir) -> Value {
    let folder = place
        .work()
        .join(format!("results/{}/_compare", place.topology));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .collect();
    files.sort();
    files.last().map_or(Value::Null, |path| {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    })
}

/// What was measured is shown again, to people and to machines.
fn is_shown(place: &Workdir, outcome: &Value) {
    let _ = place
        .replica(&["compare", "--show"])
        .exits(0)
        .shows("split beside replicated");
    let _ = place.replica(&["compare", "--show", "--strict"]).exits(7);
    let shown = place.replica(&["compare", "--show", "--json"]).exits(0);
    let shown = shown.json();
    let (state, done) = (&shown["state"], [&shown["measured"], &shown["of"]]);
    assert!(*state == "measured" && done == [4, 4], "{shown:#}");
    let stored = outcome.as_object().unwrap();
    assert!(
        stored.iter().all(|(key, it)| shown[key] == *it),
        "{shown:#}"
    );
}

#[test]
fn arms_are_made_in_turn_and_nothing_is_restarted_that_is_in_both() {
    let place = Workdir::measuring(ARMS).applied();
    let pids = || ["/instances/a", "/instances/b", "/proxy"].map(|thing| place.pid(thing));
    let before = pids();
    let said = place.replica(&["compare", "-y"]).exits(0);
    let _ = said
        .says("block 4 of 4")
        .shows("split beside replicated")
        .shows("too few");
    assert_eq!(pids(), before);
    let outcome = stored(&place);
    let blocks = outcome["blocks"].as_array().unwrap();
    let arms: Vec<_> = blocks
        .iter()
        .map(|block| block["arm"].as_str().unwrap())
        .collect();
    assert_eq!(arms[0], arms[3], "{arms:?}");
    assert_eq!(arms[1], arms[2], "{arms:?}");
    let chat = |block: &Value| {
        let path = block["results"]["chat"].as_str().unwrap();
        let text = place.read(format!("results/{}/{path}", place.topology));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    for block in blocks {
        let result = chat(block);
        assert_eq!(result["valid"], true, "{result:#}");
        assert_eq!(result["tags"]["arm"], block["arm"]);
        let splits = result["points"][0]["server"]["b"]["delta"]["fetched"]["transfers"] == 16;
        assert_eq!(splits, block["arm"] == "split", "{result:#}");
    }
    // What going over did is kept: no engine was started for it.
    for block in blocks {
        let switch = &block["switch"];
        assert_eq!(switch["started"], serde_json::json!([]), "{block:#}");
    }
    let changed = |block: &Value| block["switch"]["changes"].as_object().unwrap().len();
    assert!(
        changed(&blocks[1]) > 0 && changed(&blocks[2]) == 0,
        "{outcome:#}"
    );
    // The same was asked in every block.
    let asked = |block: &Value| chat(block)["job"]["prompts"]["sha256"].clone();
    assert!(blocks.iter().all(|block| asked(block) == asked(&blocks[0])));
    let said = &outcome["cells"][0]["said"][0];
    assert_eq!(said["texts"]["between"]["asked"], 32, "{outcome:#}");
    assert_eq!(said["texts"]["between"]["answered"], 32, "{outcome:#}");
    assert_eq!(
        outcome["arms"]["split"]["moved"]["transfers"], 32,
        "{outcome:#}"
    );

    is_shown(&place, &outcome);
    is_reported(&place, 0);
    // What was measured for its own sake stands below.
    let _ = place.replica(&["bench", "chat", "-y"]).exits(0);
    is_reported(&place, 1);
}

/// The page shows what was compared, and of results only those that are of no block of it; one that is
/// named is shown alone.
fn is_reported(place: &Workdir, measured_alone: usize) {
    let page = || place.read(format!("results/{}/report.html", place.topology));
    let report = place.replica(&["report", "--json"]).exits(0).json();
    assert_eq!(
        report["comparisons"].as_array().map(Vec::len),
        Some(1),
        "{report:#}"
    );
    let results = report["results"].as_array().map(Vec::len);
    assert_eq!(results, Some(measured_alone), "{report:#}");
    let whole = page();
    assert!(whole.contains("2 arms compared"), "{whole:.2000}");
    let one = place.replica(&["report", "chat", "--json"]).exits(0).json();
    assert!(one["comparisons"].is_null(), "{one:#}");
    let alone = page();
    assert!(
        !alone.contains("arms compared") && alone.contains("chat, 20"),
        "{alone:.2000}"
    );
    let listed = place.replica(&["bench", "list"]).exits(0);
    assert!(!listed.err.contains("cannot be read"), "{}", listed.err);
}

#[test]
fn an_instance_that_is_idle_in_an_arm_shows_its_canary_too() {
    let place = Workdir::measuring(ARMS);
    place.change("rounds: 2", "rounds: 1");
    let split = "split: {instances: {a: {role: prefill}, b: {role: decode}}}";
    place.change(split, "single: {proxy: {backends: [a]}}");
    let said = place.replica(&["compare", "-y"]).exits(0);
    let _ = said.shows("canary of here, ms a token");
    let outcome = stored(&place);
    for block in outcome["blocks"].as_array().unwrap() {
        let canaries = block["canaries"].as_array().unwrap();
        let names: Vec<_> = canaries.iter().map(|it| &it["instance"]).collect();
        assert_eq!(names, ["a", "b"], "{block:#}");
        let are_shown = |it: &Value| it["before_ms"].is_number() && it["after_ms"].is_number();
        assert!(canaries.iter().all(are_shown), "{block:#}");
        let path = block["results"]["chat"].as_str().unwrap();
        let result = place.read(format!("results/{}/{path}", place.topology));
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!(result["valid"], true, "{result:#}");
        let idle = result["canaries"]["idle"]["after"].as_array();
        let is_idle = block["arm"] == "single";
        assert_eq!(idle.map_or(0, Vec::len), usize::from(is_idle), "{result:#}");
    }
}

/// An arm whose engines have arguments of their own.
const CHUNKED: &str =
    "    chunked: {instances: {a: {args: {max_num_seqs: 8}}, b: {args: {max_num_seqs: 8}}}}\n";

/// What each block started of what answers in it, block by block.
fn started(outcome: &Value) -> Vec<Vec<&str>> {
    let blocks = outcome["blocks"].as_array().unwrap().iter();
    let started = blocks.map(|block| {
        let names = block["switch"]["started"].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap()).collect()
    });
    started.collect()
}

#[test]
fn engines_of_all_arms_are_up_at_once_and_those_that_are_not_asked_are_idle() {
    let place = Workdir::measuring(ARMS);
    place.change("    split: {", &format!("{CHUNKED}    split: {{"));
    let place = place.applied();
    let pids = || ["/instances/a", "/instances/b", "/proxy"].map(|thing| place.pid(thing));
    let before = pids();
    let said = place.replica(&["compare", "-y"]).exits(0);
    let _ = said.says("the engines of all arms stand beside each other, 4 engines in all");
    assert_eq!(pids(), before);
    let outcome = stored(&place);
    assert_eq!(outcome["co_resident"], true, "{outcome:#}");
    // They are there from the first block on.
    let blocks = outcome["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 6);
    let first = blocks[0]["switch"]["changes"].as_object().unwrap();
    let fresh = first.values().filter(|it| *it == "create").count();
    assert_eq!(fresh, 2, "{outcome:#}");
    assert!(
        started(&outcome)[1..].iter().all(Vec::is_empty),
        "{outcome:#}"
    );
    for block in blocks {
        let canaries = block["canaries"].as_array().unwrap();
        let names: Vec<_> = canaries.iter().map(|it| &it["instance"]).collect();
        assert_eq!(names, ["a", "a-chunked", "b", "b-chunked"], "{block:#}");
        let path = block["results"]["chat"].as_str().unwrap();
        let result = place.read(format!("results/{}/{path}", place.topology));
        let result: Value = serde_json::from_str(&result).unwrap();
        assert_eq!(result["valid"], true, "{result:#}");
        let asked = result["job"]["instances"].as_array().unwrap().iter();
        let asked: Vec<_> = asked.map(|it| it["name"].as_str().unwrap()).collect();
        let own = if block["arm"] == "chunked" {
            ["a-chunked", "b-chunked"]
        } else {
            ["a", "b"]
        };
        assert_eq!(asked, own, "{result:#}");
    }
    // What is declared has no such engines: applying it again removes them.
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.status()["instances"].as_object().unwrap().len(), 2);
    assert_eq!(pids()[..2], before[..2]);
}

#[test]
fn where_not_all_engines_can_be_up_they_are_started_from_arm_to_arm() {
    let place = Workdir::measuring(ARMS);
    place.change("rounds: 2", "rounds: 1");
    let split = "    split: {instances: {a: {role: prefill}, b: {role: decode}}}\n";
    place.change(split, CHUNKED);
    // Somebody listens where an engine would stand.
    let taken = std::net::TcpListener::bind(("127.0.0.1", place.port(0) + 32)).unwrap();
    let said = place.replica(&["compare", "-y"]).exits(0);
    let _ = said.says("the engines of all arms are not up at once");
    let outcome = stored(&place);
    assert_eq!(outcome["co_resident"], false, "{outcome:#}");
    assert_eq!(started(&outcome), [["a", "b"], ["a", "b"]], "{outcome:#}");
    drop(taken);

    place.change("rounds: 1", "rounds: 1\n  co_resident: false");
    let _ = place.replica(&["compare", "-y", "--anew"]).exits(0);
    let outcome = stored(&place);
    assert!(outcome["co_resident"].is_null(), "{outcome:#}");
    assert_eq!(started(&outcome)[1], ["a", "b"], "{outcome:#}");
}

#[test]
fn a_comparison_that_was_interrupted_goes_on_where_it_was() {
    let place = Workdir::measuring(ARMS);
    let running = place.begin(&["compare", "-y", "--json"]);
    until("the first block", || {
        let blocks = stored(&place)["blocks"].as_array().map_or(0, Vec::len);
        (blocks > 0).then_some(())
    });
    running.signal(Signal::INT);
    let said = running.end().exits(130).says("goes on from there").json();
    let before = stored(&place);
    let measured = before["blocks"].as_array().unwrap().clone();
    assert!(measured.len() < 4, "{before:#}");
    assert_eq!(said["state"], "interrupted", "{said:#}");
    assert_eq!(said["blocks"], before["blocks"], "{said:#}");
    assert!(
        said["measured"] == measured.len() && said["of"] == 4,
        "{said:#}"
    );
    let shown = place.replica(&["compare", "--show"]).exits(0);
    let _ = shown.shows("Not finished");
    let again = place.replica(&["compare", "-y"]).exits(0);
    let _ = again.shows("goes on where it was");
    let after = stored(&place);
    assert_eq!(after["started"], before["started"]);
    assert_eq!(
        after["blocks"].as_array().unwrap()[..measured.len()],
        measured[..]
    );
    assert_eq!(after["blocks"].as_array().unwrap().len(), 4);
}

#[test]
fn a_tuned_arm_has_the_best_of_its_values_and_the_search_is_kept() {
    let place = Workdir::measuring(ARMS);
    place.change("rounds: 2", "rounds: 1");
    place.change(
        "concurrency: 4, requests: 16",
        "concurrency: 32, requests: 64",
    );
    let tuned = "tune: {args: {max_num_seqs: [1, 32]}, by: chat}";
    place.change("split: {", &format!("tuned: {{{tuned}}}\n    split: {{"));
    let said = place.replica(&["compare", "-y"]).exits(0);
    let _ = said
        .says("tuning tuned: max_num_seqs 1")
        .says("tuning tuned: max_num_seqs 32");
    let tuned = &stored(&place)["arms"]["tuned"];
    // One at a time is many times slower than sixteen.
    assert_eq!(tuned["tuned"]["chosen"], 32, "{tuned:#}");
    assert_eq!(tuned["tuned"]["tried"].as_array().unwrap().len(), 2);
    assert_eq!(
        tuned["settings"]["instances"]["a"]["args"]["max_num_seqs"],
        32
    );
}

#[test]
fn a_search_for_a_value_goes_on_with_those_that_were_tried() {
    let place = Workdir::measuring(ARMS);
    place.change("rounds: 2", "rounds: 1");
    let tuned = "tune: {args: {max_num_seqs: [1, 2, 32]}, by: chat}";
    place.change("split: {", &format!("tuned: {{{tuned}}}\n    split: {{"));
    let running = place.begin(&["compare", "-y"]);
    let tried = || stored(&place)["arms"]["tuned"]["trying"].clone();
    until("the first value", || tried().is_array().then_some(()));
    running.signal(Signal::INT);
    let _ = running.end().exits(130).says("tried, 0 of 3 blocks");
    let before = tried();
    let again = place.replica(&["compare", "-y"]).exits(0);
    let _ = again.says("tuning tuned: max_num_seqs 1 was tried before");
    let after = stored(&place)["arms"]["tuned"].clone();
    let all = after["tuned"]["tried"].as_array().unwrap();
    assert_eq!(all.len(), 3, "{after:#}");
    let kept = before.as_array().unwrap();
    assert_eq!(all[..kept.len()], kept[..], "{after:#}");
    assert!(after["trying"].is_null(), "{after:#}");
}

#[test]
fn an_arm_that_cannot_be_made_stops_the_comparison_and_what_was_measured_stays() {
    let place = Workdir::measuring(ARMS);
    let broken = "broken: {instances: {b: {args: {sim_fail_loading: oom}}}}";
    place.change("    split: {", &format!("    {broken}\n    split: {{"));
    let said = place.replica(&["compare", "-y", "--json"]).exits(1);
    let said = said.says("could not be made").says("instance.b").json();
    assert!(said["state"] == "refused" && said["of"] == 6, "{said:#}");
    assert_eq!(said["measured"], said["blocks"].as_array().unwrap().len());
    assert_eq!(said["error"]["code"], "refused", "{said:#}");
}

#[test]
fn what_is_to_be_expected_is_said_without_a_node() {
    let place = Workdir::with(ARMS);
    let said = place.replica(&["compare", "--predict"]).exits(0);
    let _ = said.shows("simulated").shows("split beside replicated");
    let foretold = place
        .replica(&["compare", "--predict", "--json"])
        .exits(0)
        .json();
    assert_eq!(foretold["cells"][0]["metric"], "output_tps", "{foretold:#}");
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn a_manifest_without_arms_compares_nothing() {
    let place = Workdir::with(PAIR);
    let _ = place
        .replica(&["compare", "-y"])
        .exits(1)
        .says("declare the arms under `compare:`");
    assert!(process::marked(&place.topology).is_empty());
}
