//! How requests and tokens were shared among the replicas.

use super::super::Reported;
use super::super::chart::{WIDTH, drawing, text};
use super::super::markup::{Markup, length};
use super::super::sheet::{Sheet, Swatch, legend};
use super::{figure, known, median, plot};
use crate::results::{Point, Share};

const LEFT: f64 = 110.0;
const BAR: f64 = 22.0;
const GAP: f64 = 8.0;

/// The shares; nothing where one alone could serve.
pub(in super::super) fn balance(it: &Reported) -> Markup {
    let instances = it.instances();
    let served = |point: &&Point| !point.summary.by_instance.is_empty();
    let points: Vec<&Point> = it.result.points.iter().filter(served).collect();
    if instances.len() < 2 || points.is_empty() {
        return Markup::default();
    }
    let names = instances.iter().enumerate();
    let names: Vec<_> = names
        .map(|(colour, name)| ((*name).to_owned(), colour))
        .collect();
    let mut out = Markup::default();
    figure(
        &mut out,
        "The share of each replica, load by load.",
        |out| {
            legend(out, &names, Swatch::Bar);
            plot(out, &draw(&points, &instances));
        },
    );
    table(&points, &instances).write(&mut out);
    out
}

fn draw(points: &[&Point], instances: &[&str]) -> Markup {
    let rows = points.len() * 2;
    let height = rows as f64 * (BAR + GAP);
    let mut out = Markup::default();
    let attributes = drawing("Requests and tokens by replica", WIDTH, height);
    let attributes = attributes
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    out.element("svg", &attributes, |out| {
        let mut top = 0.0;
        for point in points {
            let count = |of: fn(&Share) -> f64| -> Vec<f64> {
                let share = |name: &&str| point.summary.by_instance.get(*name).map(of);
                instances
                    .iter()
                    .map(|name| share(name).unwrap_or(0.0))
                    .collect()
            };
            let load = point.load.label();
            let several = points.len() > 1;
            let named = |what: &str| {
                if several {
                    format!("{load}, {what}")
                } else {
                    what.to_owned()
                }
            };
            bar(out, top, &named("requests"), &count(|it| it.n as f64));
            bar(
                out,
                top + BAR + GAP,
                &named("tokens"),
                &count(|it| it.tokens as f64),
            );
            top += 2.0 * (BAR + GAP);
        }
    });
    out
}

fn bar(out: &mut Markup, top: f64, name: &str, parts: &[f64]) {
    let all: f64 = parts.iter().sum();
    text(out, "tick end", LEFT - 8.0, top + BAR - 7.0, name);
    let mut left = LEFT;
    for (colour, part) in parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
        let wide = (WIDTH - LEFT) * part / all;
        let class = format!("s{colour}");
        out.element("g", &[("class", &class)], |out| {
            let [x, y, width, height] = [left, top, (wide - 1.0).max(0.5), BAR].map(length);
            out.shape(
                "rect",
                &[
                    ("class", "tokens"),
                    ("x", &x),
                    ("y", &y),
                    ("width", &width),
                    ("height", &height),
                ],
            );
        });
        if wide > 40.0 {
            let share = format!("{:.0}%", 100.0 * part / all);
            text(out, "on", left + wide / 2.0, top + BAR - 7.0, &share);
        }
        left += wide;
    }
}

fn table(points: &[&Point], instances: &[&str]) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("load", false),
        ("replica", false),
        ("requests", true),
        ("failed", true),
        ("tokens", true),
        ("TTFT p50 ms", true),
        ("TPOT p50 ms", true),
        ("e2el mean ms", true),
    ]);
    for point in points {
        for name in instances {
            let Some(share) = point.summary.by_instance.get(*name) else {
                let mut row = vec![point.load.label(), (*name).to_owned(), "0".to_owned()];
                row.resize(8, String::new());
                sheet.row(row);
                continue;
            };
            sheet.row(vec![
                point.load.label(),
                (*name).to_owned(),
                share.n.to_string(),
                (share.n - share.ok).to_string(),
                share.tokens.to_string(),
                median(share.ttft.as_ref()),
                median(share.tpot.as_ref()),
                known(share.e2el.as_ref().map(|it| it.mean)),
            ]);
        }
    }
    sheet
}
