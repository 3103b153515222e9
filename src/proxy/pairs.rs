//! Whether what one instance has computed of a prompt gets to another: tried once for each two, before a
//! request of a client is split between them.
//!
//! The first hand-over between two engines is unlike all others: they make each other's acquaintance,
//! which takes seconds, and where they do not fit, vLLM 0.13 ends the one that fetches. And a hand-over
//! that goes wrong in silence gives answers to other prompts. So each two are given a prompt of nobody's,
//! and the one that writes the answer has to write what it writes without help.
//!
//! One instance after another is admitted: whoever comes second tries the pair.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::backend::{Backend, BackendId};
use super::control::BackendState;
use super::fleet::Fleet;
use crate::describe::describe;

/// For one answer. What is asked is short, and engines may have much else to do.
const ANSWER: Duration = Duration::from_secs(60);

/// A pair that does not fit is not tried again at once: it may cost an engine.
const PAUSE: Duration = Duration::from_secs(10);

/// How the ids of what is asked begin.
pub(super) const ID: &str = "replica-pair-";

/// So much of a refusal is told.
const TOLD: usize = 200;

/// What both sides continue. Where what is likeliest hangs by a hair, it may fall either way with what else
/// an engine computes; of several it does not do so each time.
const PROMPTS: [&str; 3] = [
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, Monday, Tuesday, Wednesday,",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o p q r s t u v",
];

/// Who is to get on with whom.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    client: reqwest::Client,
    proved: Arc<Mutex<Proved>>,
}

/// The pairs that have handed something over, by the ids of their backends: of those that read prompts
/// first.
pub(super) type Proved = HashSet<(BackendId, BackendId)>;

/// What came of trying one instance with the others, and when.
#[derive(Debug, Default)]
pub(super) struct LastTry(Option<(Instant, String)>);

impl LastTry {
    /// Why one cannot be served from that failed its last try, where it was not seen since: it may have
    /// died of that.
    pub(super) fn explains(&self, unseen: &str) -> Option<String> {
        let (_, why) = self.0.as_ref()?;
        Some(format!("{why}; since then: {unseen}"))
    }
}

/// An instance that writes answers, and one that reads prompts for it.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    prefill: &'a Backend,
    decode: &'a Backend,
}

impl Pair<'_> {
    fn ids(&self) -> (BackendId, BackendId) {
        (self.prefill.id, self.decode.id)
    }
}

impl Pairs {
    /// Nobody was tried yet.
    pub(super) fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            proved: Arc::default(),
        }
    }

    /// Waits for one's turn to be admitted, which lasts until it is given back; nothing where no requests are
    /// split.
    pub(super) async fn turn(&self, fleet: &ArcSwap<Fleet>) -> Option<MutexGuard<'_, Proved>> {
        let is_whole = |it: &Arc<Backend>| it.spec.role.is_both();
        if fleet.load().members().iter().all(is_whole) {
            return None;
        }
        Some(self.proved.lock().await)
    }

    /// Tries an instance with each that is ready and does another part, unless they are proved.
    ///
    /// # Errors
    ///
    /// With whom it does not get on, and why.
    pub(super) async fn admit(
        &self,
        backend: &Backend,
        model: &str,
        (fleet, proved): (&ArcSwap<Fleet>, &mut Proved),
        last: &mut LastTry,
    ) -> Result<(), String> {
        if let Some((at, why)) = &last.0
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        let fleet = fleet.load_full();
        let is_there = |id: BackendId| fleet.members().iter().any(|it| it.id == id);
        proved.retain(|(prefill, decode)| is_there(*prefill) && is_there(*decode));
        for pair in pairs_of(backend, &fleet) {
            if proved.contains(&pair.ids()) {
                continue;
            }
            if let Err(why) = self.hand_over(pair, model).await {
                let (prefill, decode) = (&pair.prefill.spec.name, &pair.decode.spec.name);
                let why = format!("what {prefill} computes does not get to {decode}: {why}");
                last.0 = Some((Instant::now(), why.clone()));
                return Err(why);
            }
            proved.insert(pair.ids());
        }
        last.0 = None;
        Ok(())
    }

    /// Hands something over, and compares what is written with what is written without it.
    async fn hand_over(&self, pair: Pair<'_>, model: &str) -> Result<(), String> {
        let began = Instant::now();
        let mut differing = None;
        for prompt in PROMPTS {
            let alone = text(&self.ask(pair.decode, &question(model, prompt)).await?)?;
            let handed = self.split(pair, model, prompt).await?;
            if alone == handed {
                let (prefill, decode) = (&pair.prefill.spec.name, &pair.decode.spec.name);
                tracing::info!(%prefill, %decode, took = ?began.elapsed(), "handed over");
                return Ok(());
            }
            differing.get_or_insert((alone, handed));
        }
        let (alone, handed) = differing.unwrap_or_default();
        Err(format!(
            "by itself {} writes {alone:?}, and {handed:?} with what it fetches",
            pair.decode.spec.name
        ))
    }

    /// The answer to a prompt that the one read, and the other wrote.
    async fn split(&self, pair: Pair<'_>, model: &str, prompt: &str) -> Result<String, String> {
        let mut reading = question(model, prompt);
        // Nothing is handed over of an answer that ends by itself.
        reading["max_tokens"] = 1.into();
        reading["ignore_eos"] = true.into();
        reading["kv_transfer_params"] =
            json!({"do_remote_decode": true, "do_remote_prefill": false});
        let mut read = self.ask(pair.prefill, &reading).await?;
        let held = read["kv_transfer_params"].take();
        if held.is_null() {
            let name = &pair.prefill.spec.name;
            return Err(format!(
                "{name} tells of nothing that it holds: it has no connector"
            ));
        }
        let mut writing = question(model, prompt);
        writing["kv_transfer_params"] = held;
        text(&self.ask(pair.decode, &writing).await?)
    }

    async fn ask(&self, backend: &Backend, question: &Value) -> Result<Value, String> {
        let name = &backend.spec.name;
        let url = format!("http://{}/v1/completions", backend.authority);
        let id = format!("{ID}{:016x}", fastrand::u64(..));
        let request = self.client.post(url).timeout(ANSWER).json(question);
        let mut request = request.header("x-request-id", id);
        if let Some(key) = &backend.authorization {
            request = request.header(AUTHORIZATION, key);
        }
        let broken =
            |error: reqwest::Error| format!("{name} gives no answer: {}", describe(&error));
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        let body = answer.text().await.map_err(broken)?;
        if !status.is_success() {
            let told: String = body.chars().take(TOLD).collect();
            return Err(format!("{name} answers {status}: {told}"));
        }
        serde_json::from_str(&body).map_err(|_| format!("{name} answers with no JSON"))
    }
}

/// What is asked. By its salt, none of it comes out of a cache of prompts that were asked before.
fn question(model: &str, prompt: &str) -> Value {
    json!({
        "model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0,
        "cache_salt": format!("{:032x}", fastrand::u128(..)),
    })
}

fn text(answer: &Value) -> Result<String, String> {
    let text = answer["choices"][0]["text"].as_str();
    text.map(str::to_owned)
        .ok_or_else(|| "an answer without a text came".to_owned())
}

/// The pairs that an instance makes with those that are ready, in both directions where roles let it.
fn pairs_of<'a>(backend: &'a Backend, fleet: &'a Fleet) -> Vec<Pair<'a>> {
    let others = fleet.members().iter().map(|it| &**it);
    let others = others.filter(|it| it.id != backend.id && it.state() == BackendState::Ready);
    let pairs = others.flat_map(|other| {
        [(backend, other), (other, backend)].map(|(prefill, decode)| Pair { prefill, decode })
    });
    let fits =
        |pair: &Pair<'_>| pair.prefill.spec.role.prefills() && pair.decode.spec.role.decodes();
    pairs.filter(fits).collect()
}
