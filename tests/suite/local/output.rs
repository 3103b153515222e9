//! Where requests go and what the model is called, of what serves now.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::{PAIR, SMALL};
use crate::suite::support::process::Signal;
use crate::suite::support::{Workdir, process, until};

#[test]
fn a_script_learns_where_to_ask_and_for_what() {
    let place = Workdir::with(PAIR).applied();
    let url = |index| format!("http://127.0.0.1:{}", place.port(index));
    let said = place.replica(&["output"]).exits(0);
    let lines = [
        format!("url        = \"{}\"\n", url(2)),
        "model      = \"demo\"\n".to_owned(),
        format!("instance.a = \"{}\"\n", url(0)),
        format!("instance.b = \"{}\"\n", url(1)),
        format!("proxy      = \"{}\"\n", url(2)),
    ];
    assert_eq!(said.out, lines.concat());
    let raw = |name| place.replica(&["output", "topology.yaml", name, "--raw"]);
    assert_eq!(raw("url").exits(0).out, url(2) + "\n");
    assert_eq!(raw("instance.b").exits(0).out, url(1) + "\n");
    let model = place.replica(&["output", "model"]).exits(0);
    assert_eq!(model.json(), "demo");
    let all = place.replica(&["output", "--json"]).exits(0).json();
    assert_eq!(all["url"], url(2).as_str());
    assert_eq!(all["instance.a"], url(0).as_str());
    let _ = place
        .replica(&["output", "uri"])
        .exits(1)
        .says("there is no output `uri`")
        .says("`url`");
    let _ = place.replica(&["output", "--raw"]).exits(64);
}

#[test]
fn what_does_not_serve_yet_is_an_error_that_says_how_to_go_on() {
    let place = Workdir::with(SMALL);
    for words in [
        &["output"][..],
        &["output", "url", "--raw"],
        &["output", "model"],
    ] {
        let said = place.replica(words).exits(1).says("it does not run");
        let said = said.says("`replica apply` starts what is declared");
        assert_eq!(said.out, "", "{said}");
    }
    let error = place.replica(&["output", "--json"]).exits(1).json();
    assert_eq!(error["error"]["code"], "refused");
}

#[test]
fn what_runs_counts_and_not_what_the_manifest_says_by_now() {
    let place = Workdir::with(PAIR).applied();
    let url = format!("http://127.0.0.1:{}\n", place.port(2));
    place.change(&format!("port: {}", place.port(2)), "port: 1");
    place.change("model: demo}", "model: other}");
    let raw = |name| place.replica(&["output", name, "--raw"]);
    assert_eq!(raw("url").exits(0).out, url);
    assert_eq!(raw("model").exits(0).out, "demo\n");
    process::signal(place.pid("/instances/a"), Signal::KILL);
    until("its death", || {
        let said = raw("instance.a");
        (said.code == Some(1)).then_some(())
    });
    // The other one goes on.
    let said = place.replica(&["output"]).exits(0).says("instance.a");
    assert!(!said.out.contains("instance.a"), "{said}");
    assert_eq!(raw("url").exits(0).out, url);
}

/// The line that begins so.
fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    let mut lines = text.lines().map(str::trim);
    let found = lines.find(|line| line.starts_with(begin));
    found.unwrap_or_else(|| panic!("no `{begin}` in\n{text}"))
}

#[test]
fn apply_ends_with_a_request_that_can_be_pasted_and_destroy_with_its_end() {
    let place = Workdir::with(SMALL);
    let url = format!("http://127.0.0.1:{}", place.port(2));
    let bin = place.work().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("curl"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    fs::set_permissions(bin.join("curl"), fs::Permissions::from_mode(0o755)).unwrap();
    // The first, and one that has nothing to do.
    for _ in 0..2 {
        let said = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
        assert_eq!(line(&said.out, "Ready:"), format!("Ready: demo at {url}"));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", line(&said.out, "curl ")]);
        place.settle(&mut shell);
        shell.env("PATH", &bin);
        let output = shell.output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let words: Vec<&str> = words.lines().collect();
        let body = r#"{"model":"demo","prompt":"Hello"}"#;
        let want = [
            &format!("{url}/v1/completions"),
            "-H",
            "Content-Type: application/json",
            "-d",
            body,
        ];
        assert_eq!(words, want);
    }
    let applied = place.replica(&["apply", "-y", "--json"]).exits(0).json();
    assert_eq!(applied["output"]["url"], url.as_str());
    assert_eq!(applied["output"]["model"], "demo");
    let _ = place
        .replica(&["destroy", "-y"])
        .exits(0)
        .shows(&format!("{url} is no longer served."));
    let again = place.replica(&["destroy", "-y"]).exits(0);
    assert!(!again.out.contains("no longer"), "{again}");
    let gone = place.replica(&["destroy", "-y", "--json"]).exits(0).json();
    assert_eq!(gone["output"], serde_json::json!({}));
}

#[test]
fn where_not_all_is_as_declared_nobody_is_invited() {
    let place = Workdir::with(SMALL);
    let stranger = std::net::TcpListener::bind(("127.0.0.1", place.port(0))).unwrap();
    let said = place.replica(&["apply", "-y", "--no-bench"]).exits(6);
    assert!(!said.out.contains("Ready:"), "{said}");
    drop(stranger);
}
