//! A comparison on real servers: two replicas, and the same two as they share each request.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::believed::is_of_time;
use super::installed::Installed;
use super::laptop::Laptop;
use super::stage::{is_bare, scenario};

/// How long a comparison may take: ten blocks, of which each takes some seconds where nobody else computes.
const PATIENCE: Duration = Duration::from_secs(600);

/// The sample with its cells as they are, of the tiny model on a host of the lab; without the arm that would
/// take a third of the time, and in shorter loads.
fn manifest(installed: &Installed) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/cpu-experiment.yaml");
    let mut text = fs::read_to_string(sample).expect("it is a sample");
    let (venv, hub) = (installed.venv(), installed.hub());
    let host = "here: {ssh: spark-01, addresses: {lan: 10.77.0.11}}";
    for (ours, theirs) in [
        ("topology: cpu-experiment", "topology: demo".to_owned()),
        ("here: {ssh: local}", host.to_owned()),
        (
            "~/.local/share/replica/vllm-cpu",
            venv.display().to_string(),
        ),
        (", torchaudio: 2.9.1", String::new()),
        ("    single: {proxy: {backends: [a]}}\n", String::new()),
        ("min: 2s", "min: 1s".to_owned()),
        (
            "repo: HuggingFaceTB/SmolLM2-135M-Instruct",
            format!(
                "repo: replica-test/tiny-llama\n    cache: {}",
                hub.display()
            ),
        ),
    ] {
        assert!(text.contains(ours), "the sample has no `{ours}`");
        text = text.replace(ours, &theirs);
    }
    text
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Every block was measured, of the same two servers, and says what it was measured of.
fn has_measured(compared: &Value) {
    assert_eq!(compared["state"], "measured", "{compared:#}");
    assert_eq!(
        (&compared["measured"], &compared["of"]),
        (&10.into(), &10.into())
    );
    assert_eq!(
        (&compared["on_cpus"], &compared["simulated"]),
        (&true.into(), &false.into())
    );
    for block in list(&compared["blocks"]) {
        assert_eq!(block["switch"]["started"], json!([]), "{block:#}");
        assert_eq!(list(&block["canaries"]).len(), 2, "{block:#}");
    }
    for (arm, facts) in compared["arms"].as_object().expect("there are arms") {
        assert_eq!(facts["gpus"], 0, "{arm}");
        let moved = &facts["moved"];
        let is_split = arm == "disaggregated";
        assert_eq!(is_split, !moved.is_null(), "{arm}: {moved:#}");
        if is_split {
            assert_eq!(moved["lost"], 0, "{moved:#}");
            // All that was read of a prompt was fetched.
            assert_eq!(moved["tokens"], moved["of_tokens"], "{moved:#}");
        }
    }
}

/// Expects of a block that is no pair that something in it took too long: `split, round 4: A4: …`.
fn is_of_time_or_cold(why: &str, said: &Value) {
    let words: Vec<_> = why.split(": ").collect();
    match words[..] {
        [_, "cold", ..] => {}
        // The load before it cannot be believed.
        [_, "not driven", _, rule, ..] => {
            is_of_time(rule.split(' ').next().unwrap_or_default(), said);
        }
        [_, rule, ..] => is_of_time(rule, said),
        _ => panic!("{why}: {said:#}"),
    }
}

/// What is said of a cell is a verdict, or why there is none; and that can only be how long something took.
fn has_said(cell: &Value) {
    let said = list(&cell["said"]);
    let arms: Vec<_> = said.iter().map(|it| &it["arm"]).collect();
    assert_eq!(arms, ["disaggregated"], "{cell:#}");
    for said in said {
        // In float32, what one engine writes and what two write is the same.
        let texts = &said["texts"]["between"];
        assert!(texts["asked"].as_u64() > Some(0), "{said:#}");
        assert_eq!(texts["answered"], texts["asked"], "{said:#}");
        let pairs = said["ratio"]["pairs"].as_u64().unwrap_or_default();
        let verdict = said["verdict"]["verdict"].as_str().unwrap_or_default();
        assert_eq!(pairs < 5, matches!(verdict, "too_few" | ""), "{said:#}");
        assert_eq!(pairs < 5, !list(&said["reasons"]).is_empty(), "{said:#}");
        for why in list(&said["reasons"]) {
            is_of_time_or_cold(why.as_str().unwrap_or_default(), said);
        }
    }
}

/// What people are shown of it: once in words, and once as a page.
fn is_shown(laptop: &Laptop, compared: &Value) {
    let worse = list(&compared["cells"]).iter().any(|cell| {
        let mut said = list(&cell["said"]).iter();
        said.any(|it| it["verdict"]["verdict"] == "worse")
    });
    laptop
        .replica("compare --show")
        .exits(if worse { 8 } else { 0 })
        .shows("demo: 2 arms compared · on CPUs")
        .shows("On CPUs: disaggregated beside replicated, of 2 cells:")
        .shows("prompt tokens were handed over");
    laptop
        .replica("report -o report.html")
        .exits(0)
        .hides("simulated");
    let page = fs::read_to_string(laptop.folder().join("report.html")).expect("it was written");
    assert!(page.contains("its numbers say nothing of a GPU"));
}

#[test]
#[ignore = "ten blocks take minutes, and more where others compute: `.ci/run all`"]
fn splitting_is_compared_on_real_servers_and_called_what_it_is() {
    let Some(installed) =
        Installed::alone("splitting_is_compared_on_real_servers_and_called_what_it_is")
    else {
        return;
    };
    scenario("1 --disk 1g", |lab| {
        let laptop = Laptop::with(lab, &manifest(&installed));
        let applied = laptop.starts("apply -y --no-bench");
        applied.ends_within(PATIENCE).exits(0);
        let engines: BTreeSet<_> = ["a", "b"]
            .map(|name| lab.leader("spark-01", &format!("instance/{name}")).pid)
            .into();
        let compared = laptop.starts("compare -y --json");
        let compared = compared.ends_within(PATIENCE).json();
        has_measured(&compared);
        let cells = list(&compared["cells"]);
        let loads: Vec<_> = cells.iter().map(|cell| &cell["load"]).collect();
        assert_eq!(loads, ["concurrency 1 x 4", "concurrency 4 x 16"]);
        cells.iter().for_each(has_said);
        is_shown(&laptop, &compared);
        let left: BTreeSet<_> = ["a", "b"]
            .map(|name| lab.leader("spark-01", &format!("instance/{name}")).pid)
            .into();
        assert_eq!(engines, left, "no arm restarts an engine");
        laptop.replica("destroy -y").exits(0);
        assert_eq!(lab.marked("spark-01", "v1:"), []);
        is_bare(lab, "spark-01");
    });
}
