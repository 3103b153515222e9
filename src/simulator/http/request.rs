//! What a client asks for: read as JSON, then turned into work, or refused as vLLM would.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::errors::Failure;
use crate::simulator::kv::params::Handover;
use crate::simulator::scheduler::Work;
use crate::simulator::text::{self, Token, fingerprint, mix};

/// As many likely tokens as vLLM tells beside each, unless `--max-logprobs` says otherwise.
const MOST_LOGPROBS: i64 = 20;

/// The body of a completion or chat completion. A field that is missing, or null, has its default.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Body {
    pub(super) model: Option<String>,
    prompt: Option<Prompt>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    n: Option<i64>,
    seed: Option<i64>,
    stop: Option<OneOrMany>,
    stop_token_ids: Option<Vec<Token>>,
    pub(super) include_stop_str_in_output: Option<bool>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    echo: Option<bool>,
    cache_salt: Option<String>,
    return_token_ids: Option<bool>,
    logprobs: Option<Logprobs>,
    top_logprobs: Option<i64>,
    /// Whether a tokenisation has what opens a prompt; a chat's template writes its own.
    add_special_tokens: Option<bool>,
    suffix: Option<String>,
    /// What to do with the KV cache.
    pub(super) kv_transfer_params: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Ids(Vec<Token>),
    Texts(Vec<String>),
    IdLists(Vec<Vec<Token>>),
}

/// A completion says how many, and a chat whether.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Logprobs {
    Are(bool),
    Many(i64),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize)]
struct Part {
    text: Option<String>,
}

/// A request that can be served.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// One prompt's answers after the other's.
    pub(super) works: Vec<Work>,
    /// The prompts, by the order in the request.
    pub(super) prompts: Vec<Vec<Token>>,
    /// What to repeat before each prompt's answers.
    pub(super) echo: Option<Vec<String>>,
    pub(super) choices_per_prompt: usize,
    pub(super) stop: Vec<String>,
    pub(super) include_stop: bool,
    pub(super) min_tokens: usize,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) continuous_usage: bool,
    pub(super) return_token_ids: bool,
    /// How many likely tokens are told beside each, where their probabilities are.
    pub(super) logprobs: Option<usize>,
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts
                .iter()
                .filter_map(|part| part.text.as_deref())
                .collect(),
        }
    }
}

impl Prompt {
    /// Each prompt's text, where it was given, and its tokens.
    fn read(&self) -> Vec<(String, Vec<Token>)> {
        let encode = |prompt: &String| (prompt.clone(), text::encode(prompt));
        let known = |ids: &Vec<Token>| (text::decode(ids), ids.clone());
        match self {
            Self::Text(prompt) => vec![encode(prompt)],
            Self::Ids(ids) => vec![known(ids)],
            Self::Texts(prompts) => prompts.iter().map(encode).collect(),
            Self::IdLists(lists) => lists.iter().map(known).collect(),
        }
    }
}

impl Body {
    /// Refuses what pydantic would refuse.
    pub(super) fn validate(&self, path: &str) -> Result<(), Failure> {
        let refuse = |message| Err(Failure::invalid_value(path, message));
        if self.stream_options.is_some() && self.stream != Some(true) {
            return refuse("Stream options can only be defined when `stream=True`.");
        }
        if let Some(Logprobs::Many(..0)) = self.logprobs {
            return refuse("`logprobs` must be a positive value.");
        }
        if self.cache_salt.as_deref() == Some("") {
            return refuse("Parameter 'cache_salt' must be a non-empty string if provided.");
        }
        let missing = |field: &str| {
            let detail = format!(
                "{{'type': 'missing', 'loc': ('body', '{field}'), 'msg': 'Field required'}}"
            );
            Err(Failure::invalid(path, &detail))
        };
        match (path.contains("chat"), &self.prompt, &self.messages) {
            (true, _, None) => missing("messages"),
            (false, None, _) => {
                refuse("Either prompt or prompt_embeds must be provided and non-empty.")
            }
            (false, Some(Prompt::Text(prompt)), _) if prompt.is_empty() => {
                refuse("Either prompt or prompt_embeds must be provided and non-empty.")
            }
            _ => Ok(()),
        }
    }

    /// The prompts of a tokenisation.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let prompts = if self.messages.is_some() {
            self.chat_prompt()
        } else {
            self.completion_prompts()
        };
        let is_bare = self.add_special_tokens == Some(false) && self.messages.is_none();
        let tokens = prompts.into_iter().flat_map(|(_, tokens)| tokens);
        tokens.skip(usize::from(is_bare)).collect()
    }

    /// The work for a completion.
    pub(super) fn completion(&self, max_model_len: usize) -> Result<Job, Failure> {
        if self.suffix.is_some() {
            return Err(Failure::bad_request("suffix is not currently supported"));
        }
        let prompts = self.completion_prompts();
        let wanted = self.max_tokens.unwrap_or(16);
        for (_, tokens) in &prompts {
            // Captured: the number that is printed is what the answer leaves of the context.
            let longest = signed(max_model_len).saturating_sub(wanted);
            if signed(tokens.len()) > longest {
                return Err(too_long(longest, tokens.len()));
            }
        }
        self.job(prompts, Some(wanted), max_model_len)
    }

    /// The work for a chat completion.
    pub(super) fn chat(&self, max_model_len: usize) -> Result<Job, Failure> {
        let prompts = self.chat_prompt();
        let wanted = self.max_completion_tokens.or(self.max_tokens);
        for (_, tokens) in &prompts {
            let count = tokens.len();
            if count >= max_model_len {
                return Err(too_long(signed(max_model_len), count));
            }
            if let Some(wanted) =
                wanted.filter(|wanted| signed(count) + wanted > signed(max_model_len))
            {
                return Err(Failure::bad_request(&format!(
                    "'max_tokens' or 'max_completion_tokens' is too large: {wanted}. This model's maximum context \
                     length is {max_model_len} tokens and your request has {count} input tokens ({wanted} > \
                     {max_model_len} - {count})."
                )));
            }
        }
        self.job(prompts, wanted, max_model_len)
    }

    fn completion_prompts(&self) -> Vec<(String, Vec<Token>)> {
        self.prompt.as_ref().map(Prompt::read).unwrap_or_default()
    }

    /// The conversation as Llama's template writes it, and what was said last.
    fn chat_prompt(&self) -> Vec<(String, Vec<Token>)> {
        let messages = self.messages.iter().flatten();
        let said = messages.map(|message| {
            let content = message.content.as_ref().map(Content::text);
            (message.role.as_str(), content.unwrap_or_default())
        });
        let mut said: Vec<_> = said.collect();
        let told = said.iter().map(|(role, content)| (*role, content.as_str()));
        let tokens = text::conversation(told);
        let last = said.pop().map(|(_, content)| content);
        vec![(last.unwrap_or_default(), tokens)]
    }

    fn job(
        &self,
        prompts: Vec<(String, Vec<Token>)>,
        wanted: Option<i64>,
        max_model_len: usize,
    ) -> Result<Job, Failure> {
        let choices = self.check_sampling(wanted)?;
        if prompts.is_empty() || prompts.iter().any(|(_, tokens)| tokens.is_empty()) {
            return Err(Failure::bad_request("The decoder prompt cannot be empty"));
        }
        let unknown = prompts.iter().flat_map(|(_, tokens)| tokens).max();
        if let Some(token) = unknown.filter(|token| **token >= text::VOCABULARY) {
            let message = format!("Token id {token} is out of vocabulary");
            return Err(Failure::bad_request(&message));
        }
        let logprobs = self.logprobs()?;
        let (texts, prompts): (Vec<_>, Vec<_>) = prompts.into_iter().unzip();
        let works = prompts.iter().flat_map(|prompt| {
            let room = max_model_len - prompt.len();
            let max_tokens = wanted.map_or(room, |wanted| room.min(wanted as usize));
            let seed = self.seed_for(prompt);
            (0..choices).map(move |choice| self.work(prompt, max_tokens, mix(seed, choice as u64)))
        });
        let options = self.stream_options.unwrap_or_default();
        let include_usage = options.include_usage.unwrap_or(false);
        Ok(Job {
            works: works.collect(),
            echo: (self.echo == Some(true)).then_some(texts),
            prompts,
            choices_per_prompt: choices,
            stop: match &self.stop {
                None => Vec::new(),
                Some(OneOrMany::One(stop)) => vec![stop.clone()],
                Some(OneOrMany::Many(stops)) => stops
                    .iter()
                    .filter(|stop| !stop.is_empty())
                    .cloned()
                    .collect(),
            },
            include_stop: self.include_stop_str_in_output == Some(true),
            min_tokens: self.min_tokens.unwrap_or(0).max(0) as usize,
            stream: self.stream == Some(true),
            include_usage,
            // 0.13 ignores it without include_usage.
            continuous_usage: include_usage && options.continuous_usage_stats == Some(true),
            return_token_ids: self.return_token_ids == Some(true),
            logprobs,
        })
    }

    /// How many likely tokens are told beside each, where any are.
    fn logprobs(&self) -> Result<Option<usize>, Failure> {
        let asked = match self.logprobs {
            None | Some(Logprobs::Are(false)) => return Ok(None),
            Some(Logprobs::Are(true)) => self.top_logprobs.unwrap_or(0),
            Some(Logprobs::Many(many)) => many,
        };
        if asked > MOST_LOGPROBS {
            return Err(Failure::bad_request(&format!(
                "Requested sample logprobs of {asked}, which is greater than max allowed: {MOST_LOGPROBS}"
            )));
        }
        Ok(usize::try_from(asked).ok())
    }

    fn work(&self, prompt: &[Token], max_tokens: usize, seed: u64) -> Work {
        Work {
            id: 0,
            prompt: prompt.to_vec(),
            cache_salt: self.cache_salt.clone(),
            seed,
            max_tokens,
            min_tokens: self.min_tokens.unwrap_or(0).max(0) as usize,
            stop_tokens: self.stop_token_ids.clone().unwrap_or_default(),
            ignore_eos: self.ignore_eos == Some(true),
            handover: Handover::default(),
        }
    }

    /// What decides the answer: the prompt alone when nothing is left to chance.
    fn seed_for(&self, prompt: &[Token]) -> u64 {
        let prompt = fingerprint(prompt.iter().map(|token| u64::from(*token)));
        match self.seed {
            _ if self.is_greedy() => prompt,
            Some(seed) => mix(prompt, seed.cast_unsigned()),
            None => mix(prompt, fastrand::u64(..)),
        }
    }

    fn is_greedy(&self) -> bool {
        self.temperature
            .is_some_and(|temperature| temperature < 1e-5)
    }

    /// Refuses what vLLM's `SamplingParams` would refuse; returns how many choices a prompt has.
    fn check_sampling(&self, max_tokens: Option<i64>) -> Result<usize, Failure> {
        let refuse = |message: String| Err(Failure::bad_request(&message));
        let n = self.n.unwrap_or(1);
        if n < 1 {
            return refuse(format!("n must be at least 1, got {n}."));
        }
        if let Some(temperature) = self.temperature.filter(|temperature| *temperature < 0.0) {
            return refuse(format!(
                "temperature must be non-negative, got {temperature:?}."
            ));
        }
        if let Some(top_p) = self.top_p.filter(|top_p| *top_p <= 0.0 || *top_p > 1.0) {
            return refuse(format!("top_p must be in (0, 1], got {top_p:?}."));
        }
        if let Some(max_tokens) = max_tokens.filter(|max_tokens| *max_tokens < 1) {
            return refuse(format!("max_tokens must be at least 1, got {max_tokens}."));
        }
        let min_tokens = self.min_tokens.unwrap_or(0);
        if min_tokens < 0 {
            return refuse(format!(
                "min_tokens must be greater than or equal to 0, got {min_tokens}."
            ));
        }
        if let Some(max_tokens) = max_tokens.filter(|max_tokens| min_tokens > *max_tokens) {
            return refuse(format!(
                "min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}."
            ));
        }
        if n > 1 && self.is_greedy() {
            return refuse(format!("n must be 1 when using greedy sampling, got {n}."));
        }
        Ok(n as usize)
    }
}

/// A count beside numbers that a client may have made negative.
fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn too_long(longest: i64, count: usize) -> Failure {
    Failure::bad_request(&format!(
        "This model's maximum context length is {longest} tokens. However, your request has {count} input tokens. \
         Please reduce the length of the input messages."
    ))
}
