//! What is sent: the bodies of a job, each with a salt of its own.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::client::Message;
use crate::plan::{Failure, Job};
use crate::prompts::{Answer, Api, Ask, Asks, Cache, Prompt, Sampling, stream_fields};
use crate::results::KeptPrompt;

/// Where in a run a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The load, from 0.
    pub(super) point: u32,
    /// The round of that load, from 0.
    pub(super) round: u32,
}

/// The requests of one run. They share what they are made of.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    run: Arc<str>,
    asks: Asks,
    api: Api,
    sampling: Arc<Sampling>,
    cache: Cache,
    /// What all bodies say alike.
    fields: Arc<Map<String, Value>>,
}

impl Requests {
    pub(super) fn of(job: &Job, run: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("model".to_owned(), json!(job.model));
        fields.extend(job.sampling.fields(job.api));
        fields.extend(stream_fields());
        Self {
            run: run.into(),
            asks: job.prompts.clone(),
            api: job.api,
            sampling: Arc::new(job.sampling.clone()),
            cache: job.cache,
            fields: Arc::new(fields),
        }
    }

    /// What is asked.
    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    /// The same requests with what was chosen of the asks.
    pub(super) fn fitted(&mut self, chosen: Vec<Ask>) {
        self.asks = self.asks.fitted(chosen);
    }

    /// Which prompt a measured request sends, so that those of one number can be held together.
    pub(super) fn number(&self, index: u32) -> u32 {
        self.asks.number(index)
    }

    /// The prompt of a measured request, as it is kept.
    pub(super) fn kept(&self, index: u32) -> KeptPrompt {
        KeptPrompt::from(&self.asks.of(index).prompt)
    }

    /// Measured request `index` of a round: each round asks the same.
    pub(super) fn measured(&self, at: Place, index: u32) -> Message {
        let Place { point, round } = at;
        let part = format!("{point}.{round}");
        let id = format!("replica-{}-{part}.{index}", self.run);
        self.message(index, id, &part, &self.asks.of(index))
    }

    /// Warm-up request `index` of an instance, or of the endpoint.
    pub(super) fn warm_up(&self, whom: &str, index: u32) -> Message {
        let part = format!("warm-{whom}");
        let id = format!("replica-{}-{part}-{index}", self.run);
        self.message(index, id, &part, &self.asks.of_warm_up(index))
    }

    fn message(&self, index: u32, id: String, part: &str, ask: &Ask) -> Message {
        let tokens = match ask.answer {
            Answer::Tokens(tokens) => tokens,
            // It was to be counted before anything is sent.
            Answer::LikeText(_) => 1,
        };
        let mut fields = Map::clone(&self.fields);
        fields.insert("max_tokens".to_owned(), tokens.into());
        if let Some(salt) = self.salt(&id, part, ask.prefix) {
            fields.insert("cache_salt".to_owned(), salt.into());
        }
        Message {
            index,
            id,
            path: self.api.path(),
            body: body(&ask.prompt, self.api, &fields),
            asked: tokens,
            is_exact: self.sampling.is_exact(),
            is_greedy: self.sampling.is_greedy(),
        }
    }

    /// The salt is the request's id, which no other request of any run has: no prefix is shared
    /// with what came before, and the prompt keeps its length. Requests whose prompts begin alike
    /// have one in each round, so that they find that beginning, and nothing of another round.
    fn salt(&self, id: &str, part: &str, prefix: Option<u32>) -> Option<String> {
        match (self.cache, prefix) {
            (Cache::Allow, _) => None,
            (Cache::Salt, None) => Some(id.to_owned()),
            (Cache::Salt, Some(group)) => {
                Some(format!("replica-{}-{part}-prefix-{group}", self.run))
            }
        }
    }
}

/// A greedy completion of so many tokens, apart from what a job asks.
pub(super) fn greedy(model: &str, prompt: &str, tokens: u32, id: String) -> Message {
    let (api, sampling) = (Api::Completions, Sampling::default());
    let mut fields = Map::new();
    fields.insert("model".to_owned(), json!(model));
    fields.extend(sampling.fields(api));
    fields.extend(stream_fields());
    fields.insert("max_tokens".to_owned(), tokens.into());
    fields.insert("cache_salt".to_owned(), json!(id));
    Message {
        index: 0,
        id,
        path: api.path(),
        body: body(&Prompt::Text(prompt.to_owned()), api, &fields),
        asked: tokens,
        is_exact: sampling.is_exact(),
        is_greedy: sampling.is_greedy(),
    }
}

/// The body of a request. The prompt is written first and straight into it: a list of thousands of
/// ids is made into no tree of values.
fn body(prompt: &Prompt, api: Api, fields: &Map<String, Value>) -> Bytes {
    let mut bytes = Vec::with_capacity(512);
    let written = match (api, prompt) {
        (Api::Completions, prompt) => {
            bytes.extend(b"{\"prompt\":");
            serde_json::to_writer(&mut bytes, prompt)
        }
        (Api::Chat, Prompt::Messages(messages)) => {
            bytes.extend(b"{\"messages\":");
            serde_json::to_writer(&mut bytes, messages)
        }
        (Api::Chat, prompt) => {
            bytes.extend(b"{\"messages\":");
            let user = json!([{"role": "user", "content": prompt}]);
            serde_json::to_writer(&mut bytes, &user)
        }
    };
    let rest = written.and_then(|()| serde_json::to_string(fields));
    let rest = rest.expect("prompts and fields are JSON");
    // Both are objects: the second goes on where the first was left open.
    write!(bytes, ",{}", &rest[1..]).expect("there is memory");
    Bytes::from(bytes)
}

/// How many tokens a message of the server's tokenizer speaks of.
pub(super) fn count_of(answer: &[u8]) -> Option<u32> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    u32::try_from(answer["count"].as_u64()?).ok()
}

/// That fewer prompts fit than are to be taken.
pub(super) fn too_few(found: usize, wanted: usize, looked_at: usize) -> Failure {
    Failure::new(format!(
        "only {found} of {looked_at} prompts fit, and {wanted} are to be taken"
    ))
    .hinted("take fewer, or raise `max_input`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_object_with_its_prompt() {
        let fields = json!({"model": "m", "max_tokens": 3});
        let Value::Object(fields) = fields else {
            unreachable!()
        };
        let read = |prompt: &Prompt, api| -> Value {
            serde_json::from_slice(&body(prompt, api, &fields)).unwrap()
        };
        let text = Prompt::Text("say \"hi\"".to_owned());
        assert_eq!(
            read(&text, Api::Completions),
            json!({"prompt": "say \"hi\"", "model": "m", "max_tokens": 3})
        );
        assert_eq!(
            read(&text, Api::Chat),
            json!({"messages": [{"role": "user", "content": "say \"hi\""}], "model": "m", "max_tokens": 3})
        );
        let ids = Prompt::Ids(vec![5, 6]);
        assert_eq!(read(&ids, Api::Completions)["prompt"], json!([5, 6]));
    }

    #[test]
    fn the_servers_count_is_read() {
        assert_eq!(count_of(br#"{"count": 7, "max_model_len": 9}"#), Some(7));
        assert_eq!(count_of(b"nope"), None);
    }
}
