//! `kill -9` of a run at the beginning and at the end of every step of every sort of plan, over SSH: the next
//! run comes to what an undisturbed one comes to, with no orphan, nothing twice, and nobody else's touched.
//! Many minutes, so that they are asked for by name:
//! `cargo test --test lab -- --ignored crash_points --nocapture`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::hosts::{Lab, Process};
use super::laptop::{DEMO, Laptop};
use super::stage::{eventually, is_bare, scenario};

const HOSTS: [&str; 3] = ["controller", "spark-01", "spark-02"];

/// From one manifest to another, or to nothing.
pub(super) struct Way {
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
pub(super) struct Played<'a> {
    lab: &'a Lab,
    laptop: Laptop,
    way: &'a Way,
    strangers: Vec<(&'static str, Process)>,
}

impl Way {
    pub(super) fn on<'a>(&'a self, lab: &'a Lab) -> Played<'a> {
        Played {
            lab,
            laptop: Laptop::with(lab, &demo()),
            way: self,
            strangers: HOSTS.map(|host| (host, stranger(lab, host))).to_vec(),
        }
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

    /// What an undisturbed run says and takes, and what is there in the end.
    pub(super) fn undisturbed(&self) -> Undisturbed {
        self.begin();
        let began = Instant::now();
        let said = self.laptop.replica(self.way.words()).exits(0);
        let steps = said.out.lines().filter(|line| is_step(line)).count();
        Undisturbed {
            steps,
            took: began.elapsed(),
            end: self.end(),
        }
    }

    /// Kills a run at a moment, and goes on from there.
    pub(super) fn killed_at(&self, moment: &Moment, expected: &[String]) {
        self.begin();
        let mut run = self.laptop.command(self.way.words());
        let run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let reached = moment.kill(&mut run.expect("replica can be run"));
        let at = format!("{moment:?}: {reached:?}");

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
        let Undisturbed { steps, end, .. } = self.undisturbed();
        assert!(steps > 0);
        for step in 0..steps {
            self.killed_at(&Moment::Step(step), &end);
        }
        println!("killed at {steps} moments");
    }
}

/// What comes of a run that nobody disturbs.
pub(super) struct Undisturbed {
    /// How many beginnings and ends of steps it has.
    pub(super) steps: usize,
    pub(super) took: Duration,
    /// What runs of ours then.
    pub(super) end: Vec<String>,
}

/// When a run is killed.
#[derive(Debug)]
pub(super) enum Moment {
    /// At its next beginning or end of a step after so many.
    Step(usize),
    /// So long after it was started.
    Time(Duration),
}

impl Moment {
    /// Waits for it, kills a run, and says what that was at.
    fn kill(&self, run: &mut Child) -> Option<String> {
        let lines = BufReader::new(run.stdout.take().expect("it is a pipe")).lines();
        let mut steps = lines.map_while(Result::ok).filter(|line| is_step(line));
        let reached = match self {
            Self::Step(before) => steps.by_ref().take(before + 1).last(),
            Self::Time(after) => {
                thread::sleep(*after);
                None
            }
        };
        // Its own process alone, and no warning.
        let _ = run.kill();
        let _ = run.wait();
        reached.or_else(|| steps.last())
    }
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
            scenario("3", |lab| {
                let way = Way { from: $from, to: $to };
                way.on(lab).is_gone_on_from_everywhere();
            });
        }
    )+

        /// All of them, by their names.
        pub(super) fn all() -> Vec<(&'static str, Way)> {
            vec![$((stringify!($test), Way { from: $from, to: $to })),+]
        }
    };
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
