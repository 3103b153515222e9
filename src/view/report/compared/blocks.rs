//! What each block showed, in the order in which they were measured, so that a drift is seen.

use super::super::chart::{HALF, drawing, line, text};
use super::super::markup::{Markup, length};
use super::super::scale::{Scale, tick};
use super::super::section::{figure, plot};
use super::super::sheet::Sheet;
use super::mark::{Form, class_of_arm, legend};
use super::{Compared, cell_name};
use crate::compare::{Cell, Drift, Outcome};
use crate::name::ArmName;
use crate::view::words::number;

const HEIGHT: f64 = 200.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = HALF - 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 40.0;

/// As many cells as stand open; more are folded.
const OPEN: usize = 6;

/// As many blocks as are numbered below a drawing.
const NUMBERED: usize = 12;

/// The least that a drawing shows on either side of the mean, or noise would look like something.
const LEAST: f64 = 0.005;

/// What one block showed of a cell.
struct Shown {
    /// As which block of all it ran, from 0.
    place: usize,
    /// The number of its arm.
    arm: usize,
    round: u32,
    /// Nothing where it cannot be believed.
    value: Option<f64>,
    /// The value by the mean of its arm.
    relative: Option<f64>,
}

/// The drawings of all cells.
pub(super) fn blocks(it: &Compared) -> Markup {
    let mut out = Markup::default();
    if !it.is_concluded() {
        return out;
    }
    let outcome = &it.outcome;
    let arms: Vec<&str> = outcome.arms.keys().map(ArmName::as_str).collect();
    let caption = "Each block beside the mean of its arm. Upright lines part the rounds; the level band is \
                   the margin within which arms are as good as each other. The dashed line is the drift that \
                   was fitted to all of them, between the bounds of its interval of 95 %. A cross cannot be \
                   believed.";
    legend(&mut out, &arms);
    out.words("p", &[("class", "caption")], caption);
    let drawings = |out: &mut Markup| {
        out.element("div", &[("class", "plots")], |out| {
            for cell in &outcome.cells {
                let shown = shown(outcome, cell);
                figure(out, &drift(outcome, cell), |out| {
                    plot(out, &draw(outcome, cell, &shown, &arms));
                });
            }
        });
    };
    if outcome.cells.len() <= OPEN {
        drawings(&mut out);
    } else {
        out.element("details", &[], |out| {
            let all = outcome.cells.len();
            out.words("summary", &[], &format!("The blocks of {all} cells"));
            drawings(out);
        });
    }
    table(outcome, &arms).write(&mut out);
    out
}

/// What a cell is of, and how it drifted.
fn drift(outcome: &Outcome, cell: &Cell) -> String {
    let name = format!("{}, {}", cell_name(cell), cell.metric);
    let Some(drift) = cell.drift else {
        return format!("{name}. These blocks do not tell of a drift.");
    };
    if let Some(words) = drift.words(cell.aim, outcome.margin) {
        return format!("{name}. ! Drift: {words}.");
    }
    let Drift {
        change, low, high, ..
    } = drift;
    format!(
        "{name}. No drift that matters: {change:.3} from the first block to the last ({low:.3} to {high:.3})."
    )
}

/// What the blocks showed of a cell, in their order.
fn shown(outcome: &Outcome, cell: &Cell) -> Vec<Shown> {
    let blocks = outcome.blocks.iter().enumerate();
    let shown = blocks.filter_map(|(place, block)| {
        let values = cell.arms.get(&block.arm)?;
        let value = values.get(block.round as usize).copied().flatten();
        let mean = mean(values);
        Some(Shown {
            place,
            arm: outcome.arms.get_index_of(&block.arm)?,
            round: block.round,
            value,
            relative: value.zip(mean).map(|(value, mean)| value / mean),
        })
    });
    shown.collect()
}

/// The geometric mean: half and twice are equally far from it.
fn mean(values: &[Option<f64>]) -> Option<f64> {
    let known: Vec<f64> = values.iter().copied().flatten().collect();
    let is_sound = !known.is_empty() && known.iter().all(|value| *value > 0.0);
    let logs = known.iter().map(|value| value.ln()).sum::<f64>();
    is_sound.then(|| (logs / known.len() as f64).exp())
}

fn draw(outcome: &Outcome, cell: &Cell, all: &[Shown], arms: &[&str]) -> Markup {
    let fit = cell.drift.and_then(|drift| Fit::of(drift, all));
    let ends = fit.iter().flat_map(Fit::ends);
    let reach = all.iter().filter_map(|it| it.relative).chain(ends);
    let reach = reach.map(|it| (it - 1.0).abs());
    let reach = 1.15 * reach.fold(outcome.margin.max(LEAST), f64::max);
    let y = Scale::between(1.0 - reach, 1.0 + reach, BOTTOM, TOP);
    let x = Scale::between(-0.5, outcome.blocks.len() as f64 - 0.5, LEFT, RIGHT);
    let title = format!("{}: block by block", cell_name(cell));
    let attributes = drawing(&title, HALF, HEIGHT);
    let attributes = attributes
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut out = Markup::default();
    out.element("svg", &attributes, |out| {
        field(out, outcome, x, y);
        if let Some(fit) = &fit {
            fit.draw(out, x, y);
        }
        for (number, name) in arms.iter().enumerate() {
            let own: Vec<&Shown> = all.iter().filter(|it| it.arm == number).collect();
            arm(out, name, &own, |place| x.at(place as f64), y);
        }
    });
    out
}

/// The drift, as a line through the blocks.
struct Fit {
    drift: Drift,
    /// The places of the first block and of the last that tell of it.
    first: f64,
    last: f64,
    /// The mean of all such places: there the line is 1, as every block is held against the mean of its
    /// arm, and the arms have their mean places about there.
    middle: f64,
}

impl Fit {
    fn of(drift: Drift, all: &[Shown]) -> Option<Self> {
        let places = all.iter().filter(|it| it.relative.is_some());
        let places: Vec<f64> = places.map(|it| it.place as f64).collect();
        let (first, last) = (*places.first()?, *places.last()?);
        (last > first).then(|| Self {
            drift,
            first,
            last,
            middle: places.iter().sum::<f64>() / places.len() as f64,
        })
    }

    /// What stands at a place, where the last block has so much of the first.
    fn at(&self, change: f64, place: f64) -> f64 {
        change.powf((place - self.middle) / (self.last - self.first))
    }

    /// The line at its ends.
    fn ends(&self) -> [f64; 2] {
        [self.first, self.last].map(|place| self.at(self.drift.change, place))
    }

    /// The line, and its interval as far as it is within the drawing.
    fn draw(&self, out: &mut Markup, x: Scale, y: Scale) {
        let (first, last) = (self.first as usize, self.last as usize);
        let along = |change: f64| {
            (first..=last).map(move |place| {
                let place = place as f64;
                let high = y.at(self.at(change, place)).clamp(TOP, BOTTOM);
                format!("{},{}", length(x.at(place)), length(high))
            })
        };
        let there = along(self.drift.low);
        let back: Vec<String> = along(self.drift.high).collect();
        let around: Vec<String> = there.chain(back.into_iter().rev()).collect();
        let line: Vec<String> = along(self.drift.change).collect();
        out.element("g", &[("class", "fit")], |out| {
            out.words("title", &[], "the drift, with its interval of 95 %");
            out.shape("polygon", &[("points", &around.join(" "))]);
            out.shape("polyline", &[("points", &line.join(" "))]);
        });
    }
}

/// The band, the rounds, and what stands at the axes.
fn field(out: &mut Markup, outcome: &Outcome, x: Scale, y: Scale) {
    let margin = outcome.margin;
    let (high, low) = (y.at(1.0 + margin), y.at(1.0 / (1.0 + margin)));
    let [left, top, width, height] = [LEFT, high, RIGHT - LEFT, low - high].map(length);
    let place = [
        ("class", "band"),
        ("x", left.as_str()),
        ("y", &top),
        ("width", &width),
        ("height", &height),
    ];
    out.shape("rect", &place);
    for value in y.ticks(4) {
        let at = y.at(value);
        line(out, "grid", [LEFT, at, RIGHT, at]);
        text(out, "tick end", LEFT - 6.0, at + 4.0, &tick(value));
    }
    let mut before = 0;
    for round in &outcome.order {
        before += round.len();
        let at = x.at(before as f64 - 0.5);
        line(out, "grid", [at, TOP, at, BOTTOM]);
    }
    let blocks = outcome.blocks.len();
    for place in (0..blocks).step_by(blocks.div_ceil(NUMBERED).max(1)) {
        let at = x.at(place as f64);
        text(
            out,
            "tick middle",
            at,
            BOTTOM + 16.0,
            &(place + 1).to_string(),
        );
    }
    line(out, "one", [LEFT, y.at(1.0), RIGHT, y.at(1.0)]);
    line(out, "axis", [LEFT, BOTTOM, RIGHT, BOTTOM]);
    let middle = f64::midpoint(LEFT, RIGHT);
    let name = "block, in the order of measuring";
    text(out, "name middle", middle, HEIGHT - 6.0, name);
}

/// The blocks of one arm, and a line through them.
fn arm(out: &mut Markup, name: &str, own: &[&Shown], x: impl Fn(usize) -> f64, y: Scale) {
    let number = own.first().map_or(0, |it| it.arm);
    let class = format!("arm {}", class_of_arm(number));
    out.element("g", &[("class", &class)], |out| {
        let places = own.iter().filter_map(|it| {
            let high = y.at(it.relative?);
            Some(format!("{},{}", length(x(it.place)), length(high)))
        });
        let places: Vec<String> = places.collect();
        if places.len() > 1 {
            out.shape("polyline", &[("points", &places.join(" "))]);
        }
        for it in own {
            out.element("g", &[], |out| {
                out.words("title", &[], &told(name, it));
                let at = x(it.place);
                match it.relative {
                    Some(relative) => Form::of_arm(number).draw(out, at, y.at(relative)),
                    None => cross(out, at, y.at(1.0)),
                }
            });
        }
    });
}

fn cross(out: &mut Markup, x: f64, y: f64) {
    line(out, "void", [x - 4.0, y - 4.0, x + 4.0, y + 4.0]);
    line(out, "void", [x - 4.0, y + 4.0, x + 4.0, y - 4.0]);
}

/// What is said of a block where somebody points at it.
fn told(arm: &str, it: &Shown) -> String {
    let value = it.value.map_or("cannot be believed".to_owned(), number);
    format!(
        "block {}, {arm}, round {}: {value}",
        it.place + 1,
        it.round + 1
    )
}

fn table(outcome: &Outcome, arms: &[&str]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("cell", false),
        ("block", true),
        ("round", true),
        ("arm", false),
        ("decides", false),
        ("value", true),
        ("by the mean of its arm", true),
    ]);
    for cell in &outcome.cells {
        for it in shown(outcome, cell) {
            let relative = it.relative.map(|it| format!("{it:.3}"));
            sheet.row(vec![
                cell_name(cell),
                (it.place + 1).to_string(),
                (it.round + 1).to_string(),
                arms[it.arm].to_owned(),
                cell.metric.clone(),
                it.value.map_or("✗".to_owned(), number),
                relative.unwrap_or_default(),
            ]);
        }
    }
    sheet
}
