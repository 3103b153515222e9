//! What the records of a run come to, by the definitions `replica.metrics/1`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::quantile::{Distribution, tidy};
use super::record::{Record, Status, by_instance};

/// The name of these definitions, in every result.
pub const DEFINITIONS: &str = "replica.metrics/1";

/// Each metric with its formula, for whoever prints a number. `n` is the server's last
/// `usage.completion_tokens`; all times are monotonic, taken at `read()` and `write()`.
pub const FORMULAS: &[(&str, &str)] = &[
    ("ttft", "t_first − t_sent, ms"),
    ("tpot", "(t_last − t_first) / (n − 1), ms"),
    (
        "itl",
        "gap between token events / tokens of the later one, once for each, ms",
    ),
    ("icl", "gap between token events, ms"),
    ("e2el", "t_last − t_sent, ms"),
    ("response", "t_eof − t_planned, ms"),
    ("connect", "t_connected − t_connecting, ms; in no latency"),
    (
        "output_tps",
        "Σ n (ok) / (max t_last − min t_sent), tokens/s",
    ),
    (
        "total_tps",
        "Σ (n_in + n) (ok) / (max t_last − min t_sent), tokens/s",
    ),
    ("rps", "requests (ok) / (max t_last − min t_sent), 1/s"),
    ("tok_s_user", "1000 / median tpot, tokens/s"),
    ("attainment", "ok / all, failures counted as misses"),
    (
        "in_flight",
        "requests between t_sent and their end, by sweep-line, failed ones too",
    ),
];

/// A run, summarised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The time that throughputs divide by.
    pub window: Window,
    /// How many requests came to what.
    pub counts: Counts,
    /// The failures, alike ones together.
    pub errors: Vec<ErrorGroup>,
    /// The metrics, over requests that are ok.
    pub metrics: Metrics,
    /// The same for each instance that served, by name.
    pub by_instance: IndexMap<String, Share>,
}

/// A stretch of time, in microseconds since the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first `t_sent`.
    pub start_us: u64,
    /// The last `t_last` of a request that is ok.
    pub end_us: u64,
}

impl Window {
    /// Its length, in seconds.
    pub fn seconds(self) -> f64 {
        self.end_us.saturating_sub(self.start_us) as f64 / 1e6
    }
}

/// How many requests came to what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub total: usize,
    /// Those that are ok.
    pub ok: usize,
    /// The others.
    pub failed: usize,
    /// All, by status.
    pub by_status: BTreeMap<Status, usize>,
}

/// Failures that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorGroup {
    /// What they are: `http_error 429`.
    pub label: String,
    /// How many.
    pub count: usize,
    /// The instances that they came from, where that is known.
    pub instances: Vec<String>,
    /// The reason of the first of them.
    pub first_body: Option<String>,
}

/// The metrics of a run; see [`FORMULAS`]. What cannot be known is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "FORMULAS says what each is")]
pub struct Metrics {
    pub ttft: Option<Distribution>,
    pub tpot: Option<Distribution>,
    pub itl: Option<Distribution>,
    pub icl: Option<Distribution>,
    pub e2el: Option<Distribution>,
    pub response: Option<Distribution>,
    pub connect: Option<Distribution>,
    pub output_tokens: u64,
    pub input_tokens: Option<u64>,
    pub output_tps: Option<f64>,
    pub total_tps: Option<f64>,
    pub rps: Option<f64>,
    pub tok_s_user: Option<f64>,
    pub attainment: f64,
    pub in_flight: InFlight,
}

/// How many requests were in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// The most at any moment.
    pub peak: usize,
    /// The mean over the time from the first sending to the last end.
    pub mean: f64,
}

/// What one instance did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Requests that it was given.
    pub n: usize,
    /// Those of them that are ok.
    pub ok: usize,
    /// The tokens of those.
    pub tokens: u64,
    /// `t_first − t_sent`.
    pub ttft: Option<Distribution>,
    /// `(t_last − t_first) / (n − 1)`.
    pub tpot: Option<Distribution>,
    /// `t_last − t_sent`.
    pub e2el: Option<Distribution>,
}

impl Summary {
    /// Summarises the records of a run.
    pub fn of(records: &[Record]) -> Self {
        let ok: Vec<&Record> = records.iter().filter(|r| r.is_ok()).collect();
        let window = window(records, &ok);
        Self {
            window,
            counts: count(records, ok.len()),
            errors: group(records),
            metrics: Metrics::of(records, &ok, window),
            by_instance: by_instance(records)
                .into_iter()
                .map(|(instance, records)| (instance.to_owned(), Share::of(&records)))
                .collect(),
        }
    }

    /// The mean number of tokens of an answer.
    pub fn tokens_each(&self) -> Option<f64> {
        let answers = Some(self.counts.ok).filter(|ok| *ok > 0)?;
        Some(self.metrics.output_tokens as f64 / answers as f64)
    }

    /// The mean of `t_last − t_sent`, in ms.
    pub fn mean_latency_ms(&self) -> Option<f64> {
        Some(self.metrics.e2el.as_ref()?.mean)
    }
}

fn window(records: &[Record], ok: &[&Record]) -> Window {
    let start_us = records.iter().filter_map(|r| r.stamps.sent).min();
    let end_us = ok.iter().filter_map(|r| r.stamps.last).max();
    start_us
        .zip(end_us)
        .map_or_else(Window::default, |(start_us, end_us)| Window {
            start_us,
            end_us,
        })
}

fn count(records: &[Record], ok: usize) -> Counts {
    let mut by_status = BTreeMap::new();
    for record in records {
        *by_status.entry(record.status).or_default() += 1;
    }
    Counts {
        total: records.len(),
        ok,
        failed: records.len() - ok,
        by_status,
    }
}

fn group(records: &[Record]) -> Vec<ErrorGroup> {
    let mut groups: IndexMap<String, ErrorGroup> = IndexMap::new();
    for record in records.iter().filter(|r| !r.is_ok()) {
        let label = label(record);
        let group = groups.entry(label.clone()).or_insert_with(|| ErrorGroup {
            label,
            count: 0,
            instances: Vec::new(),
            first_body: record.error.clone(),
        });
        group.count += 1;
        group.instances.extend(record.instance.clone());
    }
    let mut groups: Vec<ErrorGroup> = groups.into_values().collect();
    for group in &mut groups {
        group.instances.sort();
        group.instances.dedup();
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

fn label(record: &Record) -> String {
    let word = record.status.word();
    match (record.status, record.http_status) {
        (Status::HttpError, Some(status)) => format!("{word} {status}"),
        _ => word.to_owned(),
    }
}

impl Share {
    fn of(records: &[&Record]) -> Self {
        let ok: Vec<&Record> = records.iter().copied().filter(|r| r.is_ok()).collect();
        Self {
            n: records.len(),
            ok: ok.len(),
            tokens: ok.iter().filter_map(|r| r.n_out).sum(),
            ttft: each(&ok, Record::ttft_ms),
            tpot: each(&ok, Record::tpot_ms),
            e2el: each(&ok, Record::e2el_ms),
        }
    }
}

fn each(ok: &[&Record], metric: impl Fn(&Record) -> Option<f64>) -> Option<Distribution> {
    Distribution::of_ms(ok.iter().filter_map(|r| metric(r)).collect())
}

fn pooled(ok: &[&Record], metric: impl Fn(&Record) -> Vec<f64>) -> Option<Distribution> {
    Distribution::of_ms(ok.iter().flat_map(|r| metric(r)).collect())
}

impl Metrics {
    fn of(records: &[Record], ok: &[&Record], window: Window) -> Self {
        let output_tokens = ok.iter().filter_map(|r| r.n_out).sum();
        let input_tokens = ok.iter().map(|r| r.n_in).sum::<Option<u64>>();
        let seconds = Some(window.seconds()).filter(|s| *s > 0.0);
        let rate = |amount: f64| seconds.map(|s| tidy(amount / s));
        let tpot = each(ok, Record::tpot_ms);
        Self {
            ttft: each(ok, Record::ttft_ms),
            itl: pooled(ok, Record::itl_ms),
            icl: pooled(ok, Record::icl_ms),
            e2el: each(ok, Record::e2el_ms),
            response: each(ok, Record::response_ms),
            connect: each(ok, Record::connect_ms),
            output_tokens,
            input_tokens,
            output_tps: rate(output_tokens as f64),
            total_tps: input_tokens.and_then(|n| rate((n + output_tokens) as f64)),
            rps: rate(ok.len() as f64),
            tok_s_user: user_speed(tpot.as_ref()),
            attainment: tidy(ok.len() as f64 / records.len().max(1) as f64),
            in_flight: InFlight::of(records),
            tpot,
        }
    }
}

fn user_speed(tpot: Option<&Distribution>) -> Option<f64> {
    let median = tpot?.p50.value;
    (median > 0.0).then(|| tidy(1000.0 / median))
}

impl InFlight {
    /// Counts exactly: every sending is +1, every end −1; at one moment ends go first.
    fn of(records: &[Record]) -> Self {
        let mut edges: Vec<(u64, i64)> = Vec::new();
        for record in records {
            if let Some(sent) = record.stamps.sent {
                edges.extend([(sent, 1), (record.stamps.ended.max(sent), -1)]);
            }
        }
        edges.sort_unstable();
        let (mut now, mut peak, mut area, mut before) = (0_i64, 0_i64, 0.0, None);
        for (at, step) in &edges {
            area += now as f64 * (at - before.unwrap_or(*at)) as f64;
            now += step;
            peak = peak.max(now);
            before = Some(*at);
        }
        let span = edges
            .last()
            .zip(edges.first())
            .map_or(0, |(l, f)| l.0 - f.0);
        Self {
            peak: peak as usize,
            mean: tidy(area / span.max(1) as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::{batch, request};

    #[test]
    fn a_batch_is_summed_over_its_window() {
        let summary = Summary::of(&batch([1000.0; 4], [2000.0; 4]));
        let metrics = &summary.metrics;
        assert_eq!(metrics.output_tokens, 800);
        assert_eq!(metrics.output_tps, Some(400.0));
        assert_eq!(metrics.total_tps, Some(440.0));
        assert_eq!(metrics.rps, Some(4.0));
        assert_eq!(metrics.in_flight, InFlight { peak: 8, mean: 6.0 });
        let e2el = metrics.e2el.as_ref().unwrap();
        assert_eq!((e2el.mean, e2el.p50.value), (1500.0, 1500.0));
        assert!(!e2el.p50.at_least && e2el.p90.at_least);
        let b = summary.by_instance["b"].e2el.as_ref().unwrap();
        assert_eq!((b.min, b.max), (2000.0, 2000.0));
    }

    #[test]
    fn one_ends_before_the_next_begins_at_the_same_moment() {
        let sequence = [
            request(0, "a", 0.0, 1.0, 10.0),
            request(1, "a", 10.0, 11.0, 20.0),
        ];
        let in_flight = Summary::of(&sequence).metrics.in_flight;
        assert_eq!(in_flight, InFlight { peak: 1, mean: 1.0 });
    }

    #[test]
    fn failures_are_in_flight_and_in_the_attainment_and_in_no_latency() {
        let mut records = batch([1000.0; 4], [1000.0; 4]);
        for record in &mut records[..2] {
            record.status = Status::SseError;
            record.n_out = Some(7);
            record.error = Some(format!("died on {}", record.index));
        }
        let summary = Summary::of(&records);
        assert_eq!(summary.metrics.e2el.as_ref().unwrap().n, 6);
        assert_eq!(summary.metrics.output_tokens, 600);
        assert_eq!(summary.metrics.in_flight.peak, 8);
        assert!((summary.metrics.attainment - 0.75).abs() < 1e-12);
        assert_eq!(summary.counts.by_status[&Status::SseError], 2);
        let group = &summary.errors[0];
        assert_eq!((group.label.as_str(), group.count), ("sse_error", 2));
        assert_eq!(group.first_body.as_deref(), Some("died on 0"));
        assert_eq!(
            (summary.by_instance["a"].n, summary.by_instance["a"].ok),
            (4, 2)
        );
    }
}
