//! The logs of what runs: which are shown, how much of them, and what comes to them.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::{PAIR, SMALL};
use crate::suite::support::process::Signal;
use crate::suite::support::{Terminal, Workdir, process, until};

#[test]
fn logs_are_found_by_every_way_to_say_an_address() {
    let place = Workdir::with(SMALL).applied();
    for address in ["a", "instance.a", "here/instance.a"] {
        let _ = place
            .replica(&["logs", address])
            .exits(0)
            .shows("Application startup complete.");
    }
    let _ = place.replica(&["logs", "proxy"]).exits(0);
    for words in [["-n", "1"], ["--tail", "1"], ["--lines", "1"]] {
        let said = place.replica(&[&["logs", "topology.yaml", "a"][..], &words].concat());
        assert_eq!(said.exits(0).out.lines().count(), 1);
    }
    let _ = place
        .replica(&["logs", "c"])
        .exits(1)
        .says("no log of `c`")
        .says("here/instance.a")
        .says("`c` is no file");
}

#[test]
fn logs_are_followed_as_they_grow() {
    let place = Workdir::with(SMALL).applied();
    let mut child = place
        .command(&["logs", "a", "-f", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut seen = [0; 1];
    out.read_exact(&mut seen).unwrap();
    // What the server is asked now, its log tells later.
    let _ = place.replica(&["status"]).exits(0);
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut bytes = [0; 1024];
        while !String::from_utf8_lossy(&text).contains("/v1/models") {
            let n = out.read(&mut bytes).unwrap();
            assert_ne!(n, 0, "it ended: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&bytes[..n]);
        }
    });
    until("the line", || reader.is_finished().then_some(()));
    reader.join().unwrap();
    process::signal(child.id(), Signal::INT);
    // Never where a shell runs the tests in the background: its jobs ignore an interrupt.
    until("the end of `logs`", || child.try_wait().unwrap());
    let readers = until_no_reader(&place);
    assert!(readers.is_empty(), "still reading: {readers:?}");
}

/// What still reads logs of this place, once it had the time to end: scripts run in its home.
fn until_no_reader(place: &Workdir) -> Vec<u32> {
    let home = place.home().canonicalize().unwrap();
    let readers = || -> Vec<u32> {
        fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                let folder = fs::read_link(format!("/proc/{pid}/cwd"));
                folder.is_ok_and(|it| it == home) && process::command(*pid).starts_with("sh -s")
            })
            .collect()
    };
    until("the end of the script", || {
        readers().is_empty().then_some(())
    });
    readers()
}

/// Adds to the log of the first start of a thing.
fn append(place: &Workdir, thing: &str, text: &str) {
    let path = place.state().join(format!("log/{thing}.1.log"));
    let mut log = OpenOptions::new().append(true).open(path).unwrap();
    log.write_all(text.as_bytes()).unwrap();
}

#[test]
fn without_an_address_all_of_the_topology_is_shown() {
    let place = Workdir::with(PAIR).applied();
    let starts = |words: &[&str]| -> Vec<String> {
        let said = place.replica(words).exits(0);
        let lines = said.out.lines();
        lines
            .map(|line| {
                line.split_once(" | ")
                    .unwrap_or(("", line))
                    .0
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    let all = ["here/instance.a", "here/instance.b", "here/proxy"];
    assert_eq!(starts(&["logs", "-n", "1"]), all);
    assert_eq!(starts(&["logs", "topology.yaml", "-n", "1"]), all);
    assert_eq!(starts(&["logs", "b", "a", "-n", "1"]), all[..2]);
    assert_eq!(starts(&["logs", "b", "-n", "1"]), [""]);
    assert_eq!(starts(&["logs", "-n", "0"]), Vec::<String>::new());
}

#[test]
fn the_first_word_is_a_manifest_or_an_address() {
    let place = Workdir::with(SMALL).applied();
    fs::rename(
        place.work().join("topology.yaml"),
        place.work().join("t.yml"),
    )
    .unwrap();
    let _ = place
        .replica(&["logs", "t.yml", "a"])
        .exits(0)
        .shows("Application startup complete.");
    let mut shell = Command::new("sh");
    shell.args(["-c", "$0 logs - a < t.yml", env!("CARGO_BIN_EXE_replica")]);
    place.settle(&mut shell);
    assert!(shell.output().unwrap().status.success());
    let _ = place
        .replica(&["logs", "t.yaml", "a"])
        .exits(65)
        .says("there is no file `t.yaml`");
    let _ = place
        .replica(&["logs", "a"])
        .exits(65)
        .says("there is no `topology.yaml` in this folder")
        .says("`a` was taken for an address: there is no such file");
    fs::rename(
        place.work().join("t.yml"),
        place.work().join("topology.yaml"),
    )
    .unwrap();
}

#[test]
fn before_anything_has_a_log_it_is_said_how_to_begin() {
    let place = Workdir::with(SMALL);
    let _ = place
        .replica(&["logs"])
        .exits(1)
        .says("has a log yet")
        .says("`replica apply`");
}

#[test]
fn an_instance_that_is_named_proxy_is_told_from_the_proxy() {
    let place = Workdir::with(&SMALL.replace("  a: ", "  proxy: ")).applied();
    let first = |address| place.replica(&["logs", address]).exits(0).out;
    assert!(first("instance.proxy").contains("Application startup complete."));
    assert!(!first("proxy").contains("Application startup complete."));
    assert_eq!(first("here/proxy"), first("proxy"));
}

#[test]
fn lines_are_shown_since_a_time() {
    let place = Workdir::with(SMALL).applied();
    append(
        &place,
        "instance.a",
        "INFO 01-02 03:04:05 [x.py:1] of long ago\n  and more\n",
    );
    let since = |since: &str, tail: &[&str]| {
        let words = [&["logs", "a", "--since", since][..], tail].concat();
        place.replica(&words).exits(0).out
    };
    let recent = since("1h", &[]);
    assert!(recent.contains("[api_server.py"), "{recent}");
    assert!(
        !recent.contains("of long ago") && !recent.contains("and more"),
        "{recent}"
    );
    assert_eq!(since("1h", &["-n", "2"]).lines().count(), 2);
    assert_eq!(since("2099-01-01", &[]), "");
}

#[test]
fn for_a_machine_each_line_is_a_document() {
    let place = Workdir::with(SMALL).applied();
    append(&place, "instance.a", "\x1b[31mred\x1b[0m \x1b[2J\u{202e}\n");
    let said = place.replica(&["logs", "--json"]).exits(0);
    assert!(!said.out.contains(['\x1b', '\u{202e}']), "{said:?}");
    let lines = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    assert!(lines.iter().any(|line| line["address"] == "here/proxy"));
    assert!(lines.iter().any(|line| line["time"].is_string()), "{said}");
    let of_a = lines
        .iter()
        .rfind(|line| line["address"] == "here/instance.a");
    let line = "red \x1b[2J\u{202e}";
    let want = serde_json::json!({"address": "here/instance.a", "node": "here", "generation": 1, "line": line});
    assert_eq!(of_a, Some(&want));
    let error = place.replica(&["logs", "c", "--json"]).exits(1).json();
    assert_eq!(error["error"]["code"], "refused");
}

#[test]
fn colours_are_for_terminals_and_steering_is_for_nobody() {
    let place = Workdir::with(SMALL).applied();
    let line = "\x1b[0;36mblue\x1b[0;0m \x1b[2J\u{9b}2J \x1b[8mhidden\n";
    append(&place, "instance.a", line);
    let words = ["logs", "a"];
    // What the server says meanwhile stands behind it.
    let appended = |text: &str| {
        let lines = text.lines().filter(|line| line.contains("hidden"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let plain = "blue \\x1b[2J\\u{9b}2J hidden";
    let said = place.replica(&words).exits(0).out;
    assert_eq!(appended(&said), [plain]);
    assert!(!said.contains(['\x1b', '\u{9b}']), "{said:?}");
    let (code, seen) = Terminal::run(&place, 100, &words).end();
    assert_eq!(code, Some(0), "{seen}");
    let coloured = plain.replace("blue", "\x1b[0;36mblue\x1b[0;0m");
    assert_eq!(appended(&seen), [coloured]);
    let place = place.env("NO_COLOR", "1");
    let (_, seen) = Terminal::run(&place, 100, &words).end();
    assert_eq!(appended(&seen), [plain]);
    assert!(!seen.contains(['\x1b', '\u{9b}']), "{seen:?}");
}

#[test]
fn who_follows_sees_the_next_start_of_what_is_replaced() {
    let place = Workdir::with(PAIR).applied();
    let mut child = place
        .command(&["logs", "-f", "--json", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (sender, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in out.lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let is_new = line["generation"] == 2;
            let text = line["line"].as_str().unwrap_or_default();
            let is_up = text.contains("Application startup complete.");
            let _ = sender.send(());
            if is_new && is_up && line["address"] == "here/instance.b" {
                return;
            }
        }
        panic!("it ended");
    });
    // Only what comes after it has begun is followed.
    seen.recv().unwrap();
    append(&place, "instance.b", "a line that has");
    place.change(
        "sim_load_seconds: 0",
        "sim_load_seconds: 0, max_num_seqs: 7",
    );
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    until("the next start", || reader.is_finished().then_some(()));
    reader.join().unwrap();
    process::signal(child.id(), Signal::INT);
    until("the end of `logs`", || child.try_wait().unwrap());
}

/// A log that has become long gives its middle back to the disk: its beginning and its end are there, and
/// who follows it misses nothing.
#[test]
fn a_long_log_is_kept_short_and_who_follows_sees_every_line() {
    let place = Workdir::with(SMALL).applied();
    let mut child = place
        .command(&["logs", "a", "-f", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // Only what comes after it has begun is followed.
    out.read_line(&mut String::new()).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&seen);
    let reader = std::thread::spawn(move || {
        for line in out.lines() {
            let line = line.unwrap();
            let Some(number) = line.strip_prefix("line ") else {
                continue;
            };
            let number = number.split(' ').next().unwrap().parse::<u64>().unwrap();
            assert_eq!(number, counted.fetch_add(1, Ordering::SeqCst));
        }
    });
    let note = place.state().join("log/instance.a.1.pruned");
    let more = "x".repeat(8000);
    let mut next = 0;
    until("its middle is given back", || {
        let lines = (next..next + 100).map(|number| format!("line {number} {more}\n"));
        // Nobody who reads is far behind.
        if seen.load(Ordering::SeqCst) + 1000 > next {
            append(&place, "instance.a", &lines.collect::<String>());
            next += 100;
        }
        note.exists().then_some(())
    });
    append(&place, "instance.a", &format!("line {next} is the last\n"));
    until("all was followed", || {
        assert!(!reader.is_finished(), "a line was missed");
        (seen.load(Ordering::SeqCst) == next + 1).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();

    let end = place.replica(&["logs", "a", "-n", "3"]).exits(0);
    let _ = end.shows(&format!("line {next} is the last"));
    // The note is there a moment before the room is given back.
    until("its room is given back", || {
        let log = fs::metadata(place.state().join("log/instance.a.1.log")).unwrap();
        assert!(log.len() > 64 << 20);
        (log.blocks() * 512 < 40 << 20).then_some(())
    });
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    assert!(!note.exists());
}

#[test]
fn who_follows_ends_where_nobody_reads() {
    let place = Workdir::with(SMALL).applied();
    let mut child = place
        .command(&["logs", "-f", "-n", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut first).unwrap();
    drop(out);
    until("its end", || {
        append(&place, "instance.a", "more\n");
        child.try_wait().unwrap()
    });
}

/// What is in backticks of a line and begins with our name.
fn command_in(text: &str) -> &str {
    let begun = text.split_once("`replica ").expect("no command").1;
    begun.split_once('`').expect("no end").0
}

#[test]
fn a_command_in_a_hint_can_be_pasted() {
    let place = Workdir::with(SMALL);
    let file = "it's mine.yaml";
    let measured =
        "benchmarks: {x: {prompts: {inline: [a]}, load: {sequential: 1}, timeout: 1ms}}\n";
    let text = place.read("topology.yaml") + measured;
    // Its first token takes longer than a measurement waits.
    let text = text.replace("profile: fast", "profile: gb10-llama-3.1-8b");
    place.write(file, &text);
    let run = |words: &str| {
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            &format!("\"$0\" {words}"),
            env!("CARGO_BIN_EXE_replica"),
        ]);
        place.settle(&mut shell);
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let said = place.replica(&["logs", file]).exits(1);
    let words = command_in(&said.err);
    assert!(words.starts_with("apply "), "{words}");
    let (code, said) = run(&format!("{words} -y"));
    assert_eq!(code, Some(6), "{said}");
    let words = command_in(&said);
    assert_eq!(words, r"logs 'it'\''s mine.yaml' instance.a");
    let (code, said) = run(words);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Application startup complete."), "{said}");
}
