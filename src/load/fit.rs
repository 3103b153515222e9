//! What only the server's tokenizer tells: how long a text is. It is asked before anything is
//! measured (`POST /tokenize`), and of the candidates the first that fit are taken.

use serde_json::json;
use tokio::task::JoinSet;

use super::client::Client;
use super::identity::look_at_its_log;
use super::request::{Requests, count_of, too_few};
use crate::plan::{Failure, Job, Target};
use crate::prompts::{Answer, Api, Ask, Fit, Prompt};

/// As many texts as are counted at a time.
const AT_ONCE: usize = 16;

/// Chooses what is asked, where that is still open.
pub(super) async fn fit(
    client: &Client,
    job: &Job,
    requests: &mut Requests,
) -> Result<(), Failure> {
    let Some((fit, candidates)) = requests.asks().unfitted() else {
        return Ok(());
    };
    let Some(target) = job.warmed_targets().into_iter().next() else {
        return Ok(());
    };
    let counter = Counter {
        client: client.clone(),
        is_known: !job.instances.is_empty(),
        target,
        model: job.model.clone(),
        api: job.api,
    };
    let chosen = choose(&counter, fit, candidates).await?;
    let wanted = fit.take.unwrap_or(1);
    if chosen.len() < wanted {
        return Err(too_few(chosen.len(), wanted, candidates.len()));
    }
    requests.fitted(chosen);
    Ok(())
}

async fn choose(counter: &Counter, fit: Fit, candidates: &[Ask]) -> Result<Vec<Ask>, Failure> {
    let mut chosen = Vec::new();
    for some in candidates.chunks(AT_ONCE) {
        let mut lanes = JoinSet::new();
        for (place, ask) in some.iter().cloned().enumerate() {
            let counter = counter.clone();
            lanes.spawn(async move { (place, counter.fitted(ask, fit.max_input).await) });
        }
        let mut counted = lanes.join_all().await;
        counted.sort_by_key(|(place, _)| *place);
        for (_, ask) in counted {
            chosen.extend(ask?);
            if Some(chosen.len()) == fit.take {
                return Ok(chosen);
            }
        }
    }
    Ok(chosen)
}

/// Who counts the tokens of a text.
#[derive(Clone)]
struct Counter {
    client: Client,
    target: Target,
    /// Whether it is an instance that was declared.
    is_known: bool,
    model: String,
    api: Api,
}

impl Counter {
    /// The ask with the length of its answer; nothing where its prompt is too long.
    async fn fitted(&self, ask: Ask, max_input: Option<u32>) -> Result<Option<Ask>, Failure> {
        if let Some(most) = max_input
            && self.prompt(&ask.prompt).await? > most
        {
            return Ok(None);
        }
        let tokens = match &ask.answer {
            Answer::Tokens(tokens) => *tokens,
            Answer::LikeText(text) => {
                let answer = json!({"prompt": text, "add_special_tokens": false});
                self.count(answer).await?.max(1)
            }
        };
        Ok(Some(Ask::new(ask.prompt, tokens)))
    }

    async fn prompt(&self, prompt: &Prompt) -> Result<u32, Failure> {
        let asked = match (self.api, prompt) {
            (_, Prompt::Ids(ids)) => return Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX)),
            (Api::Chat, Prompt::Text(text)) => {
                json!({"messages": [{"role": "user", "content": text}]})
            }
            (_, Prompt::Messages(messages)) => json!({"messages": messages}),
            (Api::Completions, Prompt::Text(text)) => json!({"prompt": text}),
        };
        self.count(asked).await
    }

    async fn count(&self, mut asked: serde_json::Value) -> Result<u32, Failure> {
        asked["model"] = self.model.as_str().into();
        let Target {
            name, authority, ..
        } = &self.target;
        let at = if self.is_known {
            format!("instance `{name}` at {authority}")
        } else {
            format!("http://{authority}")
        };
        let answer = self.client.post(authority, "/tokenize", &asked).await;
        let (status, body) = answer
            .map_err(|why| Failure::new(format!("{at} counts no tokens: {why}")))
            .map_err(|failure| {
                if self.is_known {
                    failure.hinted(look_at_its_log(name))
                } else {
                    failure
                }
            })?;
        let count = count_of(&body).filter(|_| status == 200);
        count.ok_or_else(|| {
            let said = self.client.redact(&String::from_utf8_lossy(&body));
            Failure::new(format!("{at} counts no tokens: {status} {said}")).hinted(
                "leave `output_tokens` and `max_input` out to measure without its tokenizer",
            )
        })
    }
}
