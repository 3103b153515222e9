//! What the engines themselves counted: where requests waited, what was found in a cache, and what
//! their gauges showed.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::Sheet;
use super::super::strip::{Strip, draw};
use super::{figure, known, plot, seconds};
use crate::results::{Gauges, Point, ServerMetrics};
use crate::view::words::number;

/// Fewer looks at a gauge draw no line.
const FEW: usize = 3;

/// A gauge, and what it is called.
type Gauge = (&'static str, fn(&Gauges) -> Option<f64>);

const GAUGES: [Gauge; 3] = [
    ("running", |it| it.running),
    ("waiting", |it| it.waiting),
    ("KV cache %", |it| it.kv_usage.map(|share| share * 100.0)),
];

/// What they counted, load by load; nothing where they count nothing.
pub(in super::super) fn engines(it: &Reported) -> Markup {
    let mut out = Markup::default();
    let counting = it
        .result
        .points
        .iter()
        .filter(|point| !point.server.is_empty());
    for point in counting {
        if it.result.points.len() > 1 {
            out.words("h4", &[], &point.load.label());
        }
        gauges(&mut out, it, point);
        table(point).write(&mut out);
        let caption = "Times are means, by the engine's own clock; of the gauges, the most.";
        out.words("p", &[("class", "caption")], caption);
    }
    out
}

/// The gauges in time, where they were looked at often enough, and showed anything.
fn gauges(out: &mut Markup, it: &Reported, point: &Point) {
    let start = point.summary.window.start_us;
    let at = |us: u64| seconds(us.saturating_sub(start));
    let looks = point.server.values().flat_map(|it| &it.samples);
    let span = looks
        .map(|it| at(it.at_us))
        .fold(point.summary.window.seconds(), f64::max);
    let mut all = Vec::new();
    for (name, gauge) in GAUGES {
        for (colour, instance) in it.instances().into_iter().enumerate() {
            let samples = point.server.get(instance).map_or(&[][..], |it| &it.samples);
            let shown = samples.iter().filter(|it| it.at_us >= start);
            let shown = shown.filter_map(|it| Some((at(it.at_us), gauge(&it.gauges)?)));
            let shown: Vec<(f64, f64)> = shown.collect();
            if shown.len() >= FEW && shown.iter().any(|it| it.1 > 0.0) {
                all.push(Strip {
                    name: instance,
                    what: name,
                    colour,
                    steps: shown,
                    limit: None,
                });
            }
        }
    }
    if all.is_empty() {
        return;
    }
    figure(
        out,
        "As the engines said, looked at once a second.",
        |out| {
            let title = format!("The gauges of the engines under {}", point.load.label());
            plot(out, &draw(&all, span, &title));
        },
    );
}

fn table(point: &Point) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("replica", false),
        ("requests", true),
        ("tokens", true),
        ("queue ms", true),
        ("prefill ms", true),
        ("decode ms", true),
        ("TTFT ms", true),
        ("running", true),
        ("waiting", true),
        ("KV cache", true),
        ("preempted", true),
        ("prefix hits", true),
    ]);
    for (name, counted) in &point.server {
        let ServerMetrics {
            delta, mean, peak, ..
        } = counted;
        let count = |it: Option<u64>| it.map(|n| n.to_string()).unwrap_or_default();
        let whole = |it: Option<f64>| it.map(|n| format!("{n:.0}")).unwrap_or_default();
        let percent = |share: f64| format!("{} %", number(share * 100.0));
        let hits = delta
            .prefix_hits
            .zip(delta.prefix_queries.filter(|it| *it > 0));
        sheet.row(vec![
            name.clone(),
            count(delta.requests),
            count(delta.generation_tokens),
            known(mean.queue_ms),
            known(mean.prefill_ms),
            known(mean.decode_ms),
            known(mean.ttft_ms),
            whole(peak.running),
            whole(peak.waiting),
            peak.kv_usage.map(percent).unwrap_or_default(),
            count(delta.preemptions),
            hits.map(|(hits, all)| percent(hits as f64 / all as f64))
                .unwrap_or_default(),
        ]);
    }
    sheet
}
