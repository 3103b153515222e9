//! The requests before the measurement: every instance answers some directly, so that none meets
//! its first traffic while it is measured. They are recorded, and are in no statistic.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::client::{Client, Message};
use super::counts::{Counts, Stage};
use super::identity::look_at_its_log;
use super::request::Requests;
use super::sample;
use crate::plan::{Failure, Job, Target};
use crate::results::{Status, WarmedInstance, Warmup, WarmupRequest};

/// What a warm-up needs of a run.
#[derive(Clone)]
pub(super) struct Warmer {
    pub(super) client: Client,
    pub(super) requests: Requests,
    pub(super) counts: Arc<Counts>,
}

impl Warmer {
    /// Warms every instance, side by side, then the way through the endpoint. A job that asks for
    /// no warm-up gets none.
    ///
    /// A request that fails is recorded and no more; an instance that answers none fails the run.
    pub(super) async fn warm(&self, job: &Job) -> Result<Warmup, Failure> {
        let mut warmup = Warmup {
            asked: job.warmup,
            ..Warmup::default()
        };
        if job.warmup == 0 {
            return Ok(warmup);
        }
        warmup.instances = self.instances(job).await;
        for instance in &warmup.instances {
            must_have_answered(instance)?;
        }
        self.counts.enter(Stage::WarmingThrough, 1);
        let through = self.requests.warm_up("endpoint", 0);
        warmup.endpoint = Some(self.ask(&job.endpoint.authority, through).await);
        Ok(warmup)
    }

    async fn instances(&self, job: &Job) -> Vec<WarmedInstance> {
        let mut lanes = JoinSet::new();
        for (place, target) in job.instances.iter().cloned().enumerate() {
            let (warmer, asked) = (self.clone(), job.warmup);
            lanes.spawn(async move { (place, warmer.instance(target, asked).await) });
        }
        let mut warmed = lanes.join_all().await;
        warmed.sort_by_key(|(place, _)| *place);
        warmed.into_iter().map(|(_, instance)| instance).collect()
    }

    async fn instance(&self, target: Target, asked: u32) -> WarmedInstance {
        let mut requests = Vec::new();
        for index in 0..asked {
            let message = self.requests.warm_up(&target.name, index);
            requests.push(self.ask(&target.authority, message).await);
        }
        WarmedInstance {
            instance: target.name,
            requests,
        }
    }

    async fn ask(&self, authority: &str, message: Message) -> WarmupRequest {
        let connection = self.client.open(authority).await;
        let is_greedy = message.is_greedy;
        let raw = self.client.complete(connection, message, None).await;
        let record = sample::read(raw);
        self.counts.count(record.is_ok());
        WarmupRequest {
            status: record.status,
            ttft_ms: record.ttft_ms(),
            e2el_ms: record.e2el_ms(),
            text_sha256: record
                .text_sha256
                .clone()
                .filter(|_| is_greedy && record.is_ok()),
            error: record.error.map(|error| self.client.redact(&error)),
        }
    }
}

/// An instance that answered no warm-up request cannot be measured.
fn must_have_answered(warmed: &WarmedInstance) -> Result<(), Failure> {
    if warmed.requests.iter().any(|r| r.status == Status::Ok) {
        return Ok(());
    }
    let why = warmed.requests.iter().find_map(|r| r.error.as_deref());
    Err(Failure::new(format!(
        "instance `{}` answered none of {} warm-up requests: {}",
        warmed.instance,
        warmed.requests.len(),
        why.unwrap_or("no reason was given").trim()
    ))
    .hinted(look_at_its_log(&warmed.instance)))
}
