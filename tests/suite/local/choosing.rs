//! Part of a plan, what is to run anew, and plans that are kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use super::clients::Clients;
use super::{PAIR, SMALL};
use crate::suite::support::{Workdir, process};

/// What a command would do, as `action address`.
fn changes(document: &Value) -> Vec<String> {
    let changes = document["changes"].as_array().unwrap().iter();
    let acting = changes.filter(|it| it["action"] != "keep");
    let word = |it: &Value| it.as_str().unwrap().to_owned();
    acting
        .map(|it| format!("{} {}", word(&it["action"]), word(&it["address"])))
        .collect()
}

fn planned(place: &Workdir, words: &[&str]) -> Vec<String> {
    let words = [&["plan", "--json"], words].concat();
    changes(&place.replica(&words).exits(0).json())
}

#[test]
fn a_target_is_made_with_what_it_requires_and_nothing_else() {
    let place = Workdir::with(PAIR);
    let only = ["create here/program", "create here/instance.a"];
    assert_eq!(planned(&place, &["-target=instance.a"]), only);
    let _ = place
        .replica(&["apply", "-y", "-target=a"])
        .exits(0)
        .shows("Left out as asked, and would change: ");
    let status = place.status();
    assert_eq!(status["instances"]["a"]["ready"], true);
    assert_eq!(status["instances"]["b"]["pid"], Value::Null);
    assert_eq!(status["proxy"]["pid"], Value::Null);
    assert!(planned(&place, &["--target", "a"]).is_empty());
    let _ = place
        .replica(&["destroy", "-y", "-target=a"])
        .exits(0)
        .shows("here/program");
    assert_eq!(place.status()["instances"]["a"]["pid"], Value::Null);
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    assert!(process::marked(&place.topology).is_empty());
}

#[test]
fn what_nothing_goes_by_is_refused_with_what_there_is() {
    let place = Workdir::with(PAIR);
    for words in [
        ["-target=c", "`c`"],
        ["-replace=c", "`c`"],
        ["--limit=m", "`m`"],
    ] {
        let _ = place
            .replica(&["apply", "-y", words[0]])
            .exits(64)
            .says(words[1])
            .says("there is here");
    }
    let _ = place
        .replica(&["plan", "-replace=program"])
        .exits(64)
        .says("here/program is nothing that serves")
        .says("here/instance.a, here/instance.b and here/proxy can");
    assert!(process::marked(&place.topology).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_to_run_anew_does_once_and_no_request_fails() {
    let place = Workdir::with(PAIR).applied();
    let (a, b, proxy) = (
        place.pid("/instances/a"),
        place.pid("/instances/b"),
        place.pid("/proxy"),
    );
    let clients = Clients::begin(&place, 4).await;
    let words = [
        "apply",
        "-y",
        "--no-bench",
        "--json",
        "-replace=a",
        "-replace=b",
    ];
    let done = tokio::task::block_in_place(|| place.replica(&words).exits(0).json());
    assert_eq!(
        changes(&done),
        ["replace here/instance.a", "replace here/instance.b"]
    );
    assert_eq!(done["requests"]["failed"], 0, "{done:#}");
    assert_ne!(place.pid("/instances/a"), a);
    assert_ne!(place.pid("/instances/b"), b);
    assert_eq!(place.pid("/proxy"), proxy);
    assert!(place.plan().is_empty());
    let _ = tokio::task::block_in_place(|| {
        place
            .replica(&["restart", "-y", "proxy"])
            .exits(0)
            .shows("+/- replace: start, then stop")
            .shows("+/- proxy")
    });
    assert_eq!(clients.end().await, 0);
    assert_ne!(place.pid("/proxy"), proxy);
    assert!(place.plan().is_empty());
}

const B: &str = "engine: demo, model: demo}\nproxy";
const B_CHANGED: &str = "engine: demo, model: demo, args: {max_num_seqs: 64}}\nproxy";

#[test]
fn a_kept_plan_is_carried_out_as_it_was_seen_and_once() {
    let place = Workdir::with(PAIR).applied();
    let (a, b) = (place.pid("/instances/a"), place.pid("/instances/b"));
    place.change(B, B_CHANGED);
    let _ = place
        .replica(&["plan", "-out=next.plan", "-replace=a", "--no-bench"])
        .exits(0)
        .says("replica apply next.plan");
    let file = place.work().join("next.plan");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let _ = place
        .replica(&["apply", "next.plan", "-target=a"])
        .exits(64);
    // Nobody is asked: it was seen.
    let _ = place.replica(&["apply", "next.plan"]).exits(0);
    let now = (place.pid("/instances/a"), place.pid("/instances/b"));
    assert!(now.0 != a && now.1 != b);
    let _ = place
        .replica(&["apply", "next.plan"])
        .exits(0)
        .shows("No changes.");
    assert_eq!((place.pid("/instances/a"), place.pid("/instances/b")), now);
}

#[test]
fn a_kept_plan_is_refused_once_what_it_rests_on_moved() {
    let place = Workdir::with(PAIR).applied();
    place.change(B, B_CHANGED);
    let _ = place
        .replica(&["plan", "-out=next.plan", "--no-bench"])
        .exits(0);
    let _ = place
        .replica(&["apply", "-y", "--no-bench", "-replace=a", "-target=a"])
        .exits(0);
    let b = place.pid("/instances/b");
    let refused = place
        .replica(&["apply", "next.plan", "--json"])
        .exits(3)
        .json();
    assert_eq!(refused["error"]["code"], "stale");
    let moved = &refused["moved"][0];
    assert_eq!(moved["address"], "here/instance.a", "{refused:#}");
    assert!(moved["expected"].as_str().unwrap().contains("start 1, pid"));
    assert!(moved["found"].as_str().unwrap().contains("start 2, pid"));
    let _ = place
        .replica(&["apply", "next.plan"])
        .exits(3)
        .says("next.plan no longer holds")
        .says("here/instance.a: expected kept (start 1")
        .says("plan again");
    assert_eq!(place.pid("/instances/b"), b);
    let _ = place
        .replica(&["plan", "-out=next.plan", "--no-bench"])
        .exits(0);
    place.change("max_num_seqs: 64", "max_num_seqs: 32");
    let _ = place
        .replica(&["apply", "next.plan"])
        .exits(3)
        .says("was changed since");
    place.change("max_num_seqs: 32", "max_num_seqs: 64");
    let _ = place.replica(&["apply", "next.plan"]).exits(0);
    assert_ne!(place.pid("/instances/b"), b);
}

/// What was filled in when it was planned is filled in again, whatever is said by then.
#[test]
fn a_kept_plan_keeps_its_variables() {
    let place = Workdir::with(SMALL);
    place.change("model: demo}", "model: \"${NAME:-demo}\"}");
    let _ = place
        .replica(&["plan", "-out=next.plan", "-var", "NAME=other"])
        .exits(0);
    let _ = place
        .replica(&["apply", "next.plan", "-var", "NAME=another"])
        .exits(64)
        .says("--var when it is planned");
    let _ = place.replica(&["apply", "next.plan"]).exits(0);
    let _ = place
        .replica(&["plan", "--var=NAME=other"])
        .exits(0)
        .shows("No changes.");
    assert_eq!(place.plan().len(), 1, "the default is another");
}

#[test]
fn destroying_can_be_kept_too_and_what_is_no_whole_plan_is_none() {
    let place = Workdir::with(PAIR).applied();
    let _ = place
        .replica(&["plan", "--destroy", "-out=end.plan"])
        .exits(0);
    let text = place.read("end.plan");
    place.write(
        "other.plan",
        &text.replace("\"replica\": \"", "\"replica\": \"9"),
    );
    let _ = place
        .replica(&["apply", "other.plan"])
        .exits(1)
        .says("was written by replica 9");
    place.write("odd.plan", &text.replace("\"command\"", "\"comand\""));
    let _ = place
        .replica(&["apply", "odd.plan"])
        .exits(1)
        .says("is no whole plan");
    let _ = place.replica(&["apply", "end.plan"]).exits(0);
    assert!(process::marked(&place.topology).is_empty());
    let _ = place.replica(&["apply", "end.plan"]).exits(0);
    assert!(process::marked(&place.topology).is_empty());
}
