//! The sections of a report, a file each: what there is of a result becomes text, drawing and table.

mod answer;
mod balance;
mod baseline;
mod conditions;
mod distributions;
mod engines;
mod failures;
mod findings;
mod load;
mod overview;
mod pareto;
mod rounds;
mod strips;
mod timeline;

pub(super) use answer::answer;
pub(super) use balance::balance;
pub(super) use baseline::baseline;
pub(super) use conditions::conditions;
pub(super) use distributions::distributions;
pub(super) use engines::engines;
pub(super) use failures::failures;
pub(super) use findings::findings;
pub(super) use load::load;
pub(super) use overview::overview;
pub(super) use pareto::pareto;
pub(super) use rounds::rounds;
pub(super) use strips::strips;
pub(super) use timeline::timeline;

use super::markup::Markup;
use crate::results::quantile::{Distribution, Quantile};
use crate::view::words::number;

/// A drawing with what explains it.
pub(super) fn figure(out: &mut Markup, caption: &str, inside: impl FnOnce(&mut Markup)) {
    out.element("figure", &[], |out| {
        inside(out);
        if !caption.is_empty() {
            out.words("figcaption", &[("class", "caption")], caption);
        }
    });
}

/// A drawing, which is moved sideways where the page is narrow.
pub(super) fn plot(out: &mut Markup, drawing: &Markup) {
    out.element("div", &[("class", "plot")], |out| out.add(drawing));
}

/// A number, or nothing.
fn known(value: Option<f64>) -> String {
    value.map(number).unwrap_or_default()
}

/// A percentile, as far as the number of requests bounds it.
fn quantile(of: Quantile) -> String {
    let lead = if of.at_least { "≥ " } else { "" };
    format!("{lead}{}", number(of.value))
}

fn median(of: Option<&Distribution>) -> String {
    known(of.map(|it| it.p50.value))
}

/// The 95th percentile where it is bounded.
fn p95(of: Option<&Distribution>) -> String {
    let bounded = of.map(|it| it.p95).filter(|it| !it.at_least);
    known(bounded.map(|it| it.value))
}

/// Microseconds as seconds.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
