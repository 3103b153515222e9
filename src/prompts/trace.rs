//! The lengths of a trace, request by request: what real users asked, without what they said.
//!
//! Published traces hold no texts. A prompt is a list of token ids that are drawn, exactly as long as
//! the trace says; where the trace names blocks of prompts (`hash_ids` of Mooncake, 512 tokens each),
//! equal blocks are equal ids, so that requests share prefixes as those of the users did.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::asks::shared;
use super::dice::Dice;
use super::form::{Form, InvalidPrompts, PromptsPart, Unreadable, at_least_one};
use super::{Api, Ask, Asks, IdWindow, Prompt, Prompts, Reading};
use crate::hex::hex;
use crate::shape::{Format, TraceFile, TraceRequest};

/// How many tokens a block has (`hash_ids` in the README of Mooncake's traces).
const BLOCK: u32 = 512;

/// The file, and how much of each request is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    file: TraceFile,
    bounds: Bounds,
    seed: u64,
}

/// As many tokens as are asked at most; what is longer in the trace is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bounds {
    input: Option<u32>,
    output: Option<u32>,
}

impl Form for Trace {
    type Value = PathBuf;
    const WITH: &'static [&'static str] = &["format", "sha256", "seed", "max_input", "max_output"];
    const EXAMPLE: &'static str = "{trace: traces/conv.jsonl, format: mooncake}";

    fn check(path: &PathBuf, with: &Prompts) -> Result<Self, Vec<InvalidPrompts>> {
        let counts = [
            ("max_input", with.max_input),
            ("max_output", with.max_output),
        ];
        let counts = counts.into_iter().filter_map(|(key, count)| {
            at_least_one(&[key], count?, "tokens at which longer ones are cut")
        });
        let mut wrong: Vec<_> = counts.collect();
        let Some(format) = with.format else {
            wrong.push(InvalidPrompts::new(
                PromptsPart::key(&["trace"]),
                "`trace` needs `format`: how the file is to be read",
                "write `mooncake`, `azure` or `burstgpt`",
            ));
            return Err(wrong);
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            file: TraceFile {
                path: path.clone(),
                format,
                sha256: with.sha256.clone(),
            },
            bounds: Bounds {
                input: with.max_input,
                output: with.max_output,
            },
            seed: with.seed.unwrap_or(0),
        })
    }

    fn read(&self, reading: &Reading<'_>) -> Result<Asks, Unreadable> {
        let read = self.file.read(reading.folder);
        let read = read.map_err(|why| Unreadable::new(why.message, why.hint))?;
        Ok(Asks::replayed(Replayed {
            requests: read.requests,
            file: read.sha256,
            format: self.file.format,
            bounds: self.bounds,
            seed: self.seed,
            window: IdWindow::safe(None),
        }))
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file.path)
    }

    fn suits(&self, api: Api) -> bool {
        api == Api::Completions
    }
}

/// Everything that the prompts of a trace are drawn from. A request of a later turn than the first has
/// the lengths and the blocks of its place in the trace, and other ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Replayed {
    /// In the order of their times; never none.
    #[serde(with = "shared")]
    requests: Arc<[TraceRequest]>,
    /// The digest of the file.
    file: String,
    format: Format,
    bounds: Bounds,
    seed: u64,
    pub(super) window: IdWindow,
}

impl Replayed {
    /// What request `index` asks.
    pub(super) fn ask(&self, index: u32) -> Ask {
        let count = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        let request = &self.requests[(index % count) as usize];
        let seed = Dice::of(self.seed, u64::from(index / count)).next();
        let (input, output) = self.lengths(request);
        let mut ids = Vec::with_capacity(input as usize);
        for block in &request.blocks {
            let mut dice = Dice::of(seed, *block);
            let tokens = BLOCK.min(input - ids.len() as u32);
            ids.extend((0..tokens).map(|_| self.id(&mut dice)));
        }
        // What no block is said of is this request's alone.
        let mut dice = Dice::of(!seed, u64::from(index % count));
        ids.extend((ids.len()..input as usize).map(|_| self.id(&mut dice)));
        Ask {
            // A block stands for all that is before it too: who shares anything shares the first.
            prefix: request.blocks.first().map(|block| *block as u32),
            ..Ask::new(Prompt::Ids(ids), output)
        }
    }

    /// Tokens of a request's prompt and of its answer.
    fn lengths(&self, request: &TraceRequest) -> (u32, u32) {
        let Bounds { input, output } = self.bounds;
        let cut = |tokens: u32, most: Option<u32>| tokens.min(most.unwrap_or(u32::MAX)).max(1);
        (cut(request.input, input), cut(request.output, output))
    }

    fn all(&self) -> impl Iterator<Item = (u32, u32)> {
        self.requests.iter().map(|request| self.lengths(request))
    }

    /// The tokens of the longest answer.
    pub(super) fn longest_answer(&self) -> u32 {
        self.all().map(|(_, output)| output).max().unwrap_or(1)
    }

    /// Whether all answers have the same length.
    pub(super) fn are_answers_equal(&self) -> bool {
        let mut outputs = self.all().map(|(_, output)| output);
        let first = outputs.next();
        outputs.all(|output| Some(output) == first)
    }

    /// As many tokens as a prompt and its answer have together at most.
    pub(super) fn longest(&self) -> Option<u32> {
        let together = self
            .all()
            .map(|(input, output)| input.saturating_add(output));
        together.max()
    }

    /// How many tokens prompts share at least that share any, where blocks are known.
    pub(super) fn shared_prefix(&self) -> Option<u32> {
        let has_blocks = self.requests.iter().any(|it| !it.blocks.is_empty());
        has_blocks.then_some(BLOCK)
    }

    fn id(&self, dice: &mut Dice) -> u32 {
        self.window.first + dice.below(self.window.count)
    }

    /// The digest of all that a prompt is drawn from.
    pub(super) fn digest(&self) -> String {
        let said = json!([self.file, self.format, self.bounds, self.seed, self.window]);
        hex(&Sha256::digest(said.to_string()))
    }
}
