//! What is asked, as engines see it: tokens.

use std::path::Path;

use bytes::Bytes;
use serde_json::json;

use super::why_not::CannotRehearse;
use crate::prompts::{Answer, Api, Ask, Asks, Cache, Fit, Prompt, Reading};
use crate::resource::benchmark::Measurement;
use crate::simulator::{tokens_of, tokens_of_chat};

/// What a benchmark asks.
pub(super) struct Script {
    asks: Asks,
    api: Api,
    cache: Cache,
    /// Whether what chooses among instances reads what is asked.
    is_read: bool,
}

/// Where in a benchmark a request is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The load, from 0.
    pub(super) point: u32,
    /// The round of that load, from 0.
    pub(super) round: u32,
    /// The request of that round, from 0.
    pub(super) index: u32,
}

/// One request, as it is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) place: Place,
    pub(super) prompt: Vec<u32>,
    pub(super) salt: Option<String>,
    /// The tokens of its answer.
    pub(super) tokens: u32,
    /// Which of the prompts it is.
    pub(super) number: u32,
    /// Its body, as far as policies look into it.
    pub(super) body: Bytes,
    /// Which of the servers it is sent to, where no proxy chooses.
    pub(super) server: usize,
}

impl Script {
    /// What a benchmark asks, whose files lie in a folder.
    pub(super) fn of(
        benchmark: &Measurement,
        folder: &Path,
        is_read: bool,
    ) -> Result<Self, CannotRehearse> {
        if !benchmark.sampling.is_exact() {
            return Err(CannotRehearse::EndsByItself);
        }
        let api = benchmark.api;
        let reading = Reading {
            folder,
            api,
            max_tokens: benchmark.max_tokens,
        };
        let asks = benchmark.source.read(&reading);
        let mut asks = asks.map_err(CannotRehearse::Prompts)?;
        if let Some((fit, candidates)) = asks.unfitted() {
            asks = asks.fitted(fitted(fit, candidates, api)?);
        }
        Ok(Self {
            asks,
            api,
            cache: benchmark.cache,
            is_read,
        })
    }

    /// One request.
    pub(super) fn question(&self, place: Place) -> Question {
        let ask = self.asks.of(place.index);
        let salt = self.salt(place, ask.prefix);
        let tokens = ask.tokens().unwrap_or(1);
        Question {
            place,
            prompt: tokens_of_prompt(&ask.prompt, self.api),
            tokens,
            number: self.asks.number(place.index),
            server: 0,
            body: if self.is_read {
                body(&ask.prompt, tokens, salt.as_deref())
            } else {
                Bytes::new()
            },
            salt,
        }
    }

    /// As the load generator salts: each request for itself, or with those that share its beginning.
    fn salt(&self, place: Place, prefix: Option<u32>) -> Option<String> {
        let Place {
            point,
            round,
            index,
        } = place;
        match (self.cache, prefix) {
            (Cache::Allow, _) => None,
            (Cache::Salt, None) => Some(format!("{point}.{round}.{index}")),
            (Cache::Salt, Some(group)) => Some(format!("{point}.{round}-prefix-{group}")),
        }
    }
}

/// What the load generator writes, as far as policies look into it.
fn body(prompt: &Prompt, tokens: u32, salt: Option<&str>) -> Bytes {
    let mut body = json!({"max_tokens": tokens});
    let key = match prompt {
        Prompt::Text(_) | Prompt::Ids(_) => "prompt",
        Prompt::Messages(_) => "messages",
    };
    body[key] = json!(prompt);
    if let Some(salt) = salt {
        body["cache_salt"] = salt.into();
    }
    body.to_string().into()
}

fn tokens_of_prompt(prompt: &Prompt, api: Api) -> Vec<u32> {
    match (api, prompt) {
        (_, Prompt::Ids(ids)) => ids.clone(),
        (Api::Completions, Prompt::Text(text)) => tokens_of(text),
        (Api::Chat, Prompt::Text(text)) => tokens_of_chat([("user", text.as_str())]),
        (_, Prompt::Messages(messages)) => {
            let said = messages.iter();
            tokens_of_chat(said.map(|it| (it.role.as_str(), it.content.as_str())))
        }
    }
}

/// Those that fit, as the load generator has a server count them.
fn fitted(fit: Fit, candidates: &[Ask], api: Api) -> Result<Vec<Ask>, CannotRehearse> {
    let is_short = |ask: &&Ask| {
        let length = || tokens_of_prompt(&ask.prompt, api).len();
        fit.max_input.is_none_or(|most| length() <= most as usize)
    };
    let counted = |ask: &Ask| {
        let tokens = match &ask.answer {
            Answer::Tokens(tokens) => *tokens,
            // Without what opens a prompt.
            Answer::LikeText(text) => (tokens_of(text).len() as u32).saturating_sub(1).max(1),
        };
        Ask::new(ask.prompt.clone(), tokens)
    };
    let chosen = candidates.iter().filter(is_short).map(counted);
    let chosen: Vec<_> = chosen.take(fit.take.unwrap_or(usize::MAX)).collect();
    let wanted = fit.take.unwrap_or(1);
    if chosen.len() < wanted {
        let found = chosen.len();
        return Err(CannotRehearse::TooFewPrompts { found, wanted });
    }
    Ok(chosen)
}
