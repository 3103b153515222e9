//! How close the physics comes to what others have published of long prompts, on other devices.
//!
//! Of an H100 one figure is fitted, the share of its operations that a prompt gets; the weights and
//! the KV cache are read at the share of its bandwidth that a GB10 gets of its own. An H200 has the
//! same shares of what is on its data sheet, and nothing is fitted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Duration;

use super::{Row, work_of};
use crate::resource::engine::Profile;
use crate::simulator::physics::{Pace, Step};
use crate::simulator::profile::{self, Timing};
use crate::simulator::scheduler::{Limits, Scheduler};

const LLAMA: &str = include_str!("../../../tests/data/published/llama-3.1-8b.csv");
const ARMS: &str = include_str!("../../../tests/data/published/split-or-not.csv");

/// The share of a GB10's 273 GB/s that it gets.
const SHARE_OF_BANDWIDTH: f64 = 220.0 / 273.0;
/// From data sheets, in bytes a second.
const H100_BANDWIDTH: f64 = 3.35e12 * SHARE_OF_BANDWIDTH;
const H200_BANDWIDTH: f64 = 4.8e12 * SHARE_OF_BANDWIDTH;
/// Seconds for a token of a prompt on an H100 in bf16: 0.69 of the operations on its data sheet.
const H100_PROMPT_TOKEN: f64 = 22e-6;

const H100: Pace = Pace {
    step_ms: &[(1.0, 5.57), (256.0, 5.57)],
    token_read: profile::KV_BYTES_PER_TOKEN as f64 / H100_BANDWIDTH,
    prompt_token: H100_PROMPT_TOKEN,
    pair: H100_PROMPT_TOKEN * profile::OPERATIONS_PER_PAIR / profile::OPERATIONS_PER_TOKEN,
};

/// Weights and their products in FP8, which halves both; KV cache and attention in bf16.
const H200: Pace = Pace {
    step_ms: &[(1.0, 1.94), (256.0, 1.94)],
    token_read: profile::KV_BYTES_PER_TOKEN as f64 / H200_BANDWIDTH,
    prompt_token: H100_PROMPT_TOKEN / 2.0,
    pair: H100.pair,
};

/// Which part of a table a figure is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Something was fitted to it.
    Fitted,
    /// It was kept from that.
    HeldOut,
    /// Nothing was fitted to any of its kind.
    Unfitted,
}

/// Users who each ask again as soon as they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    prompt: usize,
    answer: usize,
    users: u64,
}

/// What they see, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first_token: f64,
    between_tokens: f64,
}

/// The figures of one device, each with its part.
pub(super) fn rows(device: &str) -> Vec<(Part, Row)> {
    let pace = if device == "h100" { H100 } else { H200 };
    let mut seen = BTreeMap::new();
    let lines = lines(LLAMA).filter(|fields| fields[0] == device);
    lines
        .map(|fields| {
            let load = Load {
                prompt: number(fields[1]) as usize,
                answer: number(fields[2]) as usize,
                users: number(fields[3]) as u64,
            };
            let seen = *seen.entry(load).or_insert_with(|| steady(pace, load));
            let (unit, simulated) = match fields[4] {
                "ttft" => ("ms TTFT", seen.first_token),
                _ => ("ms TPOT", seen.between_tokens),
            };
            let part = match fields[6] {
                "fitted" => Part::Fitted,
                "held out" => Part::HeldOut,
                _ => Part::Unfitted,
            };
            let Load {
                prompt,
                answer,
                users,
            } = load;
            let row = Row {
                what: format!("{prompt}/{answer} x {users}"),
                unit,
                measured: number(fields[5]),
                simulated,
            };
            (part, row)
        })
        .collect()
}

/// All tables, with what does not fit and why.
pub(super) fn tables() -> String {
    let mut text = String::new();
    let parts = [
        (Part::Fitted, "h100", "H100, bf16, fitted (one figure)"),
        (Part::HeldOut, "h100", "H100, bf16, held out"),
        (
            Part::Unfitted,
            "h200",
            "H200, FP8, from its data sheet alone: does not fit",
        ),
    ];
    for (part, device, title) in parts {
        let _ = writeln!(text, "\n{title}");
        let rows = rows(device).into_iter();
        for (_, row) in rows.filter(|(its, _)| *its == part) {
            text.push_str(&row.line());
        }
    }
    text.push_str(
        "  By its own figures the second row reads 117 000 prompt tokens a second, 0.89 of all operations on the\n  \
         data sheet beside decoding: what a batch is there is not known, and nothing was fitted to it.\n",
    );
    text.push_str(&not_simulated());
    text
}

/// The tables that compare arms, and why they are not simulated.
fn not_simulated() -> String {
    let mut text = "\nA10, split against regular: not simulated, as the lengths of its answers are not known:\n"
        .to_owned();
    for (what, asked, implied) in implied_answers() {
        let _ = writeln!(
            text,
            "  {what:<24} {implied:>5.0} tokens an answer by its own times, {asked:.0} asked for"
        );
    }
    text.push_str(
        "H20, 8 combined against split (agentic-kvc): not simulated, as the lengths of its trace are not known here.\n",
    );
    text
}

/// For each arm, how many tokens an answer should have, and how many its times say it had.
fn implied_answers() -> Vec<(String, f64, f64)> {
    lines(ARMS)
        .map(|fields| {
            let what = format!("{}/s {}/{} {}", fields[0], fields[1], fields[2], fields[3]);
            let implied = (number(fields[5]) - number(fields[6])) / number(fields[7]);
            (what, number(fields[2]), implied)
        })
        .collect()
}

/// The fields of each line but the first, which names them, and comments.
fn lines(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.skip(1).map(|line| line.split(',').collect())
}

fn number(field: &str) -> f64 {
    field.parse().expect("the tables are part of the program")
}

/// Runs users until each has been answered four times; the first two are for getting there.
fn steady(pace: Pace, load: Load) -> Seen {
    let mut scheduler = scheduler(pace);
    let lifetime = lifetime(pace, load);
    let mut asking: Vec<(Duration, u64)> = (0..load.users)
        .map(|user| (lifetime * user as u32 / load.users as u32, user))
        .collect();
    let (mut now, mut next, mut answered) = (Duration::ZERO, load.users, 0);
    let mut asked: HashMap<u64, Duration> = HashMap::new();
    let mut first: HashMap<u64, Duration> = HashMap::new();
    let (mut waits, mut gaps) = (Vec::new(), Vec::new());
    while answered < load.users * 4 {
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
        now += step;
        for output in scheduler.complete(now) {
            let began = *first.entry(output.id).or_insert(now);
            if output.finish.is_none() {
                continue;
            }
            answered += 1;
            asking.push((now, next));
            next += 1;
            if output.id >= load.users * 2 {
                waits.push(began.saturating_sub(asked[&output.id]));
                gaps.push(now.saturating_sub(began) / (load.answer as u32 - 1));
            }
        }
    }
    Seen {
        first_token: mean_milliseconds(&waits),
        between_tokens: mean_milliseconds(&gaps),
    }
}

fn mean_milliseconds(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() * 1000.0 / times.len() as f64
}

/// About how long an answer takes among all others: over that the users start.
fn lifetime(pace: Pace, load: Load) -> Duration {
    let mut together = Step::default();
    (0..load.users).for_each(|_| together.decode(load.prompt + load.answer / 2));
    let mut alone = Step::default();
    alone.prefill(0, load.prompt);
    pace.time(&together) * load.answer as u32 + pace.time(&alone) * load.users as u32
}

fn scheduler(pace: Pace) -> Scheduler {
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
        pace,
        ..Timing::of(Profile::Fast)
    };
    Scheduler::new(limits, timing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_is_enough_for_an_h100_within_ten_percent() {
        let rows = rows("h100");
        assert_eq!(rows.len(), 12);
        for (part, row) in rows {
            let most = if part == Part::HeldOut { 0.06 } else { 0.10 };
            assert!(row.error().abs() < most, "{part:?} {row:?}");
        }
    }

    #[test]
    fn the_answers_of_the_arms_are_not_as_long_as_asked_for_or_longer() {
        let implied: Vec<_> = implied_answers()
            .iter()
            .map(|(_, _, implied)| implied.round())
            .collect();
        assert_eq!(implied, [371.0, 371.0, 609.0, 443.0]);
    }
}
