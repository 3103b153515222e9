//! What a manifest writes, what a server is given, and what is compared: a number's text reaches the
//! command line, and what it means is what a server carries and is known by.

use replica::plan::effect::Launch;
use replica::plan::{Effect, Step};
use replica::resource::Topology;

use super::model::{Model, topology};

/// Numbers in every way to write them.
const WRITTEN: &str = "
topology: upgraded
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {gpu-memory-utilization: 0.30, seed: 012, max_num_batched_tokens: 0x1000}, env: {HALF: 0.50}}}
instances:
  a: {node: here, port: 28511, engine: demo, model: demo, args: {max_num_seqs: +16, swap_space: 1e0, kv_transfer_config: {kv_role: kv_both, kv_buffer_size: 1.0e9, kv_rank: 0o7}, max_logprobs: 1_0, cudagraph_capture_sizes: [1, 2.0], enforce_eager: true}}
";

/// What 0.1 at ac09ff6 started for it: the value of `REPLICA_SPEC`.
const SPEC: &str = r#"{"model":"demo","listen":{"host":"127.0.0.1","port":28511},"engine":{"simulate":{"profile":"fast"}},"args":{"cudagraph_capture_sizes":[1,2.0],"enforce_eager":true,"gpu_memory_utilization":0.3,"kv_transfer_config":{"kv_role":"kv_both","kv_buffer_size":1000000000.0,"kv_rank":7},"max_logprobs":"1_0","max_num_batched_tokens":4096,"max_num_seqs":16,"seed":12,"swap_space":1.0},"env":{"HALF":"0.50"}}"#;

/// The same, the value of `REPLICA_MARK` but for the generation.
const FINGERPRINT: &str = "2ab0a9e2a481";

fn launched(topology: &Topology) -> Launch {
    let plan = Model::new(topology).plan(topology);
    let mut starts = plan.steps.iter().filter_map(|step| match &step.effect {
        Effect::Launch(launch) if launch.mark.contains(":instance/a:") => Some((**launch).clone()),
        _ => None,
    });
    starts.next().expect("the instance is started")
}

#[test]
fn a_server_is_given_numbers_as_they_were_written() {
    let launch = launched(&topology(WRITTEN));
    let words: Vec<_> = launch.argv.iter().map(String::as_str).collect();
    let from = words.iter().position(|word| word.starts_with("replica-"));
    assert_eq!(
        words[from.unwrap() + 1..].join(" "),
        "--cudagraph-capture-sizes 1 2.0 --enforce-eager --gpu-memory-utilization 0.30 \
         --kv-transfer-config {\"kv_role\":\"kv_both\",\"kv_buffer_size\":1.0e9,\"kv_rank\":7} \
         --max-logprobs 1_0 --max-num-batched-tokens 4096 --max-num-seqs +16 --seed 012 \
         --swap-space 1e0"
    );
    assert_eq!(launch.env["HALF"], "0.50");
}

#[test]
fn what_a_server_carries_is_what_older_versions_wrote() {
    let launch = launched(&topology(WRITTEN));
    assert_eq!(launch.spec, SPEC);
    assert_eq!(
        launch.mark,
        format!("v1:upgraded:instance/a:1:{FINGERPRINT}")
    );
}

#[test]
fn another_way_to_write_a_number_plans_nothing() {
    let written = topology(WRITTEN);
    let mut model = Model::new(&written);
    model.perform(&model.plan(&written));
    let others = [
        ("0.30", "0.3"),
        ("0.30", "3e-1"),
        ("012", "12"),
        ("0x1000", "4096"),
        ("1.0e9", "1000000000"),
        ("1e0", "1"),
    ];
    for (one, other) in others {
        let rewritten = topology(&WRITTEN.replace(one, other));
        let plan = model.plan(&rewritten);
        assert!(plan.is_converged(), "{one} -> {other}: {:?}", plan.changes);
    }
    let changed = topology(&WRITTEN.replace("0.30", "0.31"));
    assert!(!model.plan(&changed).is_converged());
}

/// Durations with units.
const TIMED: &str = "
topology: timed
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}}}
instances:
  a: {node: here, port: 28512, engine: demo, model: demo, ready_timeout: 1h30m}
proxy: {node: here, port: 28513, timeouts: {connect: 2500ms, idle: 10m}}
benchmarks:
  one: {prompts: {inline: [hello]}, load: {sequential: 1}, timeout: 2m}
";

#[test]
fn others_are_told_durations_in_seconds() {
    let timed = topology(TIMED);
    let plan = Model::new(&timed).plan(&timed);
    let describe: Vec<_> = plan.steps.iter().filter_map(seconds).collect();
    let expected = [
        "loading may stand still for 5400s",
        r#"{"connect":2.5,"idle":600.0}"#,
        "a request may take 120.0",
    ];
    assert_eq!(describe, expected);
    let plain = TIMED.replace("2500ms", "2.5").replace("10m", "600");
    let mut model = Model::new(&timed);
    model.perform(&plan);
    model.perform(&model.plan(&timed));
    let left = model.plan(&topology(&plain));
    let changed = left.changes.iter().find(|change| change.action.acts());
    assert_eq!(
        changed.map(|change| change.address.kind.as_str()),
        Some("benchmark")
    );
}

/// What a step says of the durations that were declared.
fn seconds(step: &Step) -> Option<String> {
    match &step.effect {
        Effect::WaitReady(ready) if ready.patience.as_secs() > 60 => {
            Some(format!("loading may stand still for {:?}", ready.patience))
        }
        Effect::ProxyControl(control) => {
            let request = serde_json::to_value(&control.request).unwrap();
            Some(request.pointer("/configure/timeouts")?.to_string())
        }
        Effect::Measure(job) => Some(format!("a request may take {:?}", job.timeout_s)),
        _ => None,
    }
}
