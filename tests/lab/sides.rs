//! Two servers on two hosts that share requests, simulated or real: what dies of them and when, and what
//! each client has of that.

use std::time::Duration;

use super::hosts::{Lab, Process};
use super::laptop::Laptop;
use super::sharing::{Answer, Asked, Question, Said, prompt};
use super::stage::until;
use super::traffic::Traffic;

/// How long replacing a side may take: a real server starts in minutes where others compute.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) const PROXY: &str = "192.168.1.75:8192";
pub(super) const A: Side = Side {
    name: "a",
    host: "spark-01",
    port: 8100,
    authority: "192.168.1.76:8100",
};
pub(super) const B: Side = Side {
    name: "b",
    host: "spark-02",
    port: 8200,
    authority: "192.168.1.77:8200",
};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) port: u16,
    pub(super) authority: &'static str,
}

/// What of a server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Api,
    Engine,
}

impl Side {
    pub(super) fn api(self, lab: &Lab) -> Process {
        lab.leader(self.host, &format!("instance/{}", self.name))
    }

    pub(super) fn part(self, lab: &Lab, part: Part) -> Process {
        let api = self.api(lab);
        if part == Part::Api {
            return api;
        }
        lab.engine(self.host, &api)
    }

    pub(super) fn signal(self, lab: &Lab, process: &Process, name: &str) {
        lab.signals(self.host, process, name);
    }

    pub(super) fn kills(self, lab: &Lab, part: Part) {
        self.signal(lab, &self.part(lab, part), "KILL");
    }

    /// Asks for an answer to one of the prompts from a number on, and waits until that lies unread at this
    /// side's server, which stands still.
    pub(super) fn asked_and_unread(self, lab: &Lab, nth: u32) -> (Known, Asked) {
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
            let answer = asked.ends();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        panic!("no connection was used again");
    }
}

/// What was asked, and what is to be answered.
pub(super) struct Known {
    pub(super) question: Question,
    pub(super) own: Said,
}

impl Known {
    /// Another prompt for each number, of which nobody but the one that reads prompts has heard.
    pub(super) fn of(nth: u32, length: u32, tokens: u32) -> Self {
        let question = Question::completion(&prompt(nth, length), tokens);
        let own = question.ask(A.authority).said();
        Self { question, own }
    }

    pub(super) fn streamed(self) -> Self {
        Self {
            question: self.question.streamed(),
            ..self
        }
    }

    /// All of it is answered, and who had which part of it.
    pub(super) fn is_answered(&self, answer: &Answer, read: &str, written: &str) {
        assert_eq!(
            answer.told(),
            (200, Some(read), Some(written)),
            "{answer:?}"
        );
        assert!(answer.is_whole, "{answer:?}");
        assert_eq!(answer.said(), self.own, "{answer:?}");
    }

    /// A beginning of it is answered.
    pub(super) fn is_begun(&self, answer: &Answer) {
        assert_eq!(answer.told(), (200, Some("a"), Some("b")), "{answer:?}");
        let said = answer.said().text;
        assert!(
            !said.is_empty() && said.len() < self.own.text.len(),
            "{answer:?}"
        );
        assert!(self.own.text.starts_with(&said), "{answer:?}");
    }

    /// It is sent to nobody else, now or later.
    pub(super) fn is_given_up(&self, answer: &Answer, status: u16, kind: &str) {
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
pub(super) fn mends(lab: &Lab, laptop: &Laptop, side: Side, died: &Process) {
    // The one whose engine died sees off who is there, and leaves then.
    until("it is gone", || !lab.lives(side.host, died));
    laptop.applies();
    laptop.is_converged();
    let known = Known::of(89, 40, 20);
    known.is_answered(&known.question.ask(PROXY), "a", "b");
}

/// The one that reads prompts dies as it reads one, as a whole or its engine alone.
pub(super) fn reader_dies_reading(lab: &Lab, laptop: &Laptop) {
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
        mends(lab, laptop, A, &api);
    }
}

/// The one that has read a prompt dies before it was fetched, as a whole or its engine alone. `outlived` is by
/// whom it counts as read where the API server dies alone: real engines hand over all the same.
pub(super) fn reader_dies_holding(lab: &Lab, laptop: &Laptop, outlived: &str) {
    for (nth, part, read) in [(31, Part::Engine, "none"), (21, Part::Api, outlived)] {
        let api = A.api(lab);
        let (known, asked) = B.asked_and_unread(lab, nth);
        A.kills(lab, part);
        B.signal(lab, &B.api(lab), "CONT");
        // What cannot be fetched any more is read again by who answers.
        known.is_answered(&asked.ends(), read, "b");
        mends(lab, laptop, A, &api);
    }
}

/// The one that has read a prompt dies as another writes the answer, as a whole or its engine alone.
pub(super) fn reader_dies_beside(lab: &Lab, laptop: &Laptop, long: u32) {
    for (nth, part) in [(41, Part::Api), (51, Part::Engine)] {
        let api = A.api(lab);
        let known = Known::of(nth, 60, long).streamed();
        let victim = A.part(lab, part);
        let kill = lab.aims(A.host, &victim, "KILL");
        let mut asked = known.question.put(PROXY);
        asked.has_events(3);
        kill.fires();
        known.is_answered(&asked.ends(), "a", "b");
        mends(lab, laptop, A, &api);
    }
}

/// The one that writes answers dies before it has read what is asked, as a whole or its engine alone.
pub(super) fn writer_dies_asked(lab: &Lab, laptop: &Laptop) {
    for (nth, part) in [(61, Part::Api), (71, Part::Engine)] {
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
        mends(lab, laptop, B, &api);
    }
}

/// The one that writes answers dies as it writes one, as a whole or its engine alone.
pub(super) fn writer_dies_answering(lab: &Lab, laptop: &Laptop, long: u32) {
    for (nth, part) in [(21, Part::Api), (31, Part::Engine)] {
        let api = B.api(lab);
        let known = Known::of(nth, 60, long).streamed();
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
        mends(lab, laptop, B, &api);
    }
}

/// So many clients that ask one thing after another, streamed or not, and know what is to be answered.
pub(super) fn load(clients: usize) -> Traffic {
    let known: Vec<_> = (0..12)
        .map(|nth| Known::of(nth, 30 * (nth + 1), 40))
        .collect();
    Traffic::of(clients, move |turn| {
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

pub(super) fn moves_on(traffic: &Traffic) {
    let before = traffic.served();
    until("requests are served", || traffic.served() > before + 8);
}

/// Under load, a changed argument replaces each side, and both of them at once, and no request fails.
pub(super) fn are_replaced_under_load(lab: &Lab, laptop: &Laptop, manifest: &str, clients: usize) {
    let traffic = load(clients);
    moves_on(&traffic);
    let few = |text: &str, port: &str, count: u32| {
        text.replace(port, &format!("{port}, args: {{max_num_seqs: {count}}}"))
    };
    let one = few(manifest, "port: 8100", 32);
    let other = few(&one, "port: 8200", 32);
    let both = few(&few(manifest, "port: 8100", 16), "port: 8200", 16);
    for (manifest, replaced) in [(&one, vec![A]), (&other, vec![B]), (&both, vec![A, B])] {
        let before: Vec<_> = replaced.iter().map(|side| side.api(lab)).collect();
        laptop.declares(manifest);
        let applied = laptop.starts("apply -y --json").ends_within(PATIENCE);
        let applied = applied.exits(0).json();
        assert_eq!(applied["requests"]["failed"], 0, "{applied:#}");
        for (side, old) in replaced.iter().zip(&before) {
            assert!(!lab.lives(side.host, old), "{side:?}");
        }
        moves_on(&traffic);
    }
    assert_eq!(traffic.ends(), Vec::<String>::new());
    let known = Known::of(87, 300, 20);
    known.is_answered(&known.question.ask(PROXY), "a", "b");
}
