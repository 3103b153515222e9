//! A profile that was fitted to results: how close it comes, and what they do not tell.

use std::path::Path;

use super::style::Style;
use super::table::{Align, Cell, Table};
use super::words::{list, number};
use crate::rehearsal::{FittedCell, FittedProfile, ProfileTerm, Uncertain};
use crate::simulator::WrittenPace;

/// Renders a profile, and where it was written.
pub fn render(profile: &FittedProfile, file: Option<&Path>, style: Style) -> String {
    let mut lines = style.hang(&heading(profile), 2);
    lines.extend(table(profile, style).lines());
    lines.push(String::new());
    lines.extend(told(profile).iter().flat_map(|it| style.hang(it, 2)));
    let next = match file {
        Some(file) => format!(
            "written to {}: name it as `profile` of an engine, relative to the manifest",
            file.display()
        ),
        None => "not written: `--out FILE` keeps it".to_owned(),
    };
    lines.extend(style.hang(&next, 2));
    lines.join("\n") + "\n"
}

fn heading(profile: &FittedProfile) -> String {
    let of = &profile.of;
    let vllm = of.engine["vllm"].as_str().map(|it| format!("vLLM {it}"));
    let engine = vllm.unwrap_or_else(|| "a simulated engine".to_owned());
    let gpu = of.gpu.as_ref().map(|gpu| format!(" on {gpu}"));
    format!("{}, {engine}{}", of.model, gpu.unwrap_or_default())
}

fn table(profile: &FittedProfile, style: Style) -> Table {
    let right = |title| (title, Align::Right);
    let columns = [
        ("load", Align::Left),
        right("tokens"),
        ("metric", Align::Left),
        right("measured"),
        right("simulated"),
        right("error"),
    ];
    let mut table = Table::new(style, &columns);
    for cell in &profile.cells {
        rows(cell, &mut table);
    }
    table
}

fn rows(cell: &FittedCell, table: &mut Table) {
    let lengths = format!("{:.0}/{:.0}", cell.input_tokens, cell.output_tokens);
    for (place, figure) in cell.figures.iter().enumerate() {
        let first = |text: &str| {
            if place == 0 {
                text.to_owned()
            } else {
                String::new()
            }
        };
        table.row(vec![
            Cell::from(first(&cell.load)),
            Cell::from(first(&lengths)),
            Cell::from(figure.metric.as_str()),
            Cell::from(number(figure.measured)),
            Cell::from(number(figure.simulated)),
            Cell::from(format!("{:+.1} %", figure.error() * 100.0)),
        ]);
    }
}

/// What was fitted, and what could not be.
fn told(profile: &FittedProfile) -> Vec<String> {
    let WrittenPace {
        step_ms,
        token_read_us,
        prompt_token_us,
        pair_ns,
    } = &profile.pace;
    let Uncertain {
        step,
        context,
        prompt,
        attention,
    } = &profile.uncertain;
    let about = |share: &Option<f64>| match share {
        Some(share) => format!(" (±{:.0} %)", share * 100.0),
        None => String::new(),
    };
    let steps = step_ms.iter().zip(step);
    let steps = steps
        .map(|((at, ms), share)| format!("{} ms at {at:.0}{}", number(*ms), about(&Some(*share))));
    let steps: Vec<_> = steps.collect();
    let mut told = vec![
        format!("a step takes {}", list(&steps)),
        format!(
            "reading context: {} us a token{}; prompts: {:.0} tokens/s{}; their attention: {} ns a pair{}",
            number(*token_read_us),
            about(context),
            1e6 / prompt_token_us,
            about(prompt),
            number(*pair_ns),
            about(attention)
        ),
    ];
    told.extend(profile.by_default.iter().map(|term| untold(*term)));
    told
}

/// A term that stays as it is by default, and what would tell it.
fn untold(term: ProfileTerm) -> String {
    let (what, how) = match term {
        ProfileTerm::Context => (
            "what reading context takes",
            "many requests at once with prompts of several lengths, some long",
        ),
        ProfileTerm::Prompt => (
            "how fast prompts are read",
            "a load of one request at a time with prompts of a thousand tokens or more",
        ),
        ProfileTerm::Attention => (
            "what attention takes in long prompts",
            "loads of one request at a time with prompts of very unlike lengths, some of 8000 or more",
        ),
    };
    format!("not told: {what}; it is what it would be of a GB10. What would tell it: {how}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rehearsal::{FittedFigure, ProfiledEngine};

    #[test]
    fn a_profile_says_how_close_it_comes_and_what_is_not_told() {
        let figure = |metric: &str, measured, simulated| FittedFigure {
            metric: metric.to_owned(),
            measured,
            simulated,
        };
        let profile = FittedProfile {
            schema: "replica.profile/1".to_owned(),
            of: ProfiledEngine {
                model: "some/model".to_owned(),
                engine: json!({"vllm": "0.13.0+cu130"}),
                args: serde_json::Map::new(),
                gpu: Some("NVIDIA GB10".to_owned()),
            },
            pace: WrittenPace {
                step_ms: vec![(1.0, 67.4), (8.0, 65.0)],
                token_read_us: 0.596,
                prompt_token_us: 250.0,
                pair_ns: 11.6,
            },
            uncertain: Uncertain {
                step: vec![0.01, 0.02],
                context: None,
                prompt: Some(0.06),
                attention: None,
            },
            by_default: vec![ProfileTerm::Context, ProfileTerm::Attention],
            cells: vec![FittedCell {
                result: "results/x.json".to_owned(),
                load: "sequential 1".to_owned(),
                input_tokens: 256.0,
                output_tokens: 128.0,
                figures: vec![
                    figure("ttft.mean", 143.0, 141.0),
                    figure("output_tps", 14.7, 14.71),
                ],
            }],
        };
        let said = render(&profile, Some(Path::new("mine.json")), Style::plain());
        insta::assert_snapshot!(said);
    }
}
