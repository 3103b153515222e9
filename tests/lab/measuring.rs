//! Measurements whose requests are sent from a node.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change, pending};
use super::stage::{scenario, skip, until};

const SECRET: &str = "sk-lab-0123456789abcdef";

/// Notes every process whose command line holds the secret, its own left out.
const SAMPLER: &str = "\
touch /tmp/sampling
while [ -e /tmp/sampling ]; do
    grep -al '[s]k-lab-0123456789' /proc/[0-9]*/cmdline >>/tmp/seen 2>/dev/null
    echo >>/tmp/samples
done
";

/// The demo with a benchmark.
fn measured(benchmark: &str) -> String {
    format!(
        "{DEMO}benchmarks:\n  load: {{prompts: {{inline: [Hello]}}, max_tokens: 16, {benchmark}}}\n"
    )
}

/// A load that is under way for as long as anybody wants to interrupt it.
fn long() -> String {
    measured("load: {rate: 20/s, duration: 180s}")
}

/// The newest result of the benchmark.
fn result(laptop: &Laptop) -> Value {
    let folder = laptop.folder().join("results/demo/load");
    let files = fs::read_dir(&folder).expect("there are results");
    let files = files.map(|entry| entry.expect("it can be listed").path());
    let is_result = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".json") && name != "latest.json"
    };
    let newest = files.filter(is_result).max().expect("there is a result");
    serde_json::from_slice(&fs::read(newest).expect("it can be read")).expect("it is JSON")
}

/// The generators that run on a host.
fn generators(lab: &Lab, host: &str) -> String {
    lab.exec(host, "grep -al '[s]end-load' /proc/[0-9]*/cmdline || true")
}

/// How many requests a server has answered.
fn answered(authority: &str) -> f64 {
    let mut stream = TcpStream::connect(authority).expect("it listens");
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    let counts = page
        .lines()
        .filter(|line| line.starts_with("vllm:request_success_total"));
    let numbers = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    numbers.sum()
}

/// Waits until a measurement is well under way.
fn until_it_sends(lab: &Lab, host: &str) {
    until("the generator runs", || !generators(lab, host).is_empty());
    until("requests that count are answered", || {
        answered("10.77.0.11:8100") >= 30.0
    });
}

/// The node of the proxy sends unless another is named, and the plan, the table and the result say it.
#[test]
fn requests_are_sent_from_the_node_of_the_proxy_or_the_one_that_is_named() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &measured("load: {sequential: 6}, repeats: 1"));
        laptop
            .replica("plan")
            .exits(0)
            .shows("measured from controller");
        laptop.applies().shows("from controller");
        let sent = result(&laptop);
        assert_eq!(sent["client"]["node"], "controller");
        let host = lab.exec("controller", "uname -n");
        assert_eq!(sent["client"]["host"], host.trim());
        assert_eq!(sent["points"][0]["counts"]["ok"], 6);
        assert_eq!(sent["points"][0]["by_instance"]["a"]["n"], 3);
        // The controller waits for the word while this machine looks at the servers' nodes.
        let begun = sent["conditions"]["begun"].as_object().expect("it is told");
        let looked_at: Vec<&String> = begun.keys().collect();
        assert_eq!(looked_at, ["spark-01", "spark-02"]);
        assert_eq!(generators(lab, "controller"), "");
        laptop.is_converged();

        laptop.declares(&measured(
            "load: {sequential: 6}, repeats: 1, from: spark-02",
        ));
        let plan = laptop.plan();
        assert_eq!(pending(&plan), ["create benchmark.load"]);
        let change = change(&plan, "benchmark.load");
        assert_eq!(change["from"], "spark-02");
        assert_eq!(change["fields"][0]["path"], "from");
        assert_eq!(change["fields"][0]["old"], "controller");
        laptop.applies();
        assert_eq!(result(&laptop)["client"]["node"], "spark-02");

        laptop.declares(&measured("load: {sequential: 6}, repeats: 1, from: local"));
        laptop.replica("plan").exits(0).shows("measured from here");
        laptop.applies();
        assert_eq!(result(&laptop)["client"]["node"], Value::Null);
        laptop.is_converged();
    });
}

/// A node that has nothing else of ours gets the program, and loses it with the rest.
#[test]
fn a_node_that_only_sends_has_the_program_for_it() {
    scenario("4", |lab| {
        let more = "  controller: {ssh: controller";
        let node = format!("  spark-03: {{ssh: spark-03, addresses: {{lan: 10.77.0.13}}}}\n{more}");
        let manifest = measured("load: {sequential: 2}, from: spark-03").replace(more, &node);
        let laptop = Laptop::with(lab, &manifest);
        let plan = laptop.plan();
        assert_eq!(change(&plan, "spark-03/program")["action"], "create");
        laptop.applies();
        assert_eq!(result(&laptop)["client"]["node"], "spark-03");
        laptop.is_converged();
        laptop.replica("destroy -y").exits(0);
        super::stage::is_bare(lab, "spark-03");
    });
}

/// A key travels to the node that sends, and is in no command line and no file of it.
#[test]
fn a_key_is_shown_from_the_node_and_stands_nowhere_on_it() {
    scenario("3", |lab| {
        let env = "{simulate: {profile: fast}, env: {VLLM_API_KEY: {from_env: LAB_KEY}}}";
        let manifest = measured("load: {sequential: 6}, repeats: 1")
            .replace("{simulate: {profile: fast}}", env);
        let mut laptop = Laptop::with(lab, &manifest);
        laptop.exports("LAB_KEY", SECRET);
        let file = lab.folder().join("sampler");
        fs::write(&file, SAMPLER).unwrap();
        lab.install("controller", &file, "/opt/lab/sampler");
        lab.starts("controller", "sh /opt/lab/sampler");
        until("it samples", || {
            !lab.exec("controller", "cat /tmp/samples 2>/dev/null || true; echo .")
                .is_empty()
        });
        laptop.replica("apply -y -vv").exits(0).hides(SECRET);
        lab.exec("controller", "rm /tmp/sampling");
        assert_eq!(lab.exec("controller", "cat /tmp/seen"), "");
        let sent = result(&laptop);
        assert_eq!(sent["client"]["node"], "controller");
        assert_eq!(sent["points"][0]["counts"]["ok"], 6);
        assert!(!sent.to_string().contains(SECRET));
        let found = format!("grep -rlF {SECRET} /home /tmp /run /var 2>/dev/null || true");
        assert_eq!(lab.exec("controller", &found), "");
    });
}

/// Ctrl-C while a node sends: it stops there, and what was measured comes home.
#[test]
fn a_measurement_from_a_node_that_is_interrupted_keeps_what_it_has() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &long());
        let apply = laptop.starts("apply -y");
        until_it_sends(lab, "controller");
        apply.signal(Signal::INT);
        apply.ends().exits(130).shows("is kept in");
        let sent = result(&laptop);
        assert_eq!(sent["client"]["node"], "controller");
        let ended = sent["interrupted"]["ended"]
            .as_u64()
            .expect("it was interrupted");
        assert!(ended > 0, "{}", sent["interrupted"]);
        assert_eq!(sent["points"][0]["counts"]["ok"], ended);
        assert_eq!(generators(lab, "controller"), "");
    });
}

/// Killed as by a power cut: nobody is left whom the load is for, and it ends.
#[test]
fn no_load_is_sent_for_a_controller_that_is_gone() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &long());
        let apply = laptop.starts("apply -y");
        until_it_sends(lab, "controller");
        apply.dies();
        until("the generator is gone", || {
            generators(lab, "controller").is_empty()
        });
    });
}

/// A cable is pulled while a node sends, of which only the silence tells: both ends give up, each for
/// itself, and the next run measures.
#[test]
fn a_generator_whose_cable_is_pulled_ends_by_itself() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, &long());
        let apply = laptop.starts("apply -y");
        until_it_sends(lab, "controller");
        lab.does("cut controller");
        let done = apply.ends();
        let done = done.shows("the connection to `controller` was lost while it sent");
        done.shows("nothing of this measurement came home");
        until("the generator is gone", || {
            generators(lab, "controller").is_empty()
        });
        lab.does("heal");
        laptop.declares(&measured("load: {sequential: 2}"));
        laptop.applies();
        assert_eq!(result(&laptop)["client"]["node"], "controller");
    });
}

/// What fakes the wall clock of a program, if it is there.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = folders.map(|it| it.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists())
}

/// Times are read off a clock that nobody sets: an hour forth and two back in the midst of it change
/// nothing.
#[test]
fn a_clock_that_is_set_while_it_is_measured_changes_no_time() {
    scenario("3", |lab| {
        let Some(library) = faketime() else {
            return skip("a clock that is set", "needs libfaketime");
        };
        let mut laptop = Laptop::with(lab, DEMO);
        laptop.applies();
        let clock = laptop.folder().join("clock");
        fs::write(&clock, "+0").expect("the folder is ours");
        let variables = [
            ("LD_PRELOAD", library.to_str().expect("it is a plain path")),
            (
                "FAKETIME_TIMESTAMP_FILE",
                clock.to_str().expect("it is a plain path"),
            ),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        for (name, value) in variables {
            laptop.exports(name, value);
        }
        let said = laptop
            .starts("bench --url http://10.77.0.11:8100 --rate 20 --duration 6s --max-tokens 4");
        let before = answered("10.77.0.11:8100");
        let measured = |more: f64| answered("10.77.0.11:8100") >= before + more;
        for (more, set) in [(30.0, "+3600"), (70.0, "-3600")] {
            until("requests are answered", || measured(more));
            fs::write(&clock, set).expect("the folder is ours");
            let mut date = Command::new("date");
            let date = date.arg("+%s").envs(variables).output().expect("it runs");
            let date: i64 = String::from_utf8_lossy(&date.stdout)
                .trim()
                .parse()
                .unwrap();
            let now = jiff::Timestamp::now().as_second();
            assert!((date - now).abs() > 3500, "the clock is set: {date}, {now}");
        }
        said.ends();
        let folder = laptop.folder().join("results/10.77.0.11-8100/bench");
        let latest = fs::read(folder.join("latest.json")).expect("there is a result");
        let latest: Value = serde_json::from_slice(&latest).expect("it is JSON");
        let requests = latest["requests"].as_str().expect("it names its requests");
        let requests = fs::read_to_string(folder.join(requests)).expect("they are kept");
        let records: Vec<Value> = requests
            .lines()
            .map(|line| serde_json::from_str(line).expect("it is JSON"))
            .collect();
        assert!(records.len() >= 100, "{}", records.len());
        for record in records {
            assert_eq!(record["status"], "ok", "{record}");
            let stamps = record["stamps"].as_object().expect("there are stamps");
            let stamps: Vec<f64> = stamps.values().filter_map(Value::as_f64).collect();
            // In microseconds of one clock: none is an hour away from another.
            let least = stamps.iter().copied().fold(f64::MAX, f64::min);
            let most = stamps.iter().copied().fold(0.0, f64::max);
            assert!(most - least < 60e6 && most < 600e6, "{record}");
        }
    });
}
