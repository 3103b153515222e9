//! One engine whose clock is somebody else's: for who plays through what engines are going to do.
//!
//! It is the [`Scheduler`] of the simulated server with what its command line decides, and nothing of
//! HTTP, of processes or of real time. Whoever has several hands blocks from one to the other in their
//! stead, and says when that is done.

use std::time::Duration;

use super::args::{Args, InvalidArgs, Options};
use super::kv::params::{Handover, Keep, Remote};
use super::kv::pull::{Outcome, Pull, Transfer};
use super::kv::settings::FailurePolicy;
use super::ledger::Ledger;
use super::physics::Pace;
use super::prefix_cache::BlockId;
use super::profile::{KV_BYTES_PER_TOKEN, Transfers};
use super::scheduler::{Finish, Limits, Output, Scheduler, Work};
use super::text::{self, Token};

/// One engine.
#[derive(Debug)]
pub(crate) struct ClocklessEngine {
    scheduler: Scheduler,
    limits: Limits,
    transfers: Transfers,
    /// When the link has carried all that it was given.
    link_free: Duration,
    lease: Duration,
    stream_interval: usize,
    ledger: Option<Ledger>,
}

/// How an engine differs from what its command line says.
#[derive(Debug, Clone)]
pub(crate) struct Tuning {
    /// How fast it computes, where that is not its profile's.
    pub(crate) pace: Option<Pace>,
    /// Whether it writes down what it spends its time on.
    pub(crate) keeps_a_ledger: bool,
    /// How many times as fast prompts are computed as by its profile.
    pub(crate) prefill: f64,
    /// For how long blocks are kept that nobody fetches.
    pub(crate) lease: Duration,
    /// Bytes a second of the link over which it fetches, where that is not the profile's.
    pub(crate) bytes_per_second: Option<f64>,
}

/// Why an engine cannot be had of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoEngine {
    /// The simulator does not take it, for this reason.
    Refused(String),
    /// It is to be faulty, by this flag, and faults are a matter of real servers.
    Faulty(&'static str),
}

/// An answer to be made. Each has a number that no other of the engine has.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) prompt: Vec<Token>,
    pub(crate) salt: Option<String>,
    /// Its tokens, neither more nor fewer.
    pub(crate) tokens: usize,
    pub(crate) blocks: Blocks,
}

/// What becomes of the blocks of an answer, and where they come from.
#[derive(Debug, Clone)]
pub(crate) enum Blocks {
    /// They are computed, and let go.
    Computed,
    /// They are computed, and kept for another engine to fetch.
    ComputedForAnother,
    /// They are fetched from another engine, which keeps them.
    Fetched(Kept),
}

/// Blocks that an engine keeps for another, under the number of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept(Vec<BlockId>);

/// One token of an answer.
#[derive(Debug)]
pub(crate) struct Produced {
    pub(crate) number: u64,
    pub(crate) is_last: bool,
    /// How many tokens of the prompt were not computed here.
    pub(crate) cached: usize,
    /// What is kept of it, with its last token.
    pub(crate) kept: Option<Kept>,
}

/// Blocks on their way from another engine, or word to it that nobody wants them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) number: u64,
    /// When they are here.
    pub(crate) at: Duration,
    /// Whether anybody waits for them.
    pub(crate) is_wanted: bool,
    bytes: u64,
}

impl ClocklessEngine {
    /// The engine that the words behind `simulate` would start.
    pub(crate) fn of(words: &[String], tuning: Tuning) -> Result<Self, NoEngine> {
        let options = Args::of(words).read().map_err(refused)?;
        if let Some(flag) = fault(&options) {
            return Err(NoEngine::Faulty(flag));
        }
        let mut timing = options.timing();
        let ledger = tuning.keeps_a_ledger.then(Ledger::default);
        let pace = tuning.pace.unwrap_or(timing.pace);
        timing.pace = pace.reading_prompts(tuning.prefill);
        if let Some(bytes_per_second) = tuning.bytes_per_second {
            timing.transfers = timing.transfers.over(bytes_per_second);
        }
        let limits = options.limits();
        Ok(Self {
            transfers: timing.transfers,
            scheduler: Scheduler::new(limits.clone(), timing),
            limits,
            link_free: Duration::ZERO,
            lease: tuning.lease,
            stream_interval: options.stream_interval.max(1),
            ledger,
        })
    }

    /// Puts an answer that is to be made at the end of the queue. False where it is longer than the
    /// model can be, which a server refuses.
    pub(crate) fn submit(&mut self, asked: Asked, now: Duration) -> bool {
        let Asked {
            number,
            prompt,
            salt,
            tokens,
            blocks,
        } = asked;
        if prompt.len() + tokens > self.limits.max_model_len {
            return false;
        }
        let mut handover = Handover::default();
        match blocks {
            Blocks::Computed => {}
            Blocks::ComputedForAnother => {
                handover.keep = Some(Keep {
                    request: number.to_string(),
                    lease: self.lease,
                });
            }
            Blocks::Fetched(Kept(kept)) => {
                handover.fetch = Some(Remote::known(number.to_string(), kept));
            }
        }
        let work = Work {
            id: number,
            prompt,
            cache_salt: salt,
            seed: number,
            max_tokens: tokens,
            min_tokens: 0,
            stop_tokens: Vec::new(),
            ignore_eos: true,
            handover,
        };
        self.scheduler.submit(work, now);
        true
    }

    /// Forgets an answer that nobody waits for any more.
    pub(crate) fn abort(&mut self, number: u64) {
        self.scheduler.abort(number);
    }

    /// Plans the next step and returns how long it takes; nothing when there is nothing to do.
    pub(crate) fn begin(&mut self, now: Duration) -> Option<Duration> {
        let took = self.scheduler.begin(now)?;
        if let Some(ledger) = &mut self.ledger {
            ledger.note(now, took, self.scheduler.shares());
        }
        Some(took)
    }

    /// What it has spent its time on, where that is written down.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// What the step that was planned has produced, at its end.
    pub(crate) fn complete(&mut self, now: Duration) -> Vec<Produced> {
        let outputs = self.scheduler.complete(now).into_iter();
        outputs.map(produced).collect()
    }

    /// What is to be fetched since this was last asked; the link carries one after the other.
    pub(crate) fn take_fetches(&mut self, now: Duration) -> Vec<Fetch> {
        let pulls = self.scheduler.take_pulls().into_iter();
        pulls.map(|(id, pull)| self.fetch(id, &pull, now)).collect()
    }

    fn fetch(&mut self, number: u64, pull: &Pull, now: Duration) -> Fetch {
        let Some(tokens) = &pull.tokens else {
            return Fetch {
                number,
                at: now,
                is_wanted: false,
                bytes: 0,
            };
        };
        let size = self.limits.block_size;
        let blocks = tokens.end.div_ceil(size) - tokens.start / size;
        let bytes = (blocks * size) as u64 * KV_BYTES_PER_TOKEN;
        self.link_free = self.link_free.max(now) + self.transfers.time(bytes);
        Fetch {
            number,
            at: self.link_free,
            is_wanted: true,
            bytes,
        }
    }

    /// Takes what was fetched.
    pub(crate) fn fetched(&mut self, fetch: &Fetch) {
        let transfer = Transfer {
            time: self.transfers.time(fetch.bytes),
            post: self.transfers.post,
            bytes: fetch.bytes,
            descriptors: 0,
        };
        // What was in them is what should be: no answer is read here.
        let outcome = Outcome::Fetched {
            marks: Vec::new(),
            transfer,
        };
        let policy = FailurePolicy::default();
        self.scheduler.pulled(fetch.number, outcome, policy);
    }

    /// Frees what another engine has fetched; false where nothing was kept any more.
    pub(crate) fn was_fetched(&mut self, number: u64) -> bool {
        self.scheduler.fetched(&number.to_string())
    }

    /// Frees what nobody has fetched in time, and returns of how many answers that was.
    pub(crate) fn expire(&mut self, now: Duration) -> usize {
        self.scheduler.expire(now).len()
    }

    /// When something that is kept expires next.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.scheduler.next_expiry()
    }

    /// The share of its KV cache that is in use.
    pub(crate) fn kv_usage(&self) -> f64 {
        self.scheduler.kv_usage()
    }

    /// How many tokens of an answer an event of its stream has, after the first.
    pub(crate) fn stream_interval(&self) -> usize {
        self.stream_interval
    }
}

/// The tokens of a text, about as a Llama tokenizer cuts them.
pub(crate) fn tokens_of(text: &str) -> Vec<Token> {
    text::encode(text)
}

/// The tokens of a conversation of roles and what they say, in the template of Llama.
pub(crate) fn tokens_of_chat<'a>(
    messages: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<Token> {
    text::conversation(messages)
}

fn produced(output: Output) -> Produced {
    debug_assert_ne!(output.finish, Some(Finish::Error), "nothing is lost here");
    Produced {
        number: output.id,
        is_last: output.finish.is_some(),
        cached: output.cached,
        kept: output.kept.map(Kept),
    }
}

fn refused(why: InvalidArgs) -> NoEngine {
    NoEngine::Refused(match why {
        InvalidArgs::Unknown(words) => format!("it knows no `{}`", words.join(" ")),
        InvalidArgs::Clap(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.trim_start_matches("error: ").to_owned()
        }
    })
}

/// The flag by which it is to be faulty.
fn fault(options: &Options) -> Option<&'static str> {
    let faults = options.faults();
    let flags = [
        ("sim_wedge_after", faults.wedge_after.is_some()),
        ("sim_cold_seconds", !faults.cold.is_zero()),
        ("sim_poison", options.sim_poison.is_some()),
        ("sim_fail_loading", options.sim_fail_loading.is_some()),
    ];
    let given = flags.into_iter().find(|(_, is_given)| *is_given);
    given.map(|(flag, _)| flag)
}
