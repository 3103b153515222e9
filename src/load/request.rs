//! What is sent: the bodies of a job, each with a salt of its own.

use bytes::Bytes;
use serde_json::json;

use super::client::Message;
use crate::plan::Job;

/// Where in a run a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The load, from 0.
    pub(super) point: u32,
    /// The round of that load, from 0.
    pub(super) round: u32,
}

/// The requests of one run.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    run: String,
    model: String,
    prompts: Vec<String>,
    max_tokens: u32,
}

impl Requests {
    pub(super) fn of(job: &Job, run: &str) -> Self {
        Self {
            run: run.to_owned(),
            model: job.model.clone(),
            prompts: job.prompts.clone(),
            max_tokens: job.max_tokens,
        }
    }

    /// How many tokens each of them asks for.
    pub(super) fn max_tokens(&self) -> u32 {
        self.max_tokens
    }

    /// Measured request `index` of a round: each round asks the same.
    pub(super) fn measured(&self, at: Place, index: u32) -> Message {
        let Place { point, round } = at;
        self.message(
            index,
            format!("replica-{}-{point}.{round}.{index}", self.run),
        )
    }

    /// Warm-up request `index` of an instance, or of the endpoint.
    pub(super) fn warm_up(&self, whom: &str, index: u32) -> Message {
        self.message(index, format!("replica-{}-warm-{whom}-{index}", self.run))
    }

    /// The salt is the request's id, which no other request of any run has: no prefix is shared
    /// with what came before, and the prompt keeps its length.
    fn message(&self, index: u32, id: String) -> Message {
        let prompt = &self.prompts[index as usize % self.prompts.len()];
        let body = json!({
            "model": self.model,
            "prompt": prompt,
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true},
            "cache_salt": id,
        });
        Message {
            index,
            id,
            body: Bytes::from(body.to_string()),
        }
    }
}
