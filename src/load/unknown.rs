//! An endpoint of which nothing is declared: which models it says that it serves, who answered while it
//! was warmed, and what to do where it does not answer as it should.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Client;
use super::clock::Clock;
use super::identity::first_names;
use super::key::ApiKeys;
use crate::plan::{Failure, Job};
use crate::prompts::Api;
use crate::results::{Status, WarmedInstance, WarmupRequest};

/// How long it may take to name its models.
const LIMIT: Duration = Duration::from_secs(10);

/// How a server is looked at by hand.
fn by_hand(authority: &str) -> String {
    format!("is a server running there? `curl http://{authority}/v1/models` shows it")
}

/// The models that an endpoint says it serves (`GET /v1/models`), each by its first name. `keys` are the API keys by
/// the addresses that they are shown to.
///
/// # Errors
///
/// When it does not answer, or names none.
pub async fn models_at(
    authority: &str,
    keys: &BTreeMap<String, String>,
) -> Result<Vec<String>, Failure> {
    let client = Client {
        clock: Clock::start(),
        keys: ApiKeys::new(keys)?,
        limit: LIMIT,
    };
    let answer = client.get(authority, "/v1/models").await;
    let (status, body) = answer.map_err(|why| {
        let why = if why.contains(authority) {
            why
        } else {
            format!("http://{authority} does not answer: {why}")
        };
        Failure::new(why).hinted(by_hand(authority))
    })?;
    let url = format!("http://{authority}/v1/models");
    match (status, first_names(&body)) {
        (401 | 403, _) => {
            Err(Failure::new(format!("{url} answers {status}"))
                .hinted(about_the_key(!keys.is_empty())))
        }
        (200, models) if !models.is_empty() => Ok(models),
        (200, _) => Err(Failure::new(format!("{url} names no model"))
            .hinted("name the one to ask for: `--model NAME`")),
        (status, _) => Err(Failure::new(format!("{url} answers {status}"))
            .hinted("a server without that list is told which model to ask for: `--model NAME`")),
    }
}

fn about_the_key(is_shown: bool) -> &'static str {
    if is_shown {
        "the key that it was shown is not one of its own: look at what the variable holds"
    } else {
        "name the variable of this machine's environment that holds its key: `--api-key-env NAME`"
    }
}

/// The warm-up of an endpoint, by who says to have answered.
///
/// # Errors
///
/// When nobody answered.
pub(super) fn of_whoever_answered(
    job: &Job,
    asked: WarmedInstance,
) -> Result<Vec<WarmedInstance>, Failure> {
    let all = || asked.requests.iter().chain(&asked.together);
    if !all().any(|request| request.status == Status::Ok) {
        return Err(nobody_answered(job, &asked.requests));
    }
    if all().all(|request| request.served_by.is_none()) {
        return Ok(vec![asked]);
    }
    // Whose n-th request it is does not tell which prompt it was: no two answers are held together.
    let parted = |requests: Vec<WarmupRequest>| {
        let mut by_instance: BTreeMap<String, Vec<WarmupRequest>> = BTreeMap::new();
        for request in requests {
            let name = request.served_by.as_ref().unwrap_or(&asked.instance);
            by_instance
                .entry(name.clone())
                .or_default()
                .push(WarmupRequest {
                    text_sha256: None,
                    ..request
                });
        }
        by_instance
    };
    let mut together = parted(asked.together.clone());
    let mut one_by_one = parted(asked.requests.clone());
    for name in together.keys() {
        one_by_one.entry(name.clone()).or_default();
    }
    let warmed = one_by_one.into_iter();
    let warmed = warmed.map(|(instance, requests)| WarmedInstance {
        requests,
        stable: None,
        together: together.remove(&instance).unwrap_or_default(),
        instance,
    });
    Ok(warmed.collect())
}

fn nobody_answered(job: &Job, requests: &[WarmupRequest]) -> Failure {
    let authority = &job.endpoint.authority;
    let first = requests.first();
    let why = first.and_then(|it| it.error.as_deref());
    let why = why.map_or("no reason was given", str::trim);
    let status = first.and_then(|it| it.http_status);
    let status = status.map(|it| format!("{it} ")).unwrap_or_default();
    let path = job.api.path();
    let failure = Failure::new(format!(
        "http://{authority}{path} answered none of {} warm-up requests: {status}{why}",
        requests.len()
    ));
    match first.and_then(|it| what_to_do(job, it)) {
        Some(hint) => failure.hinted(hint),
        None => failure,
    }
}

fn what_to_do(job: &Job, request: &WarmupRequest) -> Option<String> {
    let authority = &job.endpoint.authority;
    let (other, route) = match job.api {
        Api::Completions => ("chat", Api::Chat.path()),
        Api::Chat => ("completions", Api::Completions.path()),
    };
    Some(match (request.status, request.http_status) {
        (Status::Connect, _) => by_hand(authority),
        (Status::HttpError, Some(401 | 403)) => about_the_key(!job.api_keys.is_empty()).to_owned(),
        (Status::HttpError, Some(404)) => format!(
            "does it serve `{}`, and that route? `--api {other}` asks {route}",
            job.model
        ),
        (Status::HttpError, Some(400 | 422)) => {
            "a server that refuses fields that only vLLM knows is spared them by `--cache allow \
             --natural-length`"
                .to_owned()
        }
        (Status::LengthMismatch, _) => {
            "it does not know vLLM's `ignore_eos`: let answers end where the model ends them, \
             `--natural-length`"
                .to_owned()
        }
        (Status::Timeout, _) => "give requests more time: `--timeout 10m`".to_owned(),
        _ => return None,
    })
}
