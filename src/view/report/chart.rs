//! A drawing with two axes: lines, dots, limits. It has no colours: those are the style sheet's.

use super::markup::{Markup, length};
use super::scale::{Scale, tick};

/// The width of a drawing that stands alone, in units of its own; the page makes it as wide as there
/// is room.
pub(super) const WIDTH: f64 = 720.0;

/// The width of one that stands beside another, so that its letters are as large as theirs.
pub(super) const HALF: f64 = 440.0;

/// The room about the field that is drawn on.
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// Series that are told apart by colour and by dashes; more are not.
pub(super) const MOST_SERIES: usize = 8;

/// A drawing of series over two axes.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    /// What it shows, for who cannot see it.
    pub(super) title: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
    pub(super) limits: Vec<Limit>,
}

/// What stands at an axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// What it is of, with its unit.
    pub(super) label: String,
    /// How its values lie.
    pub(super) lies: Lies,
}

/// How the values of an axis lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lies {
    /// From 0 on.
    FromZero,
    /// As they need to.
    AsNeeded,
    /// Between these two, and marked here.
    Between(f64, f64, Vec<f64>),
}

/// Values that belong together.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    /// Its colour, and its dashes: a number below [`MOST_SERIES`].
    pub(super) colour: usize,
    pub(super) points: Vec<Dot>,
    pub(super) look: Look,
}

/// One value of a series.
#[derive(Debug, Clone, Default)]
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    /// Between which two values of `y` it lies, as far as is known.
    pub(super) bounds: Option<[f64; 2]>,
    /// What stands beside it.
    pub(super) label: String,
    /// Whether it cannot be believed: it is drawn as a cross.
    pub(super) is_void: bool,
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Line,
    Dots,
    DotsOnALine,
}

/// A value that is not to be passed: a line across.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) label: String,
    pub(super) at: f64,
    /// Whether it is of the horizontal axis.
    pub(super) is_of_x: bool,
}

impl Chart {
    /// The drawing.
    pub(super) fn draw(&self) -> Markup {
        let x = self.scale(&self.x, |dot| vec![dot.x], true, LEFT, self.right());
        let with_bounds = |dot: &Dot| {
            let bounds = dot.bounds.into_iter().flatten();
            bounds.chain([dot.y]).collect()
        };
        let y = self.scale(&self.y, with_bounds, false, self.height - BOTTOM, TOP);
        let mut out = Markup::default();
        let attributes = drawing(&self.title, self.width, self.height);
        let attributes = attributes
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        out.element("svg", &attributes, |out| {
            self.grid(out, x, y);
            for limit in &self.limits {
                self.limit(out, limit, x, y);
            }
            for series in &self.series {
                series.draw(out, x, y, self.width);
            }
        });
        out
    }

    /// Where the field ends that is drawn on.
    fn right(&self) -> f64 {
        self.width - RIGHT
    }

    fn scale(
        &self,
        axis: &Axis,
        values: impl Fn(&Dot) -> Vec<f64>,
        is_of_x: bool,
        from: f64,
        to: f64,
    ) -> Scale {
        let dots = self.series.iter().flat_map(|it| &it.points);
        let limits = self.limits.iter().filter(|it| it.is_of_x == is_of_x);
        let all: Vec<f64> = dots
            .flat_map(values)
            .chain(limits.map(|it| it.at))
            .collect();
        match axis.lies {
            Lies::FromZero => Scale::over(&all, true, from, to),
            Lies::AsNeeded => Scale::of_any_size(&all, from, to),
            Lies::Between(low, high, _) => Scale::between(low, high, from, to),
        }
    }

    fn grid(&self, out: &mut Markup, x: Scale, y: Scale) {
        let bottom = self.height - BOTTOM;
        // As many as have room beside each other.
        let across = (self.width / 90.0) as usize;
        let marks = |axis: &Axis, scale: Scale, about| match &axis.lies {
            Lies::Between(_, _, marks) => marks.clone(),
            Lies::FromZero | Lies::AsNeeded => scale.ticks(about),
        };
        for value in marks(&self.y, y, 5) {
            let at = y.at(value);
            line(out, "grid", [LEFT, at, self.right(), at]);
            text(out, "tick end", LEFT - 6.0, at + 4.0, &tick(value));
        }
        for value in marks(&self.x, x, across) {
            let at = x.at(value);
            line(out, "grid", [at, TOP, at, bottom]);
            text(out, "tick middle", at, bottom + 16.0, &tick(value));
        }
        line(out, "axis", [LEFT, bottom, self.right(), bottom]);
        let middle = f64::midpoint(LEFT, self.right());
        text(out, "name middle", middle, self.height - 6.0, &self.x.label);
        let middle = f64::midpoint(TOP, bottom);
        turned(out, "name middle", 14.0, middle, &self.y.label);
    }

    fn limit(&self, out: &mut Markup, limit: &Limit, x: Scale, y: Scale) {
        if limit.is_of_x {
            let (at, bottom) = (x.at(limit.at), self.height - BOTTOM);
            line(out, "limit", [at, TOP, at, bottom]);
            // Along the line, where the names of dots do not reach.
            let middle = f64::midpoint(TOP, bottom);
            turned(out, "tick middle", at + 12.0, middle, &limit.label);
        } else {
            let at = y.at(limit.at);
            line(out, "limit", [LEFT, at, self.right(), at]);
            text(out, "tick end", self.right() - 4.0, at - 4.0, &limit.label);
        }
    }
}

impl Series {
    fn draw(&self, out: &mut Markup, x: Scale, y: Scale, width: f64) {
        let class = format!("series s{}", self.colour % MOST_SERIES);
        out.element("g", &[("class", &class)], |out| {
            let places = self.points.iter().filter(|dot| !dot.is_void);
            let places: Vec<String> = places
                .map(|dot| format!("{},{}", length(x.at(dot.x)), length(y.at(dot.y))))
                .collect();
            if self.look != Look::Dots && places.len() > 1 {
                out.shape("polyline", &[("points", &places.join(" "))]);
            }
            if self.look != Look::Line {
                for dot in &self.points {
                    dot.draw(out, x, y, width);
                }
            }
        });
    }
}

impl Dot {
    fn draw(&self, out: &mut Markup, x: Scale, y: Scale, width: f64) {
        let (at, high) = (x.at(self.x), y.at(self.y));
        if let Some([low, most]) = self.bounds {
            line(out, "bounds", [at, y.at(low), at, y.at(most)]);
        }
        if self.is_void {
            line(out, "void", [at - 4.0, high - 4.0, at + 4.0, high + 4.0]);
            line(out, "void", [at - 4.0, high + 4.0, at + 4.0, high - 4.0]);
        } else {
            let (cx, cy) = (length(at), length(high));
            out.shape("circle", &[("cx", &cx), ("cy", &cy), ("r", "3.5")]);
        }
        if !self.label.is_empty() {
            // What is near the right edge is written to the left of its dot.
            let (class, by) = if at > width - 120.0 {
                ("tick end", -7.0)
            } else {
                ("tick", 7.0)
            };
            text(out, class, at + by, high - 6.0, &self.label);
        }
    }
}

/// What every drawing says of itself.
pub(super) fn drawing(title: &str, width: f64, height: f64) -> [(&'static str, String); 4] {
    [
        (
            "viewBox",
            format!("0 0 {} {}", length(width), length(height)),
        ),
        ("role", "img".to_owned()),
        ("aria-label", title.to_owned()),
        ("class", "drawing".to_owned()),
    ]
}

/// A line from a place to a place.
pub(super) fn line(out: &mut Markup, class: &str, ends: [f64; 4]) {
    let [x1, y1, x2, y2] = ends.map(length);
    out.shape(
        "line",
        &[
            ("class", class),
            ("x1", &x1),
            ("y1", &y1),
            ("x2", &x2),
            ("y2", &y2),
        ],
    );
}

/// A text that is read upwards, about a place.
fn turned(out: &mut Markup, class: &str, x: f64, y: f64, said: &str) {
    let (x, y) = (length(x), length(y));
    let by = format!("rotate(-90 {x} {y})");
    out.words(
        "text",
        &[("class", class), ("x", &x), ("y", &y), ("transform", &by)],
        said,
    );
}

/// A text at a place.
pub(super) fn text(out: &mut Markup, class: &str, x: f64, y: f64, said: &str) {
    let (x, y) = (length(x), length(y));
    out.words("text", &[("class", class), ("x", &x), ("y", &y)], said);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_drawn_the_same_each_time() {
        let dot = |x: f64, y: f64| Dot {
            x,
            y,
            bounds: Some([y * 0.9, y * 1.1]),
            ..Dot::default()
        };
        let mut points: Vec<Dot> = [(1.0, 100.0), (8.0, 140.0)].map(|(x, y)| dot(x, y)).into();
        points.push(Dot {
            label: "<64>".to_owned(),
            is_void: true,
            ..dot(64.0, 900.0)
        });
        let axis = |label: &str, lies| Axis {
            label: label.to_owned(),
            lies,
        };
        let chart = Chart {
            title: "TTFT".to_owned(),
            width: HALF,
            height: 240.0,
            x: axis("in flight", Lies::FromZero),
            y: axis("ms", Lies::AsNeeded),
            series: vec![Series {
                name: "p50".to_owned(),
                colour: 1,
                points,
                look: Look::DotsOnALine,
            }],
            limits: vec![Limit {
                label: "SLO 500 ms".to_owned(),
                at: 500.0,
                is_of_x: false,
            }],
        };
        assert_eq!(chart.draw(), chart.draw());
        insta::assert_snapshot!(chart.draw().finish(), @r#"
        <svg viewBox="0 0 440 240" role="img" aria-label="TTFT" class="drawing"><line class="grid" x1="54" y1="200" x2="426" y2="200"/><text class="tick end" x="48" y="204">0</text><line class="grid" x1="54" y1="154.8" x2="426" y2="154.8"/><text class="tick end" x="48" y="158.8">250</text><line class="grid" x1="54" y1="109.6" x2="426" y2="109.6"/><text class="tick end" x="48" y="113.6">500</text><line class="grid" x1="54" y1="64.4" x2="426" y2="64.4"/><text class="tick end" x="48" y="68.4">750</text><line class="grid" x1="54" y1="19.1" x2="426" y2="19.1"/><text class="tick end" x="48" y="23.1">1000</text><line class="grid" x1="54" y1="12" x2="54" y2="200"/><text class="tick middle" x="54" y="216">0</text><line class="grid" x1="164.7" y1="12" x2="164.7" y2="200"/><text class="tick middle" x="164.7" y="216">20</text><line class="grid" x1="275.4" y1="12" x2="275.4" y2="200"/><text class="tick middle" x="275.4" y="216">40</text><line class="grid" x1="386.1" y1="12" x2="386.1" y2="200"/><text class="tick middle" x="386.1" y="216">60</text><line class="axis" x1="54" y1="200" x2="426" y2="200"/><text class="name middle" x="240" y="234">in flight</text><text class="name middle" x="14" y="106" transform="rotate(-90 14 106)">ms</text><line class="limit" x1="54" y1="109.6" x2="426" y2="109.6"/><text class="tick end" x="422" y="105.6">SLO 500 ms</text><g class="series s1"><polyline points="59.5,181.9 98.3,174.7"/><line class="bounds" x1="59.5" y1="183.7" x2="59.5" y2="180.1"/><circle cx="59.5" cy="181.9" r="3.5"/><line class="bounds" x1="98.3" y1="177.2" x2="98.3" y2="172.1"/><circle cx="98.3" cy="174.7" r="3.5"/><line class="bounds" x1="408.3" y1="53.5" x2="408.3" y2="21"/><line class="void" x1="404.3" y1="33.2" x2="412.3" y2="41.2"/><line class="void" x1="404.3" y1="41.2" x2="412.3" y2="33.2"/><text class="tick end" x="401.3" y="31.2">&lt;64&gt;</text></g>
        </svg>
        "#);
    }
}
