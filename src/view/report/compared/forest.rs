//! The ratios of all cells along one axis, each with its interval: a forest plot.

use super::super::chart::{drawing, line, text};
use super::super::markup::{Markup, length};
use super::super::scale::{Scale, tick};
use super::super::section::{figure, plot};
use super::cell_name;
use super::contrast::Stand;
use crate::compare::{Aim, Cell, Contrast, Ratio, Said};
use crate::view::compare::decides;

const WIDTH: f64 = 480.0;
const LEFT: f64 = 14.0;
const RIGHT: f64 = WIDTH - 14.0;
const TOP: f64 = 6.0;
/// A row: a line of text, and the interval below it.
const ROW: f64 = 42.0;
const LETTERING: f64 = 20.0;
const BOTTOM: f64 = 40.0;

/// As many letters as a row has room for, beside its verdict.
const LETTERS: usize = 60;

/// The axis reaches so many times as far as any ratio, and an interval that reaches farther is cut: it would
/// press the others together.
const FAR: f64 = 1.5;

/// It reaches as many times as far as the margin in any case.
const OF_MARGIN: f64 = 8.0;

/// Writes the plot; nothing where no cell has a ratio.
pub(super) fn write(out: &mut Markup, margin: f64, contrast: &Contrast, all: &[(&Cell, &Said)]) {
    let ratios: Vec<Ratio> = all.iter().filter_map(|(_, said)| said.ratio).collect();
    if ratios.is_empty() {
        return;
    }
    let caption = format!(
        "Each cell's ratio and its interval of 95 %, on a logarithmic axis. In the shaded band, from {} to \
         {}, arms are as good as each other. A line without an end goes on.",
        tick(1.0 / (1.0 + margin)),
        tick(1.0 + margin)
    );
    figure(out, &caption, |out| {
        plot(out, &draw(margin, contrast, all, &ratios));
    });
}

fn draw(margin: f64, contrast: &Contrast, all: &[(&Cell, &Said)], ratios: &[Ratio]) -> Markup {
    let bottom = TOP + ROW * all.len() as f64;
    let (low, high) = span(margin, ratios);
    let x = Scale::of_ratios(low, high, LEFT, RIGHT);
    let title = format!("{} beside {}: ratios", contrast.arm, contrast.against);
    let [view, role, label, _] = drawing(&title, WIDTH, bottom + BOTTOM);
    let attributes = [
        (view.0, view.1.as_str()),
        (role.0, role.1.as_str()),
        (label.0, label.1.as_str()),
        ("class", "drawing forest"),
    ];
    let mut out = Markup::default();
    out.element("svg", &attributes, |out| {
        let ticks = x.ticks(6);
        for value in &ticks {
            text(
                out,
                "tick middle",
                x.at(*value),
                bottom + 16.0,
                &tick(*value),
            );
        }
        line(out, "axis", [LEFT, bottom, RIGHT, bottom]);
        let better = better(all);
        for (place, (cell, said)) in all.iter().enumerate() {
            let top = TOP + ROW * place as f64;
            field(out, x, margin, &ticks, top + LETTERING);
            row(out, x, top, cell, said, better.is_none());
        }
        let name = axis_name(contrast, better);
        let middle = f64::midpoint(LEFT, RIGHT);
        text(out, "name middle", middle, bottom + 34.0, &name);
    });
    out
}

/// From which ratio to which the axis reaches.
fn span(margin: f64, ratios: &[Ratio]) -> (f64, f64) {
    let band = margin.ln_1p();
    let ratios_far = ratios.iter().map(|it| FAR * it.ratio.ln().abs());
    let far = ratios_far.fold(OF_MARGIN * band, f64::max);
    let ends = |of: fn(&Ratio) -> f64| ratios.iter().map(move |it| of(it).ln().clamp(-far, far));
    let low = ends(|it| it.low).fold(-2.0 * band, f64::min);
    let high = ends(|it| it.high).fold(2.0 * band, f64::max);
    let room = 0.03 * (high - low);
    ((low - room).exp(), (high + room).exp())
}

/// What lies behind the interval of a row that begins there. It leaves out the line of text, which
/// nothing is to be mistaken for.
fn field(out: &mut Markup, x: Scale, margin: f64, ticks: &[f64], top: f64) {
    let bottom = top + ROW - LETTERING;
    let (from, to) = (x.at(1.0 / (1.0 + margin)), x.at(1.0 + margin));
    let [left, high, width, height] = [from, top, to - from, bottom - top].map(length);
    let place = [
        ("class", "band"),
        ("x", left.as_str()),
        ("y", &high),
        ("width", &width),
        ("height", &height),
    ];
    out.shape("rect", &place);
    for value in ticks {
        line(out, "grid", [x.at(*value), top, x.at(*value), bottom]);
    }
    line(out, "one", [x.at(1.0), top, x.at(1.0), bottom]);
}

/// Which way is better, where it is the same way in all cells.
fn better(all: &[(&Cell, &Said)]) -> Option<Aim> {
    let first = all.first()?.0.aim;
    all.iter()
        .all(|(cell, _)| cell.aim == first)
        .then_some(first)
}

fn axis_name(contrast: &Contrast, better: Option<Aim>) -> String {
    let way = match better {
        Some(Aim::More) => "; right is better",
        Some(Aim::Less) => "; left is better",
        None => "; right is better, unless it is said",
    };
    format!("{} / {}{way}", contrast.arm, contrast.against)
}

fn row(out: &mut Markup, x: Scale, top: f64, cell: &Cell, said: &Said, tells_way: bool) {
    let stand = Stand::of(said);
    let way = match cell.aim {
        Aim::Less if tells_way => " (left is better)",
        Aim::More | Aim::Less => "",
    };
    let name = format!("{}: {}{way}", cell_name(cell), decides(cell, said));
    let mut short: String = name.chars().take(LETTERS).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    out.element("g", &[("class", stand.class())], |out| {
        out.words("title", &[], &told(&name, said, stand));
        text(out, "", LEFT, top + 14.0, &short);
        text(out, "stand end", RIGHT, top + 14.0, stand.word());
        if let Some(ratio) = &said.ratio {
            let middle = top + f64::midpoint(LETTERING, ROW);
            interval(out, x, ratio, middle);
            stand.form().draw(out, x.at(ratio.ratio), middle);
        }
    });
}

/// The interval as a line, with an end where it ends on the drawing.
fn interval(out: &mut Markup, x: Scale, ratio: &Ratio, middle: f64) {
    let (from, to) = (x.at(ratio.low), x.at(ratio.high));
    line(out, "interval", [from, middle, to, middle]);
    for at in [from, to] {
        let is_cut = at <= LEFT || at >= RIGHT;
        if !is_cut {
            line(out, "interval", [at, middle - 4.0, at, middle + 4.0]);
        }
    }
}

/// What is said of a row where somebody points at it.
fn told(name: &str, said: &Said, stand: Stand) -> String {
    let ratio = said.ratio.map(|it| {
        let Ratio {
            ratio, low, high, ..
        } = it;
        format!(" {ratio:.3} ({low:.3} to {high:.3}),")
    });
    format!("{name}:{} {}", ratio.unwrap_or_default(), stand.word())
}
