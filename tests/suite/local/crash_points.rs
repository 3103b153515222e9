//! `kill -9` of a run at the beginning and at the end of every step of every sort of plan, none left out:
//! the next run comes to what an undisturbed one comes to. Minutes, so that it is asked for by name:
//! `cargo test --test suite -- --ignored crash_points --nocapture`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::PAIR;
use crate::suite::support::{Workdir, process};

/// From one manifest to another, or to nothing.
struct Way {
    name: &'static str,
    from: Option<&'static str>,
    to: Option<String>,
}

fn changed(old: &str, new: &str) -> String {
    assert!(PAIR.contains(old), "{old}");
    PAIR.replace(old, new)
}

fn swapped() -> String {
    let text = PAIR.replace("8100", "swapped").replace("8200", "8100");
    text.replace("swapped", "8200")
}

impl Way {
    /// A place as it is before, and the words that go the way.
    fn begin(&self) -> (Workdir, Vec<&'static str>) {
        let place = Workdir::with(self.from.unwrap_or(PAIR));
        let place = if self.from.is_some() {
            place.applied()
        } else {
            place
        };
        let words = if let Some(to) = &self.to {
            place.write("topology.yaml", &place.own(to));
            vec!["apply", "-y", "--json-events"]
        } else {
            vec!["destroy", "-y", "--json-events"]
        };
        (place, words)
    }

    /// How many moments there are, and what is there in the end of an undisturbed run.
    fn undisturbed(&self) -> (usize, Vec<String>) {
        let (place, words) = self.begin();
        let said = place.replica(&words).exits(0);
        let steps = said.out.lines().filter(|line| is_step(line)).count();
        (steps, end(&place))
    }

    /// Kills a run at a moment, and goes on from there.
    fn killed_at(&self, moment: usize, expected: &[String]) {
        let (place, words) = self.begin();
        // What is not ours, and looks like it.
        let mut stranger = Command::new("sleep");
        let stranger = stranger
            .arg("600")
            .env("REPLICA_MARK", "v1:another:instance/a:1:x");
        let mut stranger = stranger.spawn().unwrap();
        let mut run = place.command(&words);
        let mut run = run
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let steps = lines.map_while(Result::ok).filter(|line| is_step(line));
        let reached = steps.take(moment + 1).last();
        // Its own process alone, and no warning.
        let _ = run.kill();
        let _ = run.wait();
        let at = format!("{}, moment {moment}: {reached:?}", self.name);

        let again = place.replica(&words);
        assert_eq!(again.code, Some(0), "{at}\n{again}");
        if self.to.is_some() {
            assert_eq!(place.plan(), Vec::<String>::new(), "{at}");
        }
        assert_eq!(end(&place), expected, "{at}\n{again}");
        assert!(process::is_alive(stranger.id()), "{at}: not ours");
        let _ = stranger.kill();
        let _ = stranger.wait();
    }

    #[expect(
        clippy::print_stdout,
        reason = "how many moments there were is the result"
    )]
    fn is_gone_on_from_everywhere(&self) {
        let (moments, expected) = self.undisturbed();
        assert!(moments > 0, "{}", self.name);
        for moment in 0..moments {
            self.killed_at(moment, &expected);
        }
        println!("{}: killed at {moments} moments", self.name);
    }
}

fn is_step(line: &str) -> bool {
    let event: Option<Value> = serde_json::from_str(line).ok();
    event.is_some_and(|event| event["event"] == "step")
}

/// What runs of ours, whatever its process is called this time: each process once.
fn end(place: &Workdir) -> Vec<String> {
    let marked = process::marked(&place.topology);
    let mut all: Vec<String> = marked.iter().map(|pid| what_it_is(*pid)).collect();
    all.sort();
    all
}

/// The thing that a process is of, and what it is told to run with, without what is new each time.
fn what_it_is(pid: u32) -> String {
    let environ = process::environ(pid);
    let mark = environ
        .split('\0')
        .find(|it| it.starts_with("REPLICA_MARK="));
    let thing = mark
        .and_then(|mark| mark.split(':').nth(2))
        .unwrap_or_default()
        .to_owned();
    let command = process::command(pid);
    let flags = ["--max-num-seqs 64"]
        .iter()
        .filter(|flag| command.contains(**flag));
    let role = command
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    format!("{thing} {role} {}", flags.copied().collect::<String>())
}

macro_rules! ways {
    ($($test:ident: $name:literal from $from:expr, to $to:expr;)+) => {$(
        #[test]
        #[ignore = "minutes: `.ci/run all` plays it"]
        fn $test() {
            let way = Way { name: $name, from: $from, to: $to };
            way.is_gone_on_from_everywhere();
        }
    )+};
}

ways! {
    creating: "create" from None, to Some(PAIR.to_owned());
    replacing: "replace" from Some(PAIR), to Some(changed("sim_load_seconds: 0", "sim_load_seconds: 0, max_num_seqs: 64"));
    starting_first: "start first" from Some(PAIR), to Some(changed("port: 8100", "port: 5600"));
    swapping: "swap" from Some(PAIR), to Some(swapped());
    moving_the_proxy: "move the proxy" from Some(PAIR), to Some(changed("port: 8192", "port: 5600"));
    updating: "update" from Some(PAIR), to Some(changed("round_robin", "least_connections"));
    removing: "remove one" from Some(PAIR), to Some(changed("  b: {node: here, port: 8200, engine: demo, model: demo}\n", ""));
    destroying: "destroy" from Some(PAIR), to None;
}
