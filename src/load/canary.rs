//! A short answer of every instance while nothing else is in flight: one number a machine, always of
//! the same work.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::client::Client;
use super::request::greedy;
use super::sample;
use crate::plan::{Job, Target};
use crate::results::Canary;
use crate::results::quantile::quantile;

/// What is asked: it is short, so that nearly all of the time is decoding.
const PROMPT: &str = "The quick brown fox jumps over the lazy dog.";

/// The time at which those that nothing has warmed are asked once for nothing.
pub(super) const BEFORE: &str = "before";

/// How much longer than before makes it worth asking once more.
const WORTH_ASKING: f64 = 1.2;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct CanaryProbe {
    client: Client,
    tokens: u32,
    /// The instances of each machine: on one they are asked one after another.
    machines: Vec<Vec<Asked>>,
}

/// Who is asked.
#[derive(Debug, Clone)]
struct Asked {
    target: Target,
    /// The name that it serves under.
    model: String,
    /// Whether it is idle beside what is measured: nothing has warmed it.
    is_idle: bool,
}

impl CanaryProbe {
    pub(super) fn of(job: &Job, client: &Client) -> Self {
        let measured = job.instances.iter().map(|target| Asked {
            target: target.clone(),
            model: job.model.clone(),
            is_idle: false,
        });
        // What is idle may serve another model: the name that is its own is always good.
        let idle = job.idle.iter().map(|target| Asked {
            target: target.clone(),
            model: target.nonce.clone(),
            is_idle: true,
        });
        let placed = || job.placed.iter().chain(&job.idle_placed);
        let mut machines = BTreeMap::<_, Vec<Asked>>::new();
        for asked in measured.chain(idle) {
            let placed = placed().find(|it| it.instance == asked.target.name);
            let machine = placed.map(|it| it.node.to_string());
            machines.entry(machine).or_default().push(asked);
        }
        Self {
            client: client.clone(),
            tokens: job.canary,
            machines: machines.into_values().collect(),
        }
    }

    /// Asks every instance, the machines side by side. Who does not answer as it should shows
    /// nothing. `round` tells this time from the others.
    pub(super) async fn ask(&self, run: &str, round: &str) -> Vec<Canary> {
        if self.tokens < 2 {
            return Vec::new();
        }
        let mut asking = JoinSet::new();
        for machine in self.machines.clone() {
            let canaries = self.clone();
            let id = format!("replica-{run}-canary-{round}");
            let is_first = round == BEFORE;
            asking.spawn(async move {
                let mut shown = Vec::new();
                for asked in machine {
                    if asked.is_idle && is_first {
                        canaries.one(&asked, &format!("{id}-warm")).await;
                    }
                    shown.extend(canaries.one(&asked, &id).await);
                }
                shown
            });
        }
        let mut shown: Vec<Canary> = asking.join_all().await.into_iter().flatten().collect();
        shown.sort_by(|a, b| a.instance.cmp(&b.instance));
        shown
    }

    async fn one(&self, asked: &Asked, id: &str) -> Option<Canary> {
        let target = &asked.target;
        let id = format!("{id}-{}", target.name);
        let message = greedy(&asked.model, PROMPT, self.tokens, id);
        let connection = self.client.open(&target.authority).await;
        let raw = self.client.complete(connection, message, None).await;
        let record = sample::read(raw);
        let mut gaps = record.is_ok().then(|| record.itl_ms())?;
        gaps.sort_by(f64::total_cmp);
        Some(Canary {
            instance: target.name.clone(),
            ttft_ms: record.ttft_ms()?,
            itl_p50_ms: quantile(&gaps, 0.5)?,
            text_sha256: record.text_sha256,
        })
    }
}

/// Whether any instance took clearly longer than before.
pub(super) fn seems_slow(before: &[Canary], after: &[Canary]) -> bool {
    after.iter().any(|now| {
        let then = before.iter().find(|it| it.instance == now.instance);
        then.is_some_and(|then| now.itl_p50_ms > WORTH_ASKING * then.itl_p50_ms)
    })
}

/// The better of what each instance showed.
pub(super) fn better(one: Vec<Canary>, other: &[Canary]) -> Vec<Canary> {
    let best = |shown: Canary| {
        let again = other.iter().find(|it| it.instance == shown.instance);
        match again {
            Some(again) if again.itl_p50_ms < shown.itl_p50_ms => again.clone(),
            _ => shown,
        }
    };
    one.into_iter().map(best).collect()
}
