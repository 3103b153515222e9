//! A short burst of real requests at a server that runs, and what its GPU is at meanwhile.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::wait_ready::request;
use crate::node::{Command, HttpRequest, Line, Node};
use crate::plan::effect::Check;
use crate::plan::{Failure, LivenessProbe};

/// Tokens of the answer by which a stream that is alone is timed.
const ALONE: u64 = 48;

/// How often it is timed: the best counts.
const ROUNDS: usize = 2;

/// Requests of the burst, and the tokens of each: SSH lets a connection have so many and what samples.
const TOGETHER: usize = 6;
const EACH: u64 = 96;

/// How long they follow one another at least: what samples comes around three times a second.
const LASTING: Duration = Duration::from_secs(3);

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Samples the GPUs until nobody reads it any more.
const SAMPLES: &str = include_str!("../script/gpu_samples.sh");

/// What came of a burst.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// What one token takes of a stream that is alone, in ms.
    pub decode_ms: f64,
    /// Tokens a second of all together.
    pub tok_s: f64,
    /// What `nvidia-smi` said of the GPUs meanwhile, a line each: none where it says nothing.
    pub samples: Vec<String>,
}

/// Has a server answer for some seconds: one request alone, then several together, while its GPUs are
/// sampled.
///
/// # Errors
///
/// When it does not answer, or completes nothing at all.
pub async fn burst(node: &Node, probe: &LivenessProbe) -> Result<Burst, Failure> {
    let few = asking(node, probe, 1).await?;
    let many = asking(node, probe, ALONE).await?;
    let mut decode_ms = f64::INFINITY;
    // What compiles at the first request is no decoding.
    answer(node, probe, &many).await?;
    for _ in 0..ROUNDS {
        let (_, first) = answer(node, probe, &few).await?;
        let (tokens, all) = answer(node, probe, &many).await?;
        let gaps = tokens.saturating_sub(1).max(1) as f64;
        let ms = (all.as_secs_f64() - first.as_secs_f64()) * 1e3 / gaps;
        decode_ms = decode_ms.min(ms.max(0.0));
    }
    let (tok_s, samples) = together(node, probe).await?;
    Ok(Burst {
        decode_ms,
        tok_s,
        samples,
    })
}

/// Several at a time, and what the GPUs are at.
async fn together(node: &Node, probe: &LivenessProbe) -> Result<(f64, Vec<String>), Failure> {
    let asked = asking(node, probe, EACH).await?;
    let (sender, mut lines) = mpsc::channel(256);
    let mut sampling = JoinSet::new();
    let sampled = node.clone();
    sampling.spawn(async move {
        // Without it there are no samples: that is told from their lack.
        let _ = sampled
            .stream(&Command::script(SAMPLES.to_owned()), sender)
            .await;
    });
    let mut answering = JoinSet::new();
    let began = Instant::now();
    for _ in 0..TOGETHER {
        let (node, probe, asked) = (node.clone(), probe.clone(), asked.clone());
        answering.spawn(async move {
            let mut tokens = 0;
            while began.elapsed() < LASTING {
                tokens += answer(&node, &probe, &asked).await?.0;
            }
            Ok::<u64, Failure>(tokens)
        });
    }
    let mut tokens = 0;
    while let Some(answered) = answering.join_next().await {
        tokens += answered.map_err(|crashed| Failure::bug(crashed.to_string()))??;
    }
    let took = began.elapsed().as_secs_f64();
    let mut samples = Vec::new();
    while let Ok(line) = lines.try_recv() {
        if let Line::Out(line) = line {
            samples.push(line);
        }
    }
    Ok((tokens as f64 / took, samples))
}

/// A request for so many tokens, as the server is asked for one when it is asked whether it lives.
async fn asking(node: &Node, probe: &LivenessProbe, tokens: u64) -> Result<HttpRequest, Failure> {
    let mut check: Check = probe.work.clone();
    let body = check
        .body
        .as_mut()
        .filter(|body| body.get("max_tokens").is_some());
    let Some(body) = body else {
        return Err(Failure::new("it completes nothing, as its model pools"));
    };
    body["max_tokens"] = tokens.into();
    body["ignore_eos"] = true.into();
    request(node, &check).await
}

/// How many tokens an answer has, and how long it took.
async fn answer(
    node: &Node,
    probe: &LivenessProbe,
    asked: &HttpRequest,
) -> Result<(u64, Duration), Failure> {
    let began = Instant::now();
    let answer = node.http(&probe.host, probe.port, asked, LIMIT).await?;
    let took = began.elapsed();
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match told["usage"]["completion_tokens"].as_u64() {
        Some(tokens) if answer.status == 200 => Ok((tokens, took)),
        _ => Err(Failure::new(format!(
            "it answered {} to a completion: {}",
            answer.status,
            answer.text().chars().take(200).collect::<String>()
        ))),
    }
}
