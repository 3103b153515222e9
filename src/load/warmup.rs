//! The requests before the measurement: every instance answers some directly, so that none meets
//! its first traffic while it is measured. They are recorded, and are in no statistic.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::client::{Client, Message};
use super::job::{Job, Target};
use super::request::Requests;
use super::sample::{Record, Status};
use super::watch::Watch;
use crate::plan::Failure;

/// What was done to warm a topology.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// Requests asked of every instance.
    pub asked: u32,
    /// What each instance did, in the order of the manifest.
    pub instances: Vec<WarmedInstance>,
    /// The one request through the endpoint, after the instances.
    pub endpoint: Option<WarmupRequest>,
}

/// The warm-up of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmedInstance {
    /// The instance.
    pub instance: String,
    /// Its requests, in order.
    pub requests: Vec<WarmupRequest>,
}

/// One request of a warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmupRequest {
    /// What became of it.
    pub status: Status,
    /// `t_first − t_sent`, in ms.
    pub ttft_ms: Option<f64>,
    /// `t_last − t_sent`, in ms.
    pub e2el_ms: Option<f64>,
    /// The reason of a failure.
    pub error: Option<String>,
}

impl Warmup {
    /// Says whether an instance answered at least one request before it was measured.
    pub fn warmed(&self, instance: &str) -> bool {
        self.instances
            .iter()
            .filter(|warmed| warmed.instance == instance)
            .flat_map(|warmed| &warmed.requests)
            .any(|request| request.status == Status::Ok)
    }
}

/// What a warm-up needs of a run.
#[derive(Clone)]
pub(super) struct Warmer {
    pub(super) client: Client,
    pub(super) requests: Requests,
    pub(super) watch: Arc<Watch>,
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
            instance.must_have_answered()?;
        }
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
        let link = self.client.open(authority).await;
        let raw = self.client.complete(link, message).await;
        let record = Record::read(raw, self.requests.max_tokens());
        self.watch.count(record.is_ok());
        WarmupRequest::of(&record, &self.client)
    }
}

impl WarmedInstance {
    fn must_have_answered(&self) -> Result<(), Failure> {
        if self.requests.iter().any(|r| r.status == Status::Ok) {
            return Ok(());
        }
        let why = self.requests.iter().find_map(|r| r.error.as_deref());
        Err(Failure::new(format!(
            "instance `{}` answered none of {} warm-up requests: {}",
            self.instance,
            self.requests.len(),
            why.unwrap_or("no reason was given").trim()
        ))
        .hinted(format!("look at `replica logs {}`", self.instance)))
    }
}

impl WarmupRequest {
    fn of(record: &Record, client: &Client) -> Self {
        Self {
            status: record.status,
            ttft_ms: record.ttft_ms(),
            e2el_ms: record.e2el_ms(),
            error: record.error.as_deref().map(|error| client.strike(error)),
        }
    }
}
