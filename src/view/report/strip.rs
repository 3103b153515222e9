//! A drawing of strips, one below another, along one axis of time: what was at work when.

use super::chart::{WIDTH, drawing, line, text};
use super::markup::{Markup, length};
use super::scale::{Scale, tick};
use crate::view::words::number;

const LEFT: f64 = 110.0;
const RIGHT: f64 = 44.0;
const STRIP: f64 = 44.0;
const GAP: f64 = 8.0;
const BOTTOM: f64 = 38.0;

/// One quantity of one replica in time.
#[derive(Debug, Clone)]
pub(super) struct Strip<'a> {
    pub(super) name: &'a str,
    /// What it is of, with its unit. Strips of one quantity have one scale, or an idle replica would
    /// look as busy as the others.
    pub(super) what: &'a str,
    pub(super) colour: usize,
    /// From when on, in seconds, which value: each holds until the next.
    pub(super) steps: Vec<(f64, f64)>,
    /// What it cannot pass, where there is such a thing, and what that is called.
    pub(super) limit: Option<(f64, &'a str)>,
}

/// A limit farther above than so many times what is shown would flatten it, and is not drawn.
const NEAR: f64 = 3.0;

/// The most that strips of a quantity show.
fn most(strips: &[Strip<'_>], what: &str) -> f64 {
    let alike = strips.iter().filter(|it| it.what == what);
    let values = alike.clone().flat_map(|it| &it.steps).map(|step| step.1);
    let shown = values.fold(0.0, f64::max);
    let limits = alike.filter_map(|it| it.limit).map(|(at, _)| at);
    let near = limits.filter(|at| *at <= NEAR * shown);
    near.fold(shown, f64::max)
}

/// Draws strips of so many seconds.
pub(super) fn draw(strips: &[Strip<'_>], span: f64, title: &str) -> Markup {
    let bottom = strips.len() as f64 * (STRIP + GAP);
    let x = Scale::between(0.0, span, LEFT, WIDTH - RIGHT);
    let mut out = Markup::default();
    let attributes = drawing(title, WIDTH, bottom + BOTTOM);
    let attributes = attributes
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    out.element("svg", &attributes, |out| {
        for value in x.ticks(8) {
            let at = x.at(value);
            line(out, "grid", [at, 0.0, at, bottom]);
            text(out, "tick middle", at, bottom + 14.0, &tick(value));
        }
        for (place, strip) in strips.iter().enumerate() {
            let top = place as f64 * (STRIP + GAP);
            strip.draw(out, x, most(strips, strip.what), top);
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        let name = "s since the first was sent";
        text(out, "name middle", middle, bottom + 32.0, name);
    });
    out
}

impl Strip<'_> {
    fn draw(&self, out: &mut Markup, x: Scale, most: f64, top: f64) {
        let bottom = top + STRIP;
        let class = format!("s{}", self.colour);
        out.element("g", &[("class", &class)], |out| {
            let path = self.outline(x, most, top);
            out.shape("path", &[("class", "area"), ("d", &path)]);
        });
        text(out, "end", LEFT - 8.0, top + 18.0, self.name);
        text(out, "tick end", LEFT - 8.0, top + 33.0, self.what);
        let shown = if most.fract() == 0.0 {
            format!("{most:.0}")
        } else {
            number(most)
        };
        text(out, "tick", WIDTH - RIGHT + 4.0, top + 10.0, &shown);
        line(out, "axis", [LEFT, bottom, WIDTH - RIGHT, bottom]);
        if let Some((at, name)) = self.limit.filter(|(at, _)| *at <= most) {
            let high = high(at, most, top);
            line(out, "limit", [LEFT, high, WIDTH - RIGHT, high]);
            text(out, "tick end", WIDTH - RIGHT - 4.0, high + 11.0, name);
        }
    }

    /// A path in steps; what does not change is not written again.
    fn outline(&self, x: Scale, most: f64, top: f64) -> String {
        let start = self.steps.first().map_or(LEFT, |(at, _)| x.at(*at));
        let mut path = format!("M{} {}", length(start), length(top + STRIP));
        let mut before = None;
        for (at, value) in &self.steps {
            let to = length(high(*value, most, top));
            if before.as_ref() != Some(&to) {
                path.extend(["H", &length(x.at(*at)), "V", &to]);
                before = Some(to);
            }
        }
        path + &format!("H{}V{}Z", length(WIDTH - RIGHT), length(top + STRIP))
    }
}

/// How high a value lies in the strip that begins there.
fn high(value: f64, most: f64, top: f64) -> f64 {
    top + STRIP - STRIP * value / most.max(1e-9)
}
