//! Each command does as its name promises, and says how it went by its exit code.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{PAIR, SMALL};
use crate::suite::support::{MANIFESTS, Terminal, Workdir, until};

#[test]
fn without_a_manifest_every_command_says_what_it_looked_for_and_how_to_begin() {
    let place = Workdir::empty();
    for words in [
        &["validate"][..],
        &["plan"],
        &["apply"],
        &["destroy"],
        &["status"],
        &["logs"],
        &["logs", "a"],
        &["bench"],
    ] {
        let said = place
            .replica(words)
            .exits(65)
            .says("there is no `topology.yaml` in this folder")
            .says("`replica schema`");
        // There is none that could be named.
        assert!(!said.err.contains("manifests/"), "{said}");
    }
}

#[test]
fn the_manifests_that_there_are_are_named() {
    let place = Workdir::with(SMALL);
    let text = place.read("topology.yaml");
    std::fs::create_dir(place.work().join("manifests")).unwrap();
    std::fs::rename(
        place.work().join("topology.yaml"),
        place.work().join("manifests/own.yaml"),
    )
    .unwrap();
    place.write("other.yml", &text);
    place.write("compose.yaml", "services: {}\n");
    let said = place.replica(&["plan"]).exits(65);
    let said = said.says("`other.yml`, `manifests/own.yaml`");
    assert!(!said.err.contains("compose"), "{said}");
    let _ = place
        .replica(&["plan", "manifests/onw.yaml"])
        .exits(65)
        .says("did you mean `manifests/own.yaml`?");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let place = Workdir::empty();
    let _ = place
        .replica(&["plan", "elsewhere.yaml"])
        .exits(65)
        .says("elsewhere.yaml");
}

#[test]
fn a_wrong_manifest_is_shown_with_line_and_nearest_word() {
    let place = Workdir::with(SMALL);
    place.change("proxy:", "proxi:");
    for command in ["validate", "plan", "apply", "destroy", "status"] {
        let said = place.replica(&[command]).exits(65);
        let _ = said.says("topology.yaml:6").says("proxi").says("`proxy`");
    }
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    let place = Workdir::empty();
    for words in [
        &["frobnicate"][..],
        &["plan", "--frobnicate"],
        &["plan", "a.yaml", "b.yaml"],
        &["logs", "--since", "yesterday"],
        &["logs", "--tail", "some"],
        &[],
    ] {
        let _ = place.replica(words).exits(64);
    }
    let _ = place.replica(&["--help"]).exits(0).shows("apply");
    let _ = place.replica(&["--version"]).exits(0).shows("replica ");
    let _ = place
        .replica(&["apply", "--help"])
        .exits(0)
        .shows("--no-bench");
}

#[test]
fn a_manifest_of_the_current_folder_needs_no_name() {
    let place = Workdir::with(SMALL);
    let _ = place.replica(&["validate"]).exits(0).shows("is valid");
    let said = place.replica(&["validate", "--json"]).exits(0);
    assert_eq!(said.json()["valid"], true);
    assert_eq!(said.json()["topology"], place.topology.as_str());
}

#[test]
fn what_is_declared_and_used_by_nothing_is_remarked_on() {
    let place = Workdir::with(SMALL);
    let old = "engines: {old: {simulate: {profile: fast}}, ";
    place.change("engines: {", old);
    let remark = "topology.yaml:3: no instance has the engine `old`";
    let _ = place.replica(&["validate"]).exits(0).says(remark);
    let _ = place.replica(&["plan"]).exits(0).says(remark);
    for command in ["validate", "plan"] {
        let said = place.replica(&[command, "--json"]).exits(0).json();
        let remark = &said["remarks"][0];
        assert_eq!(remark["severity"], "warning", "{said}");
        assert_eq!(
            (&remark["line"], &remark["column"]),
            (&3.into(), &11.into())
        );
    }
    let _ = place.replica(&["status"]).exits(0);
}

#[test]
fn terraforms_habits_hold() {
    let place = Workdir::with(SMALL);
    let _ = place.replica(&["plan", "-detailed-exitcode"]).exits(2);
    let _ = place
        .replica(&["apply", "-auto-approve", "-no-bench"])
        .exits(0);
    let _ = place.replica(&["plan", "-detailed-exitcode"]).exits(0);
    let _ = place.replica(&["destroy", "-auto-approve"]).exits(0);
}

#[test]
fn status_tells_before_during_and_after() {
    let place = Workdir::with(PAIR);
    let before = place.status();
    assert_eq!(before["converged"], false);
    assert_eq!(before["instances"]["a"]["ready"], false);
    assert_eq!(before["instances"]["a"]["pid"], serde_json::Value::Null);
    let place = place.applied();
    let during = place.status();
    assert_eq!(during["converged"], true, "{during:#}");
    assert_eq!(during["nodes"]["here"]["reachable"], true);
    let url = format!("http://127.0.0.1:{}", place.port(1));
    assert_eq!(during["instances"]["b"]["url"], url.as_str());
    assert_eq!(during["proxy"]["policy"], "round_robin");
    assert_eq!(during["proxy"]["backends"], serde_json::json!(["a", "b"]));
    let _ = place
        .replica(&["status"])
        .exits(0)
        .shows("instance.a")
        .shows("converged");
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    let _ = place.replica(&["status", "--exit-code"]).exits(2);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Workdir::with(PAIR).applied();
    for words in [
        "plan -v",
        "status --json",
        "schema",
        "logs a",
        "completions bash",
    ] {
        let line = format!(
            "set -o pipefail; {} {words} | head -1",
            env!("CARGO_BIN_EXE_replica")
        );
        let mut command = Command::new("bash");
        command.args(["-c", &line]);
        place.settle(&mut command);
        let output = command.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}: {err}");
        assert_eq!(err, "", "{words}");
        assert!(!output.stdout.is_empty(), "{words}");
    }
}

#[test]
fn the_schema_is_the_one_of_the_repository() {
    for (words, name) in [
        (&["schema"][..], "topology.json"),
        (&["schema", "--proxy"], "proxy.json"),
        (&["explain", "--all"], "KEYS.md"),
    ] {
        let said = Workdir::empty().replica(words).exits(0);
        let kept = std::fs::read_to_string(format!("{MANIFESTS}/../schemas/{name}"));
        assert_eq!(said.out, kept.unwrap());
    }
}

#[test]
fn a_status_that_is_watched_is_drawn_in_one_place_and_elsewhere_told_once() {
    let place = Workdir::with(SMALL).applied();
    let watched = Terminal::run(&place, 100, &["status", "--watch=1s"])
        .interrupted("A look every 1.0s; Ctrl-C ends it.");
    let (code, shown) = watched.end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("\x1b[H"), "{shown:?}");

    let file = place.work().join("seen");
    let mut command = place.command(&["status", "--watch=1s"]);
    command.stdout(File::create(&file).unwrap());
    let mut elsewhere = command.spawn().unwrap();
    let told = || fs::read_to_string(&file).unwrap();
    until("it is told", || told().contains("converged").then_some(()));
    // It looks again meanwhile, and sees nothing new.
    thread::sleep(Duration::from_secs(3));
    kill_process(Pid::from_child(&elsewhere), Signal::INT).unwrap();
    assert_eq!(elsewhere.wait().unwrap().code(), Some(0));
    assert_eq!(told().matches("converged").count(), 1, "{}", told());
    assert!(!told().contains('\x1b'), "{}", told());
    let _ = place.replica(&["status", "--watch", "--json"]).exits(64);
}

/// As bash asks, when somebody types this and presses Tab.
fn completed(place: &Workdir, typed: &str) -> Vec<String> {
    let program = env!("CARGO_BIN_EXE_replica");
    let script = format!(
        "PATH=${{1%/*}}:$PATH; source <(replica completions bash); \
         COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9; \
         _clap_complete_replica replica \"${{COMP_WORDS[COMP_CWORD]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", program]);
    place.settle(&mut command);
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    out.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_a_manifest_declares_is_completed() {
    let place = Workdir::with(PAIR);
    place.write("other.yaml", &PAIR.replace("  b:", "  other:"));
    place.write("notes.txt", "");
    for (typed, expected) in [
        ("replica drain inst", &["instance.a", "instance.b"][..]),
        ("replica drain other.yaml instance.o", &["instance.other"]),
        ("replica restart here/p", &["here/program", "here/proxy"]),
        ("replica plan --limit h", &["here"]),
        ("replica plan --target instance.b", &["instance.b"]),
        ("replica plan o", &["other.yaml"]),
        ("replica plan n", &[""]),
        ("replica expl", &["explain"]),
        // A manifest that cannot be read declares nothing.
        ("replica drain notes.yaml inst", &[""]),
    ] {
        assert_eq!(completed(&place, typed), expected, "{typed}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let place = Workdir::empty();
    let _ = place.replica(&["man"]).exits(0).shows(".TH replica 1");
    let _ = place.replica(&["man", "--json"]).exits(64);
    let _ = place.replica(&["man", "--out", "pages"]).exits(0);
    let _ = place.read("pages/replica.1");
    assert!(
        place
            .read("pages/replica-apply.1")
            .contains("replica\\-apply")
    );
}

#[test]
fn completions_are_there_for_every_shell() {
    let place = Workdir::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let _ = place
            .replica(&["completions", shell])
            .exits(0)
            .shows("replica")
            .shows("COMPLETE");
    }
    let script = place.replica(&["completions", "bash"]).exits(0).out;
    place.write("completions.bash", &script);
    let checked = Command::new("bash")
        .args(["-n", "completions.bash"])
        .current_dir(place.work())
        .output();
    assert!(checked.unwrap().status.success());
}

#[test]
fn with_json_the_standard_output_is_one_document() {
    let place = Workdir::with(SMALL);
    for words in [
        &["validate", "--json"][..],
        &["plan", "--json"],
        &["apply", "-y", "--json"],
        &["status", "--json"],
        &["destroy", "-y", "--json"],
    ] {
        let said = place.replica(words).exits(0);
        assert!(said.json().is_object(), "{said}");
    }
}

#[test]
fn a_manifest_may_come_through_a_pipe() {
    let place = Workdir::with(SMALL);
    for words in [
        "cat topology.yaml | $0 validate -",
        "cat topology.yaml | $0 validate /dev/stdin",
        "mkfifo pipe; cat topology.yaml >pipe & $0 plan pipe",
    ] {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", words, env!("CARGO_BIN_EXE_replica")]);
        place.settle(&mut shell);
        let said = shell.output().unwrap();
        assert!(said.status.success(), "{words}: {said:?}");
    }
    std::os::unix::fs::symlink("loop", place.work().join("loop")).unwrap();
    let _ = place
        .replica(&["validate", "loop"])
        .exits(65)
        .says("symbolic links");
}

#[test]
fn errors_are_documents_for_machines() {
    let place = Workdir::with(SMALL);
    place.change("port: ", "prot: ");
    let error = |words: &[&str], exit| place.replica(words).exits(exit).json();
    let said = error(&["validate", "--json"], 65);
    assert_eq!(said["format"], "replica.error/1", "{said:#}");
    assert_eq!(said["valid"], false);
    assert_eq!(said["error"]["code"], "manifest");
    assert_eq!(said["error"]["exit"], 65);
    assert_eq!(said["problems"][0]["message"], "unknown key `prot`");
    assert_eq!(said["problems"][0]["file"], "topology.yaml");
    assert_eq!(said["problems"][0]["line"], 5);
    assert_eq!(said["problems"][0]["hints"][0], "did you mean `port`?");
    assert_eq!(
        error(&["plan", "nope.yaml", "--json"], 65)["problems"][0]["line"],
        serde_json::Value::Null
    );
    place.change("prot: ", "port: ");
    assert_eq!(error(&["apply", "--json"], 1)["error"]["code"], "refused");
    assert_eq!(error(&["bench", "--json"], 1)["error"]["code"], "refused");
    for words in [
        &["plan", "--json", "--jsn"][..],
        &["completions", "bash", "--json"],
    ] {
        assert_eq!(error(words, 64)["error"]["code"], "usage");
    }
}
