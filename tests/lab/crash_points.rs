//! `kill -9` of a run at the beginning and at the end of every step of every sort of plan, over SSH: the next
//! run comes to what an undisturbed one comes to, with no orphan, nothing twice, and nobody else's touched.
//! Many minutes, so that they are asked for by name:
//! `cargo test --test lab -- --ignored crash_points --nocapture`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::hosts::{Lab, Process};
use super::laptop::{DEMO, Laptop};
use super::stage::{eventually, is_bare, scenario};

const HOSTS: [&str; 3] = ["controller", "spark-01", "spark-02"];

/// From one manifest to another, or to nothing.
struct Way {
    from: Option<String>,
    to: Option<String>,
}

fn demo() -> String {
    let loading = "{args: {sim_load_seconds: 0}, simulate:";
    DEMO.replace("{simulate:", loading)
}

fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(demo(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}

/// What is under way.
struct Played<'a> {
    lab: &'a Lab,
    laptop: Laptop,
    way: &'a Way,
    strangers: Vec<(&'static str, Process)>,
}

impl Way {
    fn play(&self, lab: &Lab) {
        let played = Played {
            lab,
            laptop: Laptop::with(lab, &demo()),
            way: self,
            strangers: HOSTS.map(|host| (host, stranger(lab, host))).to_vec(),
        };
        played.is_gone_on_from_everywhere();
    }

    fn words(&self) -> &'static str {
        match self.to {
            Some(_) => "apply -y --json-events",
            None => "destroy -y --json-events",
        }
    }
}

/// What is not ours, and looks like it.
fn stranger(lab: &Lab, host: &str) -> Process {
    let mark = "v1:another:instance/a:1:x";
    let pid = lab.starts(host, &format!("env REPLICA_MARK={mark} sleep 100000"));
    eventually("it carries that mark", || {
        let mut all = lab.marked(host, mark);
        all.retain(|it| it.pid == pid && it.name == "sleep");
        all.pop()
    })
}

impl Played<'_> {
    /// Makes everything as it is before.
    fn begin(&self) {
        self.laptop.replica("destroy -y").exits(0);
        for host in HOSTS {
            is_bare(self.lab, host);
        }
        if let Some(from) = &self.way.from {
            self.laptop.declares(from);
            self.laptop.applies();
        }
        if let Some(to) = &self.way.to {
            self.laptop.declares(to);
        }
    }

    /// What runs of ours, and as what.
    fn end(&self) -> Vec<String> {
        let of_host = |host: &&'static str| {
            let marked = self.lab.marked(host, "v1:demo:");
            let told = marked.iter().map(|it| self.told(host, it));
            told.collect::<Vec<_>>()
        };
        let mut all: Vec<_> = HOSTS.iter().flat_map(of_host).collect();
        all.sort();
        all
    }

    fn told(&self, host: &str, process: &Process) -> String {
        let mark = process.mark.as_deref().unwrap_or_default();
        let thing = mark.split(':').nth(2).unwrap_or_default();
        let script = format!("tr '\\0' ' ' </proc/{}/cmdline", process.pid);
        let command = self.lab.exec(host, &script);
        let flag = |name: &str| {
            let after = command.split_once(name).map(|(_, after)| after);
            let value = after.and_then(|it| it.split_whitespace().next());
            value.unwrap_or_default().to_owned()
        };
        let (port, seats) = (flag("--port "), flag("--max-num-seqs "));
        format!("{host}: {thing} {} {port} {seats}", process.name)
    }

    /// How many moments there are, and what is there in the end of an undisturbed run.
    fn undisturbed(&self) -> (usize, Vec<String>) {
        self.begin();
        let said = self.laptop.replica(self.way.words()).exits(0);
        let steps = said.out.lines().filter(|line| is_step(line)).count();
        (steps, self.end())
    }

    /// Kills a run at a moment, and goes on from there.
    fn killed_at(&self, moment: usize, expected: &[String]) {
        self.begin();
        let mut run = self.laptop.command(self.way.words());
        let run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let reached = kill_at(&mut run.expect("replica can be run"), moment);
        let at = format!("moment {moment}: {reached:?}");

        let again = self.laptop.replica(self.way.words());
        assert!(again.is_done(), "{at}\n{again}");
        if self.way.to.is_some() {
            self.laptop.is_converged();
        }
        assert_eq!(self.end(), expected, "{at}\n{again}");
        for (host, stranger) in &self.strangers {
            assert!(self.lab.lives(host, stranger), "{at}: not ours");
        }
    }

    #[expect(
        clippy::print_stdout,
        reason = "how many moments there were is the result"
    )]
    fn is_gone_on_from_everywhere(&self) {
        let (moments, expected) = self.undisturbed();
        assert!(moments > 0);
        for moment in 0..moments {
            self.killed_at(moment, &expected);
        }
        println!("killed at {moments} moments");
    }
}

/// Waits until a run has come to its next step after so many, kills it, and says what it was at.
fn kill_at(run: &mut Child, moment: usize) -> Option<String> {
    let lines = BufReader::new(run.stdout.take().expect("it is a pipe")).lines();
    let steps = lines.map_while(Result::ok).filter(|line| is_step(line));
    let reached = steps.take(moment + 1).last();
    // Its own process alone, and no warning.
    let _ = run.kill();
    let _ = run.wait();
    reached
}

fn is_step(line: &str) -> bool {
    let event: Option<Value> = serde_json::from_str(line).ok();
    event.is_some_and(|event| event["event"] == "step")
}

macro_rules! ways {
    ($($test:ident: from $from:expr, to $to:expr;)+) => {$(
        #[test]
        #[ignore = "many minutes: `.ci/run all` plays it"]
        fn $test() {
            scenario("3", |lab| Way { from: $from, to: $to }.play(lab));
        }
    )+};
}

ways! {
    creating: from None, to Some(demo());
    replacing: from Some(demo()), to Some(changed(&[("sim_load_seconds: 0", "sim_load_seconds: 0, max_num_seqs: 64")]));
    moving: from Some(demo()), to Some(changed(&[("a: {node: spark-01,", "a: {node: spark-02,")]));
    swapping: from Some(demo()), to Some(changed(&[("a: {node: spark-01,", "a: {node: spark-0x,"), ("b: {node: spark-02,", "b: {node: spark-01,"), ("spark-0x,", "spark-02,")]));
    moving_the_proxy: from Some(demo()), to Some(changed(&[("port: 8192", "port: 5600")]));
    updating: from Some(demo()), to Some(changed(&[("port: 8192", "port: 8192, policy: least_connections")]));
    removing: from Some(demo()), to Some(changed(&[("  b: {node: spark-02, port: 8200, engine: demo, model: demo}\n", "")]));
    destroying: from Some(demo()), to None;
}
