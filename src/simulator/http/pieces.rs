//! From tokens to text: gathers what the engine produced into pieces, one a choice at a time.
//!
//! As in vLLM, what came while the client was slow is one piece; text that may be the beginning of
//! a stop string is held back; a choice whose stop string was seen is aborted in the engine.

use std::task::{Context, Poll, ready};

use serde_json::{Value, json};

use super::request::Job;
use crate::simulator::engine::Generation;
use crate::simulator::prefix_cache::BlockId;
use crate::simulator::scheduler::{Finish, Output};
use crate::simulator::text::{self, Token};

/// Some tokens of one choice.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) index: usize,
    /// How much of its choice's text was handed out before it.
    pub(super) from: usize,
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    pub(super) end: Option<End>,
    /// How much of its prompt did not have to be computed.
    pub(super) cached: usize,
    /// The blocks that are kept of it.
    pub(super) kept: Option<Vec<BlockId>>,
}

/// How a choice ended, in the words of the API.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    pub(super) finish_reason: &'static str,
    pub(super) stop_reason: Value,
}

/// Why there are no more pieces.
#[derive(Debug, PartialEq)]
pub(super) enum Broken {
    /// The engine is gone.
    EngineDead,
    /// What the answer was to go on from could not be fetched.
    LoadFailed,
}

/// The answers to one request, as they come.
#[derive(Debug)]
pub(super) struct Pieces {
    generation: Generation,
    choices: Vec<Choice>,
    stop: Stop,
    interval: usize,
}

#[derive(Debug)]
struct Stop {
    strings: Vec<String>,
    include: bool,
    min_tokens: usize,
}

#[derive(Debug, Default)]
struct Choice {
    text: String,
    /// How much of the text was handed out.
    sent: usize,
    tokens: usize,
    /// Tokens that were not handed out.
    pending: Vec<Token>,
    started: bool,
    end: Option<End>,
    cached: usize,
    kept: Option<Vec<BlockId>>,
    closed: bool,
}

impl Pieces {
    /// Listens to the answers to `job`; a piece is `interval` tokens or more, after the first.
    pub(super) fn new(generation: Generation, job: &Job, interval: usize) -> Self {
        let choices = job.works.iter().map(|_| Choice::default()).collect();
        let stop = Stop {
            strings: job.stop.clone(),
            include: job.include_stop,
            min_tokens: job.min_tokens,
        };
        Self {
            generation,
            choices,
            stop,
            interval,
        }
    }

    /// The pieces that are there, at least one; nothing when all choices have ended.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<Piece>, Broken>> {
        loop {
            if self.choices.iter().all(|choice| choice.closed) {
                return Poll::Ready(Ok(Vec::new()));
            }
            let first = ready!(self.generation.poll_next(context)).ok_or(Broken::EngineDead)?;
            self.take(first)?;
            while let Poll::Ready(Some(more)) = self.generation.poll_next(context) {
                self.take(more)?;
            }
            let pieces = self.hand_out();
            if !pieces.is_empty() {
                return Poll::Ready(Ok(pieces));
            }
        }
    }

    fn take(&mut self, output: Output) -> Result<(), Broken> {
        if output.finish == Some(Finish::Error) {
            return Err(Broken::LoadFailed);
        }
        let choice = &mut self.choices[self.generation.index_of(output.id)];
        if choice.end.is_some() {
            return Ok(());
        }
        let (id, goes_on) = (output.id, output.finish.is_none());
        choice.take(output, &self.stop);
        if choice.end.is_some() && goes_on {
            self.generation.abort(id);
        }
        Ok(())
    }

    fn hand_out(&mut self) -> Vec<Piece> {
        let (interval, stop) = (self.interval, &self.stop);
        let due = self
            .choices
            .iter_mut()
            .enumerate()
            .filter(|(_, choice)| choice.is_due(interval));
        due.map(|(index, choice)| choice.hand_out(index, stop))
            .collect()
    }
}

impl Choice {
    fn take(&mut self, output: Output, stop: &Stop) {
        self.tokens += 1;
        self.cached = output.cached;
        self.kept = output.kept;
        self.pending.push(output.token);
        let before = self.text.len();
        // The end token that the model chose itself has no text; nor has a stop token.
        if !matches!(output.finish, Some(Finish::Stop(_))) {
            self.text.push_str(text::text_of(output.token));
        }
        self.end = output.finish.map(|finish| match finish {
            Finish::Length => End {
                finish_reason: "length",
                stop_reason: Value::Null,
            },
            Finish::Stop(token) => End {
                finish_reason: "stop",
                stop_reason: json!(token),
            },
            Finish::Error => End {
                finish_reason: "error",
                stop_reason: Value::Null,
            },
        });
        if self.tokens > stop.min_tokens
            && let Some((at, string)) = stop.find(&self.text, before)
        {
            self.text
                .truncate(if stop.include { at + string.len() } else { at });
            self.end = Some(End {
                finish_reason: "stop",
                stop_reason: json!(string),
            });
        }
    }

    fn is_due(&self, interval: usize) -> bool {
        let enough = self.pending.len() >= interval || !self.started && !self.pending.is_empty();
        !self.closed && (self.end.is_some() || enough)
    }

    fn hand_out(&mut self, index: usize, stop: &Stop) -> Piece {
        let until = if self.end.is_some() {
            self.text.len()
        } else {
            stop.safe_length(&self.text).max(self.sent)
        };
        let text = self
            .text
            .get(self.sent..until)
            .unwrap_or_default()
            .to_owned();
        let from = std::mem::replace(&mut self.sent, until);
        self.started = true;
        self.closed = self.end.is_some();
        Piece {
            index,
            from,
            text,
            tokens: std::mem::take(&mut self.pending),
            end: self.end.clone(),
            cached: self.cached,
            kept: self.kept.take(),
        }
    }
}

impl Stop {
    /// Where a stop string starts that ends in the text from `from` on. What the model says
    /// is ASCII, so every place is the start of a character.
    fn find(&self, text: &str, from: usize) -> Option<(usize, &str)> {
        self.strings.iter().find_map(|string| {
            let start = from.saturating_sub(string.len());
            text[start..]
                .find(string.as_str())
                .map(|at| (start + at, string.as_str()))
        })
    }

    /// How much of the text cannot be the beginning of a stop string.
    fn safe_length(&self, text: &str) -> usize {
        let longest = self.strings.iter().map(String::len).max();
        match longest {
            Some(longest) if !self.include => text.len().saturating_sub(longest.saturating_sub(1)),
            _ => text.len(),
        }
    }
}
