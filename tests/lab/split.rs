//! Prefill and decode split between two hosts.

use super::hosts::{Lab, Process};
use super::laptop::Laptop;
use super::sharing::{Answer, Asked, Question, Said, answers_as_one, counted, prompt};
use super::stage::{is_bare, scenario, until};
use super::traffic::Traffic;

/// One host reads prompts, another writes answers, and what is computed goes over the fabric.
const SPLIT: &str = "\
topology: demo
nodes:
  controller: {ssh: controller, addresses: {lan: 192.168.1.75}}
  spark-01: {ssh: spark-01, addresses: {lan: 192.168.1.76, fabric: 192.168.100.10}}
  spark-02: {ssh: spark-02, addresses: {lan: 192.168.1.77, fabric: 192.168.100.11}}
engines:
  demo: {simulate: {profile: fast}}
kv: {connector: nixl, buffer: cpu, port: 5600, lease: 60s}
instances:
  a: {node: spark-01, port: 8100, engine: demo, model: demo, role: prefill}
  b: {node: spark-02, port: 8200, engine: demo, model: demo, role: decode}
proxy: {node: controller, port: 8192, reach: lan}
";

const PROXY: &str = "192.168.1.75:8192";
const A: Side = Side {
    name: "a",
    host: "spark-01",
    port: 8100,
    authority: "192.168.1.76:8100",
};
const B: Side = Side {
    name: "b",
    host: "spark-02",
    port: 8200,
    authority: "192.168.1.77:8200",
};

/// The tokens of an answer that takes seconds.
const LONG: u32 = 3900;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    name: &'static str,
    host: &'static str,
    port: u16,
    authority: &'static str,
}

/// What of a server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Api,
    Engine,
}

impl Side {
    fn api(self, lab: &Lab) -> Process {
        lab.leader(self.host, &format!("instance/{}", self.name))
    }

    fn part(self, lab: &Lab, part: Part) -> Process {
        let api = self.api(lab);
        if part == Part::Api {
            return api;
        }
        lab.engine(self.host, &api)
    }

    fn signal(self, lab: &Lab, process: &Process, name: &str) {
        lab.signals(self.host, process, name);
    }

    fn kills(self, lab: &Lab, part: Part) {
        self.signal(lab, &self.part(lab, part), "KILL");
    }

    /// Asks for an answer to one of the prompts from a number on, and waits until that lies unread at this
    /// side's server, which stands still.
    fn asked_and_unread(self, lab: &Lab, nth: u32) -> (Known, Asked) {
        let api = self.api(lab);
        for nth in nth..nth + 8 {
            let known = Known::of(nth, 900, 20);
            // On a connection that was used just now, it is sent before anything is heard.
            let before = Question::completion(&prompt(88, 40), 1).ask(PROXY);
            assert_eq!(before.status, 200, "{before:?}");
            self.signal(lab, &api, "STOP");
            let asked = known.question.put(PROXY);
            // Nothing else that it is sent is as long.
            if lab.has_unread(self.host, self.port, 400) {
                return (known, asked);
            }
            // The proxy wants to hear first who is there.
            self.signal(lab, &api, "CONT");
            assert_eq!(asked.ends().status, 200);
        }
        panic!("no connection was used again");
    }
}

/// What was asked, and what is to be answered.
struct Known {
    question: Question,
    own: Said,
}

impl Known {
    /// Another prompt for each number, of which nobody but the one that reads prompts has heard.
    fn of(nth: u32, length: u32, tokens: u32) -> Self {
        let question = Question::completion(&prompt(nth, length), tokens);
        let own = question.ask(A.authority).said();
        Self { question, own }
    }

    fn streamed(self) -> Self {
        Self {
            question: self.question.streamed(),
            ..self
        }
    }

    /// All of it is answered, and who had which part of it.
    fn is_answered(&self, answer: &Answer, read: &str, written: &str) {
        assert_eq!(
            answer.told(),
            (200, Some(read), Some(written)),
            "{answer:?}"
        );
        assert!(answer.is_whole, "{answer:?}");
        assert_eq!(answer.said(), self.own, "{answer:?}");
    }

    /// A beginning of it is answered.
    fn is_begun(&self, answer: &Answer) {
        assert_eq!(answer.told(), (200, Some("a"), Some("b")), "{answer:?}");
        let said = answer.said().text;
        assert!(
            !said.is_empty() && said.len() < self.own.text.len(),
            "{answer:?}"
        );
        assert!(self.own.text.starts_with(&said), "{answer:?}");
    }

    /// It is sent to nobody else, now or later.
    fn is_given_up(&self, answer: &Answer, status: u16, kind: &str) {
        assert_eq!(answer.refused(), (status, kind.to_owned()), "{answer:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{answer:?}");
        let again = self.question.ask(PROXY);
        assert_eq!(
            again.refused(),
            (502, "upstream_died".to_owned()),
            "{again:?}"
        );
    }
}

/// Makes it whole again after a death, and returns when all is shared as before.
fn mends(lab: &Lab, laptop: &Laptop, side: Side, died: &Process) {
    // The one whose engine died sees off who is there, and leaves then.
    until("it is gone", || !lab.lives(side.host, died));
    laptop.applies();
    laptop.is_converged();
    let known = Known::of(89, 40, 20);
    known.is_answered(&known.question.ask(PROXY), "a", "b");
}

/// What one host has read is fetched by another over the fabric, and the answers are those of one server.
#[test]
fn a_prompt_is_read_on_one_host_and_answered_on_another() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        laptop.is_converged();
        for (side, address) in [(A, "0A64A8C0"), (B, "0B64A8C0")] {
            let listening = format!("grep -c ' {address}:15E0 00000000:0000 0A ' /proc/net/tcp");
            assert_eq!(lab.exec(side.host, &listening), "1", "{side:?}");
        }
        let hits = || counted(B.authority, "vllm:external_prefix_cache_hits_total");
        let before = hits();
        let read = answers_as_one(PROXY, A.authority, &[5, 16, 127, 128, 129, 300, 600, 1000]);
        assert!(hits() - before >= read as f64, "{} {before} {read}", hits());
        assert!(counted(B.authority, "vllm:nixl_bytes_transferred_sum") > 0.0);
        until("nothing is held for anybody", || {
            counted(PROXY, "replica_proxy_handoff_unfetched") < 1.0
                && counted(A.authority, "vllm:kv_cache_usage_perc") == 0.0
        });

        laptop.replica("destroy -y").exits(0);
        for (host, port) in [
            ("controller", 8192),
            (A.host, 8100),
            (B.host, 8200),
            (A.host, 5600),
        ] {
            assert_eq!(lab.marked(host, "v1:"), [], "{host}");
            assert_eq!(lab.listeners(host, port), 0, "{host}");
            is_bare(lab, host);
        }
    });
}

/// The one that reads prompts dies, as a whole or its engine alone.
#[test]
fn who_dies_as_it_reads_a_prompt_costs_that_request_alone() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (nth, part) in [(1, Part::Api), (11, Part::Engine)] {
            let api = A.api(lab);
            let other = Known::of(nth + 9, 60, 20);
            let (known, asked) = A.asked_and_unread(lab, nth);
            A.kills(lab, part);
            if part == Part::Engine {
                A.signal(lab, &api, "CONT");
                known.is_given_up(&asked.ends(), 500, "Internal Server Error");
            } else {
                known.is_given_up(&asked.ends(), 502, "upstream_broken");
            }
            until("it is gone", || !lab.lives(A.host, &api));
            other.is_answered(&other.question.ask(PROXY), "none", "b");
            mends(lab, &laptop, A, &api);
        }
        for (nth, part) in [(21, Part::Api), (31, Part::Engine)] {
            // What cannot be fetched any more is read again by who answers.
            let api = A.api(lab);
            let (known, asked) = B.asked_and_unread(lab, nth);
            A.kills(lab, part);
            B.signal(lab, &B.api(lab), "CONT");
            known.is_answered(&asked.ends(), "none", "b");
            mends(lab, &laptop, A, &api);
        }
        for (nth, part) in [(41, Part::Api), (51, Part::Engine)] {
            let api = A.api(lab);
            let known = Known::of(nth, 60, LONG).streamed();
            let victim = A.part(lab, part);
            let kill = lab.aims(A.host, &victim, "KILL");
            let mut asked = known.question.put(PROXY);
            asked.has_events(3);
            kill.fires();
            known.is_answered(&asked.ends(), "a", "b");
            mends(lab, &laptop, A, &api);
        }
        laptop.replica("destroy -y").exits(0);
    });
}

/// The one that writes answers dies, as a whole or its engine alone.
#[test]
fn who_dies_as_it_answers_costs_that_request_alone() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (nth, part) in [(1, Part::Api), (11, Part::Engine)] {
            let api = B.api(lab);
            let other = Known::of(nth + 9, 60, 20);
            let (known, asked) = B.asked_and_unread(lab, nth);
            B.kills(lab, part);
            if part == Part::Engine {
                B.signal(lab, &api, "CONT");
                known.is_given_up(&asked.ends(), 500, "Internal Server Error");
            } else {
                known.is_given_up(&asked.ends(), 502, "upstream_broken");
            }
            until("it is gone", || !lab.lives(B.host, &api));
            other.is_answered(&other.question.ask(PROXY), "none", "a");
            mends(lab, &laptop, B, &api);
        }
        for (nth, part) in [(21, Part::Api), (31, Part::Engine)] {
            let api = B.api(lab);
            let known = Known::of(nth, 60, LONG).streamed();
            let victim = B.part(lab, part);
            let kill = lab.aims(B.host, &victim, "KILL");
            let mut asked = known.question.put(PROXY);
            asked.has_events(3);
            kill.fires();
            let answer = asked.ends();
            known.is_begun(&answer);
            if part == Part::Engine {
                // So vLLM itself ends it.
                assert!(answer.is_whole, "{answer:?}");
                let end = "See stack trace (above) for the root cause.";
                assert!(answer.body.contains(end), "{answer:?}");
            } else {
                assert!(
                    !answer.is_whole && !answer.body.contains("[DONE]"),
                    "{answer:?}"
                );
                assert!(answer.body.contains("\"upstream_broken\""), "{answer:?}");
            }
            mends(lab, &laptop, B, &api);
        }
        laptop.replica("destroy -y").exits(0);
    });
}

/// Whoever dies while nobody asks for anything is missed by nobody.
#[test]
fn one_that_died_at_rest_is_done_without_until_it_is_back() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (nth, side, part) in [
            (1, A, Part::Api),
            (2, A, Part::Engine),
            (3, B, Part::Api),
            (4, B, Part::Engine),
        ] {
            let known = Known::of(nth, 300, 20);
            let (api, engine) = (side.api(lab), side.part(lab, Part::Engine));
            side.kills(lab, part);
            until("it is gone", || !lab.lives(side.host, &api));
            let left = if side == A { "b" } else { "a" };
            known.is_answered(&known.question.ask(PROXY), "none", left);
            mends(lab, &laptop, side, &api);
            assert!(!lab.lives(side.host, &engine), "{side:?} {part:?}");
        }
    });
}

/// So many ask at once.
const CLIENTS: usize = 4;

/// Clients that ask one thing after another, streamed or not, and know what is to be answered.
fn load() -> Traffic {
    let known: Vec<_> = (0..12)
        .map(|nth| Known::of(nth, 30 * (nth + 1), 40))
        .collect();
    Traffic::of(CLIENTS, move |turn| {
        let Known { question, own } = &known[turn % known.len()];
        let answer = match turn % 2 {
            0 => question.ask(PROXY),
            _ => question.streamed().ask(PROXY),
        };
        if answer.status == 200 && answer.is_whole && answer.said() == *own {
            return Ok(());
        }
        Err(format!("{answer:?}"))
    })
}

fn moves_on(traffic: &Traffic) {
    let before = traffic.served();
    until("requests are served", || traffic.served() > before + 8);
}

/// Under load, a changed argument replaces each side, and both of them at once, and no request fails.
#[test]
fn each_side_is_replaced_under_load_and_fails_no_request() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        let traffic = load();
        moves_on(&traffic);
        let few = |text: &str, port: &str, count: u32| {
            text.replace(port, &format!("{port}, args: {{max_num_seqs: {count}}}"))
        };
        let one = few(SPLIT, "port: 8100", 32);
        let other = few(&one, "port: 8200", 32);
        let both = few(&few(SPLIT, "port: 8100", 16), "port: 8200", 16);
        for (manifest, replaced) in [(&one, vec![A]), (&other, vec![B]), (&both, vec![A, B])] {
            let before: Vec<_> = replaced.iter().map(|side| side.api(lab)).collect();
            laptop.declares(manifest);
            let applied = laptop.replica("apply -y --json").exits(0).json();
            assert_eq!(applied["requests"]["failed"], 0, "{applied:#}");
            for (side, old) in replaced.iter().zip(&before) {
                assert!(!lab.lives(side.host, old), "{side:?}");
            }
            moves_on(&traffic);
        }
        assert_eq!(traffic.ends(), Vec::<String>::new());
        let known = Known::of(87, 300, 20);
        known.is_answered(&known.question.ask(PROXY), "a", "b");
        laptop.is_converged();
    });
}

/// Whether a client is told of a death as it should be: by an answer that is an error, or by a stream that
/// ends in one.
fn tells_of_a_death(answer: &str) -> bool {
    let ends = [
        "\\\"upstream_broken\\\"",
        "\\\"upstream_died\\\"",
        "EngineCore encountered an issue.",
    ];
    ends.iter().any(|end| answer.contains(end))
}

/// Under load, a death costs no more than what was in flight there, and each client is told.
#[test]
fn a_death_under_load_costs_what_was_in_flight_there() {
    scenario("3 --seed", |lab| {
        let laptop = Laptop::with(lab, SPLIT);
        laptop.applies();
        for (side, part) in [
            (A, Part::Api),
            (B, Part::Api),
            (A, Part::Engine),
            (B, Part::Engine),
        ] {
            let traffic = load();
            moves_on(&traffic);
            let api = side.api(lab);
            side.kills(lab, part);
            until("it is gone", || !lab.lives(side.host, &api));
            moves_on(&traffic);
            laptop.applies();
            moves_on(&traffic);
            let failed = traffic.ends();
            let untold = failed.iter().find(|it| !tells_of_a_death(it));
            assert_eq!(untold, None, "{side:?} {part:?}");
            // Whose stream broke may ask once more before the proxy has looked why.
            assert!(
                failed.len() <= 2 * CLIENTS,
                "{side:?} {part:?}: {failed:#?}"
            );
            laptop.is_converged();
            // What is held against requests goes with the proxy.
            laptop.replica("destroy -y").exits(0);
            laptop.applies();
        }
    });
}
