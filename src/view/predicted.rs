//! What benchmarks are predicted to come to. Whoever reads it is told first that nothing was measured.

use crate::rehearsal::{Interval, Predicted, Prediction};

use super::style::{Role, Style};
use super::table::{Align, Cell, Table};
use super::words::number;

/// Renders predictions.
pub fn render(predictions: &[Prediction], style: Style) -> String {
    if predictions.is_empty() {
        return "predicted, simulated: nothing, as there are no benchmarks\n".to_owned();
    }
    let mut lines = style.hang(&heading(predictions), 2);
    lines.extend(table(predictions, style).lines());
    for prediction in predictions {
        let name = &prediction.benchmark;
        let why_not = prediction.why_not.as_ref();
        let why_not = why_not.map(|why| format!("not predicted: {why}"));
        let said = why_not.iter().chain(&prediction.notes);
        lines.extend(said.flat_map(|said| style.hang(&format!("{name}: {said}"), 2)));
    }
    lines.join("\n") + "\n"
}

/// By what it is predicted, and how uncertain that is.
fn heading(predictions: &[Prediction]) -> String {
    let mut profiles: Vec<_> = predictions.iter().flat_map(|it| &it.profiles).collect();
    profiles.sort_unstable();
    profiles.dedup();
    let profiles: Vec<_> = profiles.iter().map(|it| format!("`{it}`")).collect();
    let by = match profiles.as_slice() {
        [] => "nothing was measured".to_owned(),
        [_, ..] => format!(
            "nothing was measured; engines compute by the profile {}",
            profiles.join(" and ")
        ),
    };
    let speeds = predictions.iter().map(|it| &it.prefill_tokens_per_s);
    let uncertain = speeds.into_iter().find(|speeds| speeds.len() > 1);
    let uncertain = uncertain.and_then(|speeds| Some((speeds.first()?, speeds.last()?, speeds)));
    let how = uncertain.map(|(low, high, speeds)| {
        let likely = speeds[speeds.len() / 2];
        format!(
            ", and read prompts at {likely:.0} tokens/s; what stands in brackets is for {low:.0} to {high:.0}, \
             as nobody has measured it"
        )
    });
    format!("predicted, simulated: {by}{}", how.unwrap_or_default())
}

fn table(predictions: &[Prediction], style: Style) -> Table {
    let right = |title| (title, Align::Right);
    let columns = [
        ("name", Align::Left),
        ("load", Align::Left),
        right("tokens/s"),
        right("TTFT p50 ms"),
        right("TPOT p50 ms"),
        right("answered %"),
        right("meet it %"),
    ];
    let mut table = Table::new(style, &columns);
    for prediction in predictions {
        let name = prediction.benchmark.as_str();
        for (place, point) in prediction.points.iter().enumerate() {
            let name = if place == 0 { name } else { "" };
            table.row(row(name, point));
        }
        if let Some(knee) = &prediction.knee {
            let mut cells = vec![Cell::dressed(name, Role::Faint)];
            cells.push(format!("the knee is at {} requests/s", said(*knee)).into());
            cells.extend((0..5).map(|_| Cell::from("")));
            table.row(cells);
        }
    }
    table
}

fn row(name: &str, point: &Predicted) -> Vec<Cell> {
    let percent = |share: Interval| Interval {
        least: share.least * 100.0,
        likely: share.likely * 100.0,
        most: share.most * 100.0,
    };
    // That all are answered goes without saying.
    let answered = point.answered.filter(|share| share.least < 1.0);
    let met = point.attainment.map(percent).map(said);
    vec![
        name.into(),
        point.load.label().into(),
        Cell::or_dash(point.output_tps.map(said)),
        Cell::or_dash(point.ttft_p50_ms.map(said)),
        Cell::or_dash(point.tpot_p50_ms.map(said)),
        answered.map(percent).map(said).unwrap_or_default().into(),
        met.unwrap_or_default().into(),
    ]
}

/// A value, and in brackets between what it lies where that is another.
fn said(interval: Interval) -> String {
    let [least, likely, most] = [interval.least, interval.likely, interval.most].map(number);
    if least == most {
        likely
    } else {
        format!("{likely} ({least}-{most})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::known;

    fn interval(least: f64, likely: f64, most: f64) -> Interval {
        Interval {
            least,
            likely,
            most,
        }
    }

    fn prediction() -> Prediction {
        Prediction {
            benchmark: "batch".parse().unwrap(),
            simulated: true,
            profiles: vec!["gb10-llama-3.1-8b".to_owned()],
            prefill_tokens_per_s: vec![3000.0, 4000.0, 8000.0],
            points: vec![Predicted {
                load: known::batch(8),
                output_tps: Some(interval(109.0, 112.4, 118.0)),
                ttft_p50_ms: Some(interval(90.0, 120.0, 150.0)),
                tpot_p50_ms: Some(interval(67.5, 67.5, 67.5)),
                answered: Some(interval(1.0, 1.0, 1.0)),
                attainment: Some(interval(0.5, 0.75, 1.0)),
            }],
            knee: None,
            notes: vec!["the KV cache of `b` is full at times".to_owned()],
            why_not: None,
        }
    }

    #[test]
    fn a_prediction_says_first_that_it_is_one() {
        let unknown = Prediction {
            benchmark: "other".parse().unwrap(),
            points: Vec::new(),
            notes: Vec::new(),
            why_not: Some("there is no profile of it".to_owned()),
            ..prediction()
        };
        let said = render(&[prediction(), unknown], Style::plain());
        insta::assert_snapshot!(said, @"
        predicted, simulated: nothing was measured; engines compute by the profile `gb10-llama-3.1-8b`, and read prompts at 4000 tokens/s; what stands in brackets is for 3000 to 8000, as nobody has measured it
        name   load          tokens/s     TTFT p50 ms  TPOT p50 ms        meet it %
        batch  batch 8  112 (109-118)  120 (90.0-150)         67.5  75.0 (50.0-100)
        batch: the KV cache of `b` is full at times
        other: not predicted: there is no profile of it
        ");
    }
}
