//! Servers, much simplified: each reads prompts one after another, and writes a token for all that are
//! read in a step that is longer the more they are.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use serde_json::json;

use super::*;
use crate::proxy::policy::prefix::{Recent, chain};

/// Time goes on by so much.
pub(super) const STEP: Duration = Duration::from_millis(10);

/// Prompt tokens that are read in a second.
const READ_A_SECOND: f64 = 8000.0;

/// The tokens of a block.
const BLOCK: f64 = 64.0;

/// Seconds that a step of writing takes with nobody, and more with each.
const WRITING: (f64, f64) = (0.010, 0.0005);

/// A request in a simulation.
pub(super) struct Ask {
    /// Who asks, by a number.
    pub(super) client: usize,
    pub(super) session: String,
    pub(super) body: String,
    /// The tokens of its answer.
    pub(super) answer: f64,
}

impl Ask {
    /// A prompt, of a session of its own.
    pub(super) fn prompt(client: usize, prompt: &str, answer: f64) -> Self {
        Self {
            client,
            session: client.to_string(),
            body: json!({"model": "m", "prompt": prompt, "max_tokens": answer as u64}).to_string(),
            answer,
        }
    }
}

/// A request that was answered.
pub(super) struct Done {
    pub(super) client: usize,
    /// From its sending to its last token.
    pub(super) took: Duration,
    /// Blocks of its prompt, and how many of them were in the cache.
    pub(super) blocks: usize,
    pub(super) reused: usize,
}

struct Running {
    client: usize,
    chain: Vec<u64>,
    reused: usize,
    is_begun: bool,
    to_read: f64,
    to_write: f64,
    took: Duration,
    _charge: Charge,
}

/// One server.
struct Engine {
    cache: Recent,
    reading: VecDeque<Running>,
    writing: Vec<Running>,
}

impl Engine {
    fn with_cache(blocks: usize) -> Self {
        Self {
            cache: Recent::with_room(blocks),
            reading: VecDeque::new(),
            writing: Vec::new(),
        }
    }

    fn step(&mut self) -> Vec<Done> {
        for running in self.reading.iter_mut().chain(&mut self.writing) {
            running.took += STEP;
        }
        self.read();
        let pace = STEP.as_secs_f64() / (WRITING.0 + WRITING.1 * self.writing.len() as f64);
        for running in &mut self.writing {
            running.to_write -= pace;
        }
        let is_over = |running: &mut Running| running.to_write <= 0.0;
        let over = self.writing.extract_if(.., is_over);
        over.map(|running| Done {
            client: running.client,
            took: running.took,
            blocks: running.chain.len(),
            reused: running.reused,
        })
        .collect()
    }

    fn read(&mut self) {
        let mut budget = READ_A_SECOND * STEP.as_secs_f64();
        while budget > 0.0 {
            let Some(first) = self.reading.front_mut() else {
                return;
            };
            if !std::mem::replace(&mut first.is_begun, true) {
                first.reused = self.cache.matched(&first.chain);
                first.to_read -= first.reused as f64 * BLOCK;
            }
            let read = first.to_read.min(budget);
            first.to_read -= read;
            budget -= read;
            if first.to_read <= 0.0 {
                self.cache.send(&first.chain);
                self.writing.extend(self.reading.pop_front());
            }
        }
    }
}

/// Servers behind a policy.
pub(super) struct Cluster {
    pub(super) fleet: Fleet,
    engines: Vec<Engine>,
    policy: Arc<dyn Policy>,
    hashes: RandomState,
    cache: usize,
}

impl Cluster {
    /// So many, with nothing in flight, and caches of so many blocks.
    pub(super) fn of(count: usize, policy: &PolicySpec, cache: usize) -> Self {
        fastrand::seed(7);
        Self {
            fleet: Fleet::of(count),
            engines: (0..count).map(|_| Engine::with_cache(cache)).collect(),
            policy: policy.build(),
            hashes: RandomState::new(),
            cache,
        }
    }

    /// Sends a request where the policy wants it.
    pub(super) fn send(&mut self, ask: &Ask) -> usize {
        let headers = [("x-session-id", ask.session.as_str())];
        let charge = self.fleet.choose_with(&*self.policy, &headers, &ask.body);
        let place = charge.claim.spec.name.parse().unwrap();
        self.put(place, charge, ask);
        place
    }

    /// Sends a request to a server, whatever the policy wants.
    pub(super) fn send_to(&mut self, place: usize, ask: &Ask) {
        let claim = self.fleet.occupy(place);
        self.put(place, claim.into(), ask);
    }

    fn put(&mut self, place: usize, charge: Charge, ask: &Ask) {
        let headers = HeaderMap::new();
        let body = Bytes::from(ask.body.clone());
        let view = RequestView::new(&headers, Some(&body));
        let chain = self.blocks(ask);
        self.engines[place].reading.push_back(Running {
            client: ask.client,
            reused: 0,
            is_begun: false,
            to_read: view.keys().asked().len() as f64 / 4.0,
            to_write: ask.answer,
            took: Duration::ZERO,
            chain,
            _charge: charge,
        });
    }

    /// The blocks of a prompt, as the servers count them.
    pub(super) fn blocks(&self, ask: &Ask) -> Vec<u64> {
        let headers = HeaderMap::new();
        let body = Bytes::from(ask.body.clone());
        chain(
            &self.hashes,
            RequestView::new(&headers, Some(&body)).whole(),
        )
    }

    /// Lets time go on: what was answered meanwhile.
    pub(super) async fn step(&mut self) -> Vec<Done> {
        tokio::time::advance(STEP).await;
        self.engines.iter_mut().flat_map(Engine::step).collect()
    }

    /// Ends a server with all that it has in flight; another epoch of it is not seen yet.
    pub(super) fn restart(&mut self, place: usize) -> Vec<usize> {
        self.fleet.restart(place);
        let old = std::mem::replace(&mut self.engines[place], Engine::with_cache(self.cache));
        let cut = old.reading.into_iter().chain(old.writing);
        cut.map(|running| running.client).collect()
    }
}

/// A text of about so many bytes, which begins like no other.
pub(super) fn text(of: &str, bytes: usize) -> String {
    let word = format!("{of} said ");
    word.repeat(bytes / word.len() + 1)
}
