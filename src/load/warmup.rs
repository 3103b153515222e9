//! The requests before the measurement: every instance answers some directly, so that none meets
//! its first traffic while it is measured. They are recorded, and are in no statistic.
//!
//! Where it is not known who is behind the endpoint, it is warmed itself as if it were one instance; who
//! answered is then what the answers say.
//!
//! They are what clients send: greedy ones one after another, until two in a row take as long as each
//! other; then as many at once as the load has in flight there, for which kernels of that shape are
//! compiled; one of these is sampled, for which the sampler is.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::JoinSet;

use super::client::{Client, Message};
use super::counts::{Counts, Stage};
use super::identity::look_at_its_log;
use super::request::Requests;
use super::sample;
use super::unknown::of_whoever_answered;
use crate::plan::{Failure, Job, Target, WarmWhen};
use crate::results::{Status, WarmedInstance, Warmup, WarmupRequest};

/// As many requests as warm one instance at once, at most: beyond that engines compile no new shapes
/// that would take long.
const AT_ONCE: u32 = 64;

/// How many at once warm a load of which it is not known how many it has in flight.
const BY_THE_CLOCK: u32 = 16;

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
        let began = self.client.clock.now();
        warmup.instances = self.instances(job).await;
        if job.instances.is_empty() {
            let asked = warmup.instances.pop();
            warmup.instances = asked.map_or(Ok(Vec::new()), |it| of_whoever_answered(job, it))?;
            warmup.took_s = Some(self.since(began));
            return Ok(warmup);
        }
        for instance in &warmup.instances {
            must_have_answered(instance)?;
        }
        self.counts.enter(Stage::WarmingThrough, 1);
        let through = self.requests.warm_up("endpoint", 0);
        warmup.endpoint = Some(self.ask(&job.endpoint.authority, through).await);
        warmup.took_s = Some(self.since(began));
        Ok(warmup)
    }

    /// How long ago a moment was, in seconds.
    fn since(&self, began: u64) -> f64 {
        self.client.clock.now().saturating_sub(began) as f64 / 1e9
    }

    async fn instances(&self, job: &Job) -> Vec<WarmedInstance> {
        let mut lanes = JoinSet::new();
        for (place, target) in job.warmed_targets().into_iter().enumerate() {
            let warmer = self.clone();
            let lane = Lane::of(job, &target);
            lanes.spawn(async move { (place, warmer.instance(target, lane).await) });
        }
        let mut warmed = lanes.join_all().await;
        warmed.sort_by_key(|(place, _)| *place);
        warmed.into_iter().map(|(_, instance)| instance).collect()
    }

    async fn instance(&self, target: Target, lane: Lane) -> WarmedInstance {
        self.counts.expect(lane.least + lane.at_once);
        let mut requests: Vec<WarmupRequest> = Vec::new();
        while lane.needs_more(&requests) {
            let index = requests.len() as u32;
            self.counts.expect(u32::from(index >= lane.least));
            let message = self.requests.warm_up(&target.name, index);
            requests.push(self.ask(&target.authority, message).await);
        }
        let answers = requests.iter().any(|it| it.status == Status::Ok);
        let together = if answers {
            self.at_once(&target, lane, requests.len() as u32).await
        } else {
            Vec::new()
        };
        WarmedInstance {
            stable: Some(are_alike(&requests, lane.when.within)),
            instance: target.name,
            requests,
            together,
        }
    }

    /// As many requests at once as the load has in flight there, the first of them sampled.
    async fn at_once(&self, target: &Target, lane: Lane, from: u32) -> Vec<WarmupRequest> {
        let mut flying = JoinSet::new();
        for index in 0..lane.at_once {
            let greedy = self.requests.warm_up(&target.name, from + index);
            let message = if index == 0 { sampled(greedy) } else { greedy };
            let (warmer, authority) = (self.clone(), target.authority.clone());
            flying.spawn(async move { (index, warmer.ask(&authority, message).await) });
        }
        let mut landed = flying.join_all().await;
        landed.sort_by_key(|(index, _)| *index);
        landed.into_iter().map(|(_, request)| request).collect()
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
            http_status: record.http_status.filter(|status| *status != 200),
            served_by: record.instance,
        }
    }
}

/// How one instance is warmed.
#[derive(Debug, Clone, Copy)]
struct Lane {
    least: u32,
    when: WarmWhen,
    at_once: u32,
}

impl Lane {
    fn of(job: &Job, target: &Target) -> Self {
        let instances = u32::try_from(job.instances.len()).unwrap_or(u32::MAX);
        let schedules = job.load.schedules();
        let most = schedules.iter().filter_map(|it| it.in_flight).max();
        let share = most.unwrap_or(BY_THE_CLOCK).div_ceil(instances.max(1));
        let seats = target.max_num_seqs.unwrap_or(AT_ONCE);
        Self {
            least: job.warmup,
            when: job.warm_when,
            at_once: share.min(seats).clamp(1, AT_ONCE),
        }
    }

    /// One that fails is not asked again and again.
    fn needs_more(self, requests: &[WarmupRequest]) -> bool {
        let sent = requests.len() as u32;
        let fails = requests.iter().any(|it| it.status != Status::Ok);
        let is_open = sent < self.when.max && !fails && !are_alike(requests, self.when.within);
        sent < self.least || is_open
    }
}

/// Whether the last two requests took as long as each other.
fn are_alike(requests: &[WarmupRequest], within: f64) -> bool {
    let [.., before, last] = requests else {
        return false;
    };
    before.is_like(last, within)
}

/// The same request with a drawn token each time, and not the likeliest one.
fn sampled(message: Message) -> Message {
    let Ok(mut body) = serde_json::from_slice::<Value>(&message.body) else {
        return message;
    };
    body["temperature"] = 1.0.into();
    body["seed"] = message.index.into();
    Message {
        body: Bytes::from(body.to_string()),
        is_greedy: false,
        ..message
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

#[cfg(test)]
mod tests {
    use super::*;

    fn took(times: &[f64]) -> Vec<WarmupRequest> {
        let one = |ms: &f64| WarmupRequest {
            status: if *ms > 0.0 {
                Status::Ok
            } else {
                Status::HttpError
            },
            ttft_ms: None,
            e2el_ms: (*ms > 0.0).then_some(*ms),
            text_sha256: None,
            error: None,
            http_status: None,
            served_by: None,
        };
        times.iter().map(one).collect()
    }

    #[test]
    fn it_goes_on_until_two_in_a_row_are_alike_and_no_longer_than_it_may() {
        let lane = Lane {
            least: 2,
            when: WarmWhen::default(),
            at_once: 1,
        };
        let needs_more = |times: &[f64]| lane.needs_more(&took(times));
        assert!(needs_more(&[]) && needs_more(&[900.0]));
        assert!(!needs_more(&[900.0, 870.0]));
        assert!(needs_more(&[9000.0, 900.0]));
        assert!(!needs_more(&[9000.0, 900.0, 901.0]));
        assert!(!needs_more(&[3.0, 5.0]), "that is the machine");
        let restless: Vec<f64> = (1..=10).map(|i| f64::from(i) * 100.0).collect();
        assert!(needs_more(&restless[..9]) && !needs_more(&restless));
        assert!(needs_more(&[0.0]) && !needs_more(&[0.0, 0.0]));
    }

    #[test]
    fn a_sampled_request_differs_in_nothing_else() {
        let body = serde_json::json!({"prompt": "x", "temperature": 0, "max_tokens": 3});
        let message = Message {
            index: 4,
            id: "i".to_owned(),
            path: "/v1/completions",
            body: Bytes::from(body.to_string()),
            asked: 3,
            is_exact: true,
            is_greedy: true,
        };
        let sampled = sampled(message);
        assert!(!sampled.is_greedy);
        let body: Value = serde_json::from_slice(&sampled.body).unwrap();
        let expected =
            serde_json::json!({"prompt": "x", "temperature": 1.0, "max_tokens": 3, "seed": 4});
        assert_eq!(body, expected);
    }
}
