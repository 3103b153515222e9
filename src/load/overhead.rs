//! What the generator itself costs: the times that it measures of a server whose truth is known.
//!
//! Before a measurement, and beside nothing else, the thread that sends asks a server of this very
//! process ([`Loopback`]) as it is going to ask the real ones: so many at once, over connections that
//! are open before. Its times are held against the server's own, and what is between them (the
//! loopback, the kernel, the runtime and this machine's other work) is in every time that follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::client::Client;
use super::loopback::{Loopback, Script, Truth, Truths};
use super::request::greedy;
use super::sample::Raw;
use super::stream::Stream;
use crate::plan::Job;
use crate::results::quantile::Distribution;
use crate::results::{Overhead, tidy};

/// At most so many requests are in flight: each is two open files of this process.
const AT_ONCE: u32 = 128;

/// So many are, of a load of which it is not known how many it has in flight.
const BY_THE_CLOCK: u32 = 16;

/// It is asked until so many requests bear a p95, or so long.
const ENOUGH: usize = 100;
const LONG_ENOUGH: Duration = Duration::from_millis(200);

/// So many at once are as much of a flood as one thread takes in.
const FLOODING: u32 = 4;

/// Answers that come as a quick server's do: 5 tokens in 50 ms.
const PACED: Script = Script {
    first: Duration::from_millis(10),
    gap: Duration::from_millis(10),
    tokens: 5,
    at_most: Duration::from_secs(1),
};

/// Answers that come as fast as they can be written.
const FLOOD: Script = Script {
    first: Duration::from_millis(5),
    gap: Duration::ZERO,
    tokens: u32::MAX,
    at_most: Duration::from_millis(10),
};

/// Measures what a client costs at a job's own concurrency; nothing where this machine lets no server
/// be started.
pub(super) async fn overhead(client: &Client, job: &Job) -> Option<Overhead> {
    let schedules = job.load.schedules();
    let most = schedules.iter().filter_map(|it| it.in_flight).max();
    let at_once = most.unwrap_or(BY_THE_CLOCK).clamp(1, AT_ONCE);
    let client = Client {
        limit: Duration::from_secs(2),
        ..client.clone()
    };
    // The flood comes first: it warms what the paced answers are then measured with.
    let max_events_s = Trial::start(&client, FLOOD)?
        .flooded(at_once.min(FLOODING))
        .await?;
    let trial = Trial::start(&client, PACED)?;
    let (mut errors, began) = (Errors::default(), client.clock.now());
    for round in 0.. {
        let raws = trial.round(at_once, round).await;
        let truths = trial.server.truths();
        for raw in &raws {
            errors.add(raw, &truths);
        }
        let took = Duration::from_nanos(client.clock.now().saturating_sub(began));
        if errors.ttft_ms.len() >= ENOUGH || took >= LONG_ENOUGH {
            break;
        }
    }
    Some(Overhead {
        at_once,
        ttft: Distribution::of_ms(errors.ttft_ms)?,
        itl: Distribution::of_ms(errors.itl_ms)?,
        max_events_s: tidy(max_events_s),
    })
}

/// A server that answers by a script, and who asks it.
struct Trial {
    client: Client,
    server: Loopback,
}

impl Trial {
    fn start(client: &Client, script: Script) -> Option<Self> {
        let server = Loopback::start(client.clock, script).ok()?;
        let client = client.clone();
        Some(Self { client, server })
    }

    /// So many requests together, each over a connection that is open before any is sent.
    async fn round(&self, at_once: u32, round: u32) -> Vec<Raw> {
        let ready = Arc::new(Barrier::new(at_once as usize));
        let mut flying = JoinSet::new();
        for index in 0..at_once {
            let (client, ready) = (self.client.clone(), Arc::clone(&ready));
            let authority = self.server.authority.clone();
            let message = greedy("loopback", "Hello.", 1, format!("loopback-{round}.{index}"));
            flying.spawn(async move {
                let connection = client.open(&authority).await;
                ready.wait().await;
                client.complete(connection, message, None).await
            });
        }
        flying.join_all().await
    }

    /// How many events a second are taken in where they come as fast as they can be written.
    async fn flooded(&self, at_once: u32) -> Option<f64> {
        let raws = self.round(at_once, 0).await;
        let first = raws.iter().filter_map(|raw| raw.body.begun()).min()?;
        let last = raws.iter().filter_map(|raw| raw.body.ended()).max()?;
        let events: usize = raws
            .iter()
            .map(|raw| Stream::read(&raw.body).tokens.len())
            .sum();
        let seconds = last.saturating_sub(first) as f64 / 1e9;
        (seconds > 0.0).then(|| events as f64 / seconds)
    }
}

/// The client's times less the server's own, in ms.
#[derive(Default)]
struct Errors {
    ttft_ms: Vec<f64>,
    itl_ms: Vec<f64>,
}

impl Errors {
    fn add(&mut self, raw: &Raw, truths: &Truths) {
        let tokens = Stream::read(&raw.body).tokens;
        let Some((sent, truth)) = raw.sent.zip(truths.get(&raw.id)) else {
            return;
        };
        let Truth { read, written } = truth;
        if tokens.len() != written.len() {
            return;
        }
        let ms = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
        let seen: Vec<u64> = tokens.iter().map(|(at, _)| *at).collect();
        self.ttft_ms.push(ms(sent, seen[0]) - ms(*read, written[0]));
        let gaps = seen.windows(2).zip(written.windows(2));
        let errors = gaps.map(|(seen, written)| ms(seen[0], seen[1]) - ms(written[0], written[1]));
        self.itl_ms.extend(errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::clock::Clock;
    use crate::load::key::ApiKeys;

    fn client() -> Client {
        Client {
            clock: Clock::start(),
            keys: ApiKeys::new(&std::collections::BTreeMap::new()).unwrap(),
            limit: Duration::from_secs(30),
        }
    }

    #[tokio::test]
    async fn every_answer_is_whole_and_its_truth_is_known() {
        let trial = Trial::start(&client(), PACED).unwrap();
        let raws = trial.round(3, 7).await;
        let truths = trial.server.truths();
        let mut errors = Errors::default();
        for raw in &raws {
            assert!(raw.glance().is_ok);
            let truth = &truths[&raw.id];
            // What was read was sent before, and what was written is read after.
            assert!(raw.sent.unwrap() <= truth.read && truth.read <= truth.written[0]);
            let seen = Stream::read(&raw.body);
            assert!(
                seen.tokens
                    .iter()
                    .zip(&truth.written)
                    .all(|(seen, it)| seen.0 >= *it)
            );
            errors.add(raw, &truths);
        }
        assert_eq!((errors.ttft_ms.len(), errors.itl_ms.len()), (3, 12));
        assert!(errors.ttft_ms.iter().all(|it| *it > 0.0));
    }

    #[tokio::test]
    async fn a_flood_is_counted_by_its_events() {
        let script = Script {
            tokens: 50,
            ..FLOOD
        };
        let trial = Trial::start(&client(), script).unwrap();
        assert!(trial.flooded(2).await.unwrap() > 0.0);
    }

    #[test]
    fn an_error_is_the_clients_time_less_the_servers() {
        let event = |n: u32| {
            let text = format!(
                "data: {{\"choices\":[{{\"text\":\"a\"}}],\"usage\":{{\"completion_tokens\":{n}}}}}\n\n"
            );
            text
        };
        let message = greedy("m", "p", 1, "r".to_owned());
        let raw = Raw {
            sent: Some(1_000_000),
            body: [(13_500_000, event(1)), (23_250_000, event(2))]
                .into_iter()
                .collect(),
            ..Raw::not_sent(&message, 0)
        };
        let truth = Truth {
            read: 2_000_000,
            written: vec![12_000_000, 22_000_000],
        };
        let mut errors = Errors::default();
        errors.add(&raw, &Truths::from([("r".to_owned(), truth)]));
        assert_eq!((errors.ttft_ms, errors.itl_ms), (vec![2.5], vec![-0.25]));
    }
}
