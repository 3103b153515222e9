//! A machine that follows a run reads a line for each thing that happens.

use serde_json::Value;

use super::{PAIR, SMALL};
use crate::suite::support::{Said, Workdir};

fn lines(said: &Said) -> Vec<Value> {
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn named<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|it| it["event"] == event).collect()
}

#[test]
fn what_happens_is_a_line_each_and_the_last_is_the_result() {
    let place = Workdir::with(PAIR);
    let said = place.replica(&["apply", "-y", "-json-events"]).exits(0);
    let told = lines(&said);
    assert_eq!(told[0]["event"], "planned", "{said}");
    let planned = told[0]["plan"]["changes"].as_array().unwrap();
    assert!(
        planned.iter().all(|it| it["action"] == "create"),
        "{planned:?}"
    );
    for address in ["here/instance.a", "here/instance.b", "here/proxy"] {
        let of = |event| {
            let mut all = told.iter().enumerate();
            let found = all.find(|(_, it)| it["event"] == event && it["address"] == address);
            found
                .unwrap_or_else(|| panic!("{event} {address}: {said}"))
                .0
        };
        let (started, working, finished) = (of("started"), of("progress"), of("finished"));
        assert!(started < working && working < finished, "{said}");
    }
    let result = told.last().unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!(result["result"]["format"], "replica.apply/1");
    assert_eq!(result["result"]["converged"], true);
    assert_eq!(named(&told, "result").len(), 1);
    assert!(told.iter().all(|it| it["format"] == "replica.event/1"));

    let said = place.replica(&["destroy", "-y", "--json-events"]).exits(0);
    let told = lines(&said);
    assert_eq!(told[0]["plan"]["summary"]["destroy"], 4, "{said}");
    assert_eq!(named(&told, "finished").len(), 4, "{said}");
}

#[test]
fn what_fails_is_told_with_its_cause_and_a_refusal_is_a_result() {
    let place = Workdir::with(SMALL);
    place.change(
        "sim_load_seconds: 0",
        "sim_load_seconds: 0, sim_fail_loading: oom",
    );
    let said = place.replica(&["apply", "-y", "--json-events"]);
    let told = lines(&said);
    let failed = named(&told, "failed");
    assert_eq!(failed[0]["address"], "here/instance.a", "{said}");
    assert!(failed[0]["message"].is_string(), "{said}");
    assert!(!failed[0]["log"].as_array().unwrap().is_empty(), "{said}");

    place.write("wrong.yaml", "topology: [\n");
    let said = place.replica(&["apply", "wrong.yaml", "-y", "--json-events"]);
    let told = lines(&said.exits(65));
    assert_eq!(told.last().unwrap()["result"]["error"]["code"], "manifest");
    let _ = place
        .replica(&["apply", "--json", "--json-events"])
        .exits(64)
        .says("cannot be used with");
}

#[test]
fn one_after_another_is_what_a_parallelism_of_one_is() {
    let place = Workdir::with(PAIR);
    let words = ["apply", "-y", "--parallelism=1", "--json-events"];
    let said = place.replica(&words).exits(0);
    let told = lines(&said);
    let turns = told.iter().filter_map(|it| it["event"].as_str());
    let turns: Vec<&str> = turns
        .filter(|it| ["started", "finished"].contains(it))
        .collect();
    assert!(turns.len() >= 8, "{said}");
    assert!(
        turns.chunks(2).all(|it| it == ["started", "finished"]),
        "{turns:?}"
    );
    let _ = place
        .replica(&["apply", "-y", "--parallelism=0"])
        .exits(64)
        .says("--parallelism");
}
