//! What was measured is found again, shown, handed on and reported, and no node is asked for it.

use serde_json::Value;

use super::SMALL;
use crate::suite::support::Workdir;

/// A benchmark with the name of a command, and one that is held against its own newest result. Its
/// answers have one token: a busy machine merges the events of more, and a baseline that has a TPOT
/// would ask for it.
fn measuring() -> Workdir {
    let place = Workdir::measuring(&format!(
        "{SMALL}benchmarks:\n  \
         list: {{prompts: {{inline: [Hello]}}, load: {{sequential: 1}}, max_tokens: 16}}\n  \
         batch: {{prompts: {{inline: [Hello]}}, load: {{batch: 4}}, max_tokens: 1, \
         baseline: results/OWN/batch/latest.json}}\n",
    ));
    place.change("OWN", &place.topology);
    place
}

/// The keys of a document, and of one in it.
fn has_keys(document: &Value, keys: &[&str]) {
    for key in keys {
        assert!(document.get(key).is_some(), "{key}: {document:#}");
    }
}

#[test]
fn a_benchmark_is_held_against_its_own_newest_result_once_there_is_one() {
    let place = measuring();
    let first = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    let batch = &first["benchmarks"][1];
    assert_eq!(batch["job"]["name"], "batch");
    assert!(batch["comparison"].is_null(), "{batch:#}");
    let file = |result: &Value| {
        let requests = result["files"]["requests"].as_str().unwrap();
        requests.replace(".requests.jsonl", ".json")
    };
    let again = place.replica(&["bench", "topology.yaml", "batch", "--json"]);
    let again = again.exits(0).json();
    let compared = again[0]["comparison"]["baseline"].as_str().unwrap();
    assert!(compared.ends_with(&file(batch)), "{compared}");
    // Nothing is measured anew for it.
    let _ = place.replica(&["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn results_outlive_what_was_measured_and_are_shown_without_it() {
    let place = measuring();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    // A word after a manifest is a benchmark, whatever it is called; and so is a manifest.
    place.write("list", &place.read("topology.yaml"));
    let tagged = [
        "bench",
        "./list",
        "list",
        "--tag",
        "try=2",
        "--note",
        "warm <room>",
    ];
    let _ = place.replica(&tagged).exits(0).shows("try=2; warm <room>");
    let _ = place.replica(&["destroy", "-y"]).exits(0);

    let listed = place.replica(&["bench", "--json", "list"]).exits(0).json();
    let results = listed["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|it| it["benchmark"].as_str()).collect();
    assert_eq!(names, [Some("list"), Some("list"), Some("batch")]);
    let newest: Vec<_> = results.iter().map(|it| it["newest"] == true).collect();
    assert_eq!(newest, [true, false, true]);
    let with_tag = place.replica(&["bench", "list", "--tag", "try=2"]).exits(0);
    let _ = with_tag
        .shows("1 result of")
        .shows("simulated; try=2; warm <room>");

    let _ = place
        .replica(&["bench", "show", "batch"])
        .exits(0)
        .shows("batch 4")
        .shows("✓ valid");
    let kept = place
        .replica(&["bench", "show", "batch", "--json"])
        .exits(0)
        .json();
    let file: Value =
        serde_json::from_str(&place.read(results[2]["result"].as_str().unwrap())).unwrap();
    assert_eq!(kept, file);
    let table = place
        .replica(&["bench", "show", "--format", "csv"])
        .exits(0);
    assert_eq!(table.out.lines().count(), 3, "{table}");
    let both = place
        .replica(&["bench", "show", "--format", "notebook"])
        .exits(0)
        .json();
    has_keys(&both["single_request"], &["latency_ms", "tokens"]);
    has_keys(&both["batch_processing"], &["avg_latency_ms", "batch_size"]);

    // What is handed on in vLLM's form is a baseline.
    let theirs = place
        .replica(&["bench", "show", "batch", "--format", "vllm"])
        .exits(0);
    has_keys(
        &theirs.json(),
        &["mean_ttft_ms", "std_e2el_ms", "output_throughput"],
    );
    place.write("vllm.json", &theirs.out);
    let pointer = format!("results/{}/batch/latest.json", place.topology);
    place.change(&pointer, "vllm.json");
    let _ = place.replica(&["validate"]).exits(0);
}

#[test]
fn a_report_is_one_file_of_what_was_measured() {
    let place = measuring();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    let path = format!("results/{}/report.html", place.topology);
    let _ = place.replica(&["report"]).exits(0).shows(&path);
    let page = place.read(&path);
    for part in [
        "<!DOCTYPE html>",
        "(simulated)</h1>",
        "Requests in time",
        "<svg",
        "batch 4",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("src=") && !page.contains("<script"));
    // A result is enough, without its manifest.
    let latest = format!("results/{}/batch/latest.json", place.topology);
    let _ = std::fs::rename(
        place.work().join("topology.yaml"),
        place.work().join("away"),
    );
    let one = place
        .replica(&["report", &latest, "-o", "one.html", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&one["report"], &one["valid"]),
        (&"one.html".into(), &true.into())
    );
    let shown = place.replica(&["report", &latest, "-o", "-"]).exits(0);
    assert_eq!(shown.out, place.read("one.html"));
    let _ = place
        .replica(&["report", &latest, "-o", &latest])
        .exits(1)
        .says("would be overwritten");
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let place = measuring();
    let _ = place
        .replica(&["report"])
        .exits(1)
        .says("there is no result of")
        .says("replica apply");
    let _ = place
        .replica(&["bench", "list"])
        .exits(0)
        .shows("There is no such result");
    let _ = place
        .replica(&["bench", "show", "batch"])
        .exits(1)
        .says("there is no result of `batch` yet")
        .says("`replica bench batch` measures");
    let _ = place
        .replica(&["bench", "show", "none"])
        .exits(1)
        .says("there is no result of `none`, and no such file");
    let _ = place
        .replica(&["bench", "show", "--json", "--format", "csv"])
        .exits(64);
    let _ = place.replica(&["bench", "--tag", "a=b", "list"]).exits(64);
    let _ = place
        .replica(&["bench", "--tag", "a"])
        .exits(64)
        .says("KEY=VALUE");
}
