//! How close the physics comes to what others have published of long prompts on one device, where its
//! unknowns are fitted to some of the figures and the others are held out of that.
//!
//! What a fit begins with, and what the figures do not tell, is from data sheets: weights and KV cache are
//! read at the share of the bandwidth that a GB10 gets of its own, and prompts get 0.69 of the operations.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;

use super::solve::{Figure, Fitted, Term, fit};
use super::{Row, work_of};
use crate::resource::engine::Profile;
use crate::simulator::ledger::{Ledger, add};
use crate::simulator::physics::{Pace, Step};
use crate::simulator::profile::{self, Timing};
use crate::simulator::scheduler::{Limits, Scheduler};

const LLAMA: &str = include_str!("../../../tests/data/published/llama-3.1-8b.csv");

/// The share of a GB10's 273 GB/s that it gets.
const SHARE_OF_BANDWIDTH: f64 = 220.0 / 273.0;
/// From data sheets, in bytes a second.
const H100_BANDWIDTH: f64 = 3.35e12 * SHARE_OF_BANDWIDTH;
const H200_BANDWIDTH: f64 = 4.8e12 * SHARE_OF_BANDWIDTH;
/// Seconds for a token of a prompt on an H100 in bf16: 0.69 of the operations on its data sheet.
const H100_PROMPT_TOKEN: f64 = 22e-6;
/// Seconds for a pair of tokens there.
const H100_PAIR: f64 =
    H100_PROMPT_TOKEN * profile::OPERATIONS_PER_PAIR / profile::OPERATIONS_PER_TOKEN;
/// What a figure of such a table may be off by, as a share of it: nothing is said of it.
const NOISE: f64 = 0.03;

/// A device that tables were published of.
pub(super) struct Device {
    /// As the data names it.
    name: &'static str,
    /// In words.
    title: &'static str,
    /// From data sheets.
    begin: Pace,
    /// Why its table does not fit, where it does not.
    misfit: &'static str,
}

/// How far off a figure may be of a table that fits.
const FITS: f64 = 0.10;

pub(super) const DEVICES: [Device; 2] = [
    Device {
        name: "h100",
        title: "H100, bf16, TensorRT-LLM",
        begin: Pace {
            step_ms: Cow::Borrowed(&[(8.0, 5.57), (128.0, 5.57)]),
            token_read: profile::KV_BYTES_PER_TOKEN as f64 / H100_BANDWIDTH,
            prompt_token: H100_PROMPT_TOKEN,
            pair: H100_PAIR,
        },
        misfit: "",
    },
    // Weights and their products in FP8, which halves both; KV cache and attention in bf16.
    Device {
        name: "h200",
        title: "H200, FP8, vLLM 0.12",
        begin: Pace {
            step_ms: Cow::Borrowed(&[(16.0, 1.94), (128.0, 1.94)]),
            token_read: profile::KV_BYTES_PER_TOKEN as f64 / H200_BANDWIDTH,
            prompt_token: H100_PROMPT_TOKEN / 2.0,
            pair: H100_PAIR,
        },
        misfit: "  does not fit. 2000/100 x 64 reads 117 000 prompt tokens a second by its own figures, 0.89 of all\n  \
                 operations on the data sheet, and decodes beside that: that memory is read while prompts are computed is\n  \
                 missing in the physics, which adds the two. Where it has the sum of both times right, it has those to the\n  \
                 first token too short and the others too long: users whose answers have one length stay in step, and here\n  \
                 they are spread out.\n",
    },
];

/// Which part of a table a figure is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The physics was fitted to it.
    Fitted,
    /// It was held out of that.
    HeldOut,
}

/// Users who each ask again as soon as they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    prompt: usize,
    answer: usize,
    users: u64,
}

/// A figure of a table.
#[derive(Debug, Clone, Copy)]
struct Published {
    load: Load,
    is_first_token: bool,
    milliseconds: f64,
    part: Part,
}

/// What users see, on average.
#[derive(Debug, Clone)]
struct Seen {
    first_token: Mean,
    between_tokens: Mean,
}

/// A mean time in seconds, and how often each unknown of the physics is in it.
#[derive(Debug, Clone, Default)]
struct Mean {
    seconds: f64,
    shares: Vec<f64>,
}

/// A device with the physics that fits it, and all its figures, each with its part.
pub(super) struct Table {
    pub(super) fitted: Fitted,
    pub(super) rows: Vec<(Part, Row)>,
}

impl Device {
    /// Fits the physics to the part of the figures that is for it, and simulates all.
    pub(super) fn table(&self) -> Table {
        let published: Vec<_> = published(self.name).collect();
        let of_fit: Vec<_> = published
            .iter()
            .filter(|it| it.part == Part::Fitted)
            .collect();
        let fitted = fit(&self.begin, &self.begin, &mut |pace| {
            let mut seen = SeenOf::new(pace);
            of_fit.iter().map(|it| seen.figure(it)).collect()
        });
        let mut seen = SeenOf::new(&fitted.pace);
        let rows = published.iter().map(|it| (it.part, seen.row(it)));
        Table {
            rows: rows.collect(),
            fitted,
        }
    }
}

/// What users see at each load, simulated once.
struct SeenOf<'a> {
    pace: &'a Pace,
    seen: BTreeMap<Load, Seen>,
}

impl<'a> SeenOf<'a> {
    fn new(pace: &'a Pace) -> Self {
        let seen = BTreeMap::new();
        Self { pace, seen }
    }

    fn of(&mut self, published: &Published) -> &Mean {
        let load = published.load;
        let seen = self
            .seen
            .entry(load)
            .or_insert_with(|| steady(self.pace, load));
        if published.is_first_token {
            &seen.first_token
        } else {
            &seen.between_tokens
        }
    }

    fn figure(&mut self, published: &Published) -> Figure {
        let Mean { seconds, shares } = self.of(published).clone();
        Figure {
            measured: published.milliseconds / 1000.0,
            simulated: seconds,
            shares,
            noise: NOISE,
        }
    }

    fn row(&mut self, published: &Published) -> Row {
        let Load {
            prompt,
            answer,
            users,
        } = published.load;
        let unit = if published.is_first_token {
            "ms TTFT"
        } else {
            "ms TPOT"
        };
        Row {
            what: format!("{prompt}/{answer} x {users}"),
            unit,
            measured: published.milliseconds,
            simulated: self.of(published).seconds * 1000.0,
        }
    }
}

/// All tables.
pub(super) fn tables() -> String {
    let mut text = String::new();
    for device in DEVICES {
        let Table { fitted, rows } = device.table();
        let _ = writeln!(text, "\n{}: {}", device.title, told(&fitted));
        for (part, title) in [(Part::Fitted, "fitted"), (Part::HeldOut, "held out")] {
            let rows: Vec<_> = rows.iter().filter(|(its, _)| *its == part).collect();
            let off = rows.iter().map(|(_, row)| row.error().abs());
            let mean = off.sum::<f64>() / rows.len() as f64 * 100.0;
            let _ = writeln!(
                text,
                "{title}: {} figures, off by {mean:.1} % on average",
                rows.len()
            );
            for (_, row) in rows {
                text.push_str(&row.line());
            }
        }
        if rows.iter().any(|(_, row)| row.error().abs() > FITS) {
            text.push_str(device.misfit);
        }
    }
    text
}

/// The physics that was fitted, in words.
fn told(fitted: &Fitted) -> String {
    let Fitted { pace, untold, .. } = fitted;
    let points = pace.step_ms.iter();
    let steps: Vec<_> = points
        .map(|(at, ms)| format!("{ms:.2} ms at {at:.0}"))
        .collect();
    let gigabytes = profile::KV_BYTES_PER_TOKEN as f64 / pace.token_read / 1e9;
    let words = |term: &Term| match term {
        Term::Context => "context",
        Term::Prompt => "prompts",
        Term::Attention => "their attention",
    };
    let untold: Vec<_> = untold.iter().map(words).collect();
    let untold = match untold.as_slice() {
        [] => String::new(),
        some => format!(", of which {} is from data sheets", some.join(" and ")),
    };
    format!(
        "a step takes {}, context is read at {gigabytes:.0} GB/s, prompts at {:.0} tokens/s{untold}",
        steps.join(" and "),
        1.0 / pace.prompt_token,
    )
}

/// The figures of a device.
fn published(device: &str) -> impl Iterator<Item = Published> {
    let lines = LLAMA.lines().filter(|line| !line.starts_with('#')).skip(1);
    let fields = lines.map(|line| line.split(',').collect::<Vec<_>>());
    fields
        .filter(move |fields| fields[0] == device)
        .map(|fields| Published {
            load: Load {
                prompt: number(fields[1]) as usize,
                answer: number(fields[2]) as usize,
                users: number(fields[3]) as u64,
            },
            is_first_token: fields[4] == "ttft",
            milliseconds: number(fields[5]),
            part: match fields[6] {
                "fitted" => Part::Fitted,
                _ => Part::HeldOut,
            },
        })
}

fn number(field: &str) -> f64 {
    field.parse().expect("the tables are part of the program")
}

/// Runs users until each has been answered three times; the first answer is for getting there.
fn steady(pace: &Pace, load: Load) -> Seen {
    let mut scheduler = scheduler(pace);
    let mut ledger = Ledger::default();
    let lifetime = lifetime(pace, load);
    let mut asking: Vec<(Duration, u64)> = (0..load.users)
        .map(|user| (lifetime * user as u32 / load.users as u32, user))
        .collect();
    let (mut now, mut next, mut answered) = (Duration::ZERO, load.users, 0);
    let mut asked: HashMap<u64, Duration> = HashMap::new();
    let mut first: HashMap<u64, Duration> = HashMap::new();
    let mut ended = Vec::new();
    while answered < load.users * 3 {
        asking.sort_unstable();
        while asking.first().is_some_and(|(at, _)| *at <= now) {
            let (at, id) = asking.remove(0);
            asked.insert(id, at);
            scheduler.submit(work_of(id, load.prompt, load.answer), at);
        }
        let Some(step) = scheduler.begin(now) else {
            now = asking.first().map_or(now, |(at, _)| *at);
            continue;
        };
        ledger.note(now, step, scheduler.shares());
        now += step;
        for output in scheduler.complete(now) {
            let began = *first.entry(output.id).or_insert(now);
            if output.finish.is_none() {
                continue;
            }
            answered += 1;
            asking.push((now, next));
            next += 1;
            if output.id >= load.users {
                ended.push([asked[&output.id], began, now]);
            }
        }
    }
    Seen::of(&ended, &ledger, load)
}

impl Seen {
    /// Of when each was asked, began and ended.
    fn of(ended: &[[Duration; 3]], ledger: &Ledger, load: Load) -> Self {
        let each = 1.0 / ended.len() as f64;
        let mut seen = Self {
            first_token: Mean::default(),
            between_tokens: Mean::default(),
        };
        for [asked, began, last] in ended {
            seen.first_token.add(ledger, *asked, *began, each);
            let gap = each / (load.answer - 1) as f64;
            seen.between_tokens.add(ledger, *began, *last, gap);
        }
        seen
    }
}

impl Mean {
    fn add(&mut self, ledger: &Ledger, from: Duration, to: Duration, times: f64) {
        self.seconds += to.saturating_sub(from).as_secs_f64() * times;
        let shares = ledger.between(from, to);
        self.shares.resize(shares.len(), 0.0);
        add(&mut self.shares, &shares, times);
    }
}

/// About how long an answer takes among all others: over that the users start.
fn lifetime(pace: &Pace, load: Load) -> Duration {
    let mut together = Step::default();
    (0..load.users).for_each(|_| together.decode(load.prompt + load.answer / 2));
    let mut alone = Step::default();
    alone.prefill(0, load.prompt);
    pace.time(&together) * load.answer as u32 + pace.time(&alone) * load.users as u32
}

fn scheduler(pace: &Pace) -> Scheduler {
    let limits = Limits {
        max_num_seqs: 1024,
        max_num_batched_tokens: 8192,
        max_model_len: 131_072,
        block_size: 16,
        blocks: 1 << 20,
        prefix_caching: false,
        connects: false,
    };
    let timing = Timing {
        pace: pace.clone(),
        ..Timing::of(Profile::Fast)
    };
    Scheduler::new(limits, timing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_out_is_met_by_what_was_fitted_to_the_rest() {
        let [h100, _] = DEVICES;
        let Table { rows, .. } = h100.table();
        assert_eq!(rows.len(), 42);
        for (part, row) in &rows {
            let most = if *part == Part::Fitted { 0.05 } else { FITS };
            assert!(row.error().abs() < most, "{part:?} {row:?}");
        }
        let held_out = rows.iter().filter(|(part, _)| *part == Part::HeldOut);
        let sum: f64 = held_out.map(|(_, row)| row.error().abs()).sum();
        assert!(sum / 34.0 < 0.045, "{sum}");
    }
}
