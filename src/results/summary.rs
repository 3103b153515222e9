//! What the records of a load come to, by the definitions `replica.metrics/2`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::left_out::{LeftOut, Reads};
use super::quantile::{Distribution, tidy};
use super::record::{Record, Status, by_instance};
use super::rounds::{Round, Rounds, by_round};
use crate::shape::Shape;

/// The name of these definitions, in every result.
///
/// `replica.metrics/1` knew no rounds, took every request of a batch for an observation of its own,
/// and told of times between tokens whatever the reads had merged. Of a load that was driven once
/// its values are the same as these, but for those that are left out here.
pub const DEFINITIONS: &str = "replica.metrics/2";

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
        "Σ n (ok) / (max t_last − min t_sent), of the round where it is the median, tokens/s",
    ),
    (
        "total_tps",
        "Σ (n_in + n) (ok) / (max t_last − min t_sent), of that round, tokens/s",
    ),
    (
        "rps",
        "requests (ok) / (max t_last − min t_sent), of that round, 1/s",
    ),
    ("tok_s_user", "1000 / median tpot, tokens/s"),
    ("attainment", "ok / all, failures counted as misses"),
    (
        "in_flight",
        "requests between t_sent and their end, by sweep-line, failed ones too; no time between rounds",
    ),
    (
        "left_out",
        "metrics that are absent because token events shared reads: tpot where a first read of k of m \
         events makes it short by (k − 1)/(m − 1) > 5 % in 5 % of requests, itl where 5 % of events \
         share a read, ttft where 5 % of answers came in one",
    ),
    (
        "roofline",
        "bandwidth of a GPU's memory / weights read for a token; bounds 1000 / tpot, tokens/s of a stream",
    ),
    (
        "ci",
        "binomial bounds of a quantile (95 % each), by observations: requests / those decoded together",
    ),
];

/// A run, summarised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// From the first `t_sent` to the last `t_last`: the time that throughputs divide by, where the
    /// load was driven once.
    pub window: Window,
    /// The rounds, where it was driven several times: throughputs are those of the median one, and
    /// latencies are of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Rounds>,
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
    pub(super) fn of(records: &[&Record]) -> Self {
        let start_us = records.iter().filter_map(|r| r.stamps.sent).min();
        let ok = records.iter().filter(|r| r.is_ok());
        let end_us = ok.filter_map(|r| r.stamps.last).max();
        start_us
            .zip(end_us)
            .map_or_else(Self::default, |(start_us, end_us)| Self {
                start_us,
                end_us,
            })
    }

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
    /// What is absent because the streams were merged on their way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
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
    /// Summarises the records of a load, of all of its rounds.
    pub fn of(load: &Shape, records: &[Record]) -> Self {
        let rounds = by_round(records);
        let told = Rounds::of(&rounds);
        let typical = rounds.get(told.median).map_or(&[][..], Vec::as_slice);
        let ok: Vec<&Record> = records.iter().filter(|r| r.is_ok()).collect();
        let all: Vec<&Record> = records.iter().collect();
        let grouping = Grouping::of(load, records);
        Self {
            window: Window::of(&all),
            counts: count(records, ok.len()),
            errors: group(records),
            metrics: Metrics {
                attainment: tidy(ok.len() as f64 / records.len().max(1) as f64),
                in_flight: InFlight::of(&rounds),
                ..Metrics::of(&ok, grouping).at_rates_of(typical)
            },
            by_instance: by_instance(records)
                .into_iter()
                .map(|(instance, records)| (instance.to_owned(), Share::of(&records, grouping)))
                .collect(),
            rounds: (told.n > 1).then_some(told),
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

    /// How long the load was driven, in seconds: the time between rounds is none of it.
    pub fn seconds(&self) -> f64 {
        let rounds = self.rounds.as_ref();
        rounds.map_or(self.window.seconds(), |rounds| {
            rounds.each.iter().map(|round| round.seconds).sum()
        })
    }

    /// What the load came to in one go: the round that stands for all, where there are several.
    pub fn typical(&self) -> Round {
        let typical = self.rounds.as_ref().and_then(Rounds::typical);
        typical.cloned().unwrap_or_else(|| Round {
            requests: self.counts.total,
            ok: self.counts.ok,
            output_tokens: self.metrics.output_tokens,
            seconds: self.window.seconds(),
            e2el_mean_ms: self.mean_latency_ms(),
        })
    }
}

/// How much the requests of a load tell: those that are decoded together are one observation.
#[derive(Debug, Clone, Copy)]
struct Grouping {
    /// How many are decoded together. As many token gaps end with one step of the engine.
    together: usize,
    /// How many observations the load's requests are.
    observations: usize,
}

impl Grouping {
    fn of(load: &Shape, records: &[Record]) -> Self {
        let together = load.class().together().max(1) as usize;
        Self {
            together,
            observations: records.len() / together,
        }
    }

    /// One value a request. What one of several instances served are as many observations, each of
    /// fewer requests.
    fn each(self, ok: &[&Record], metric: impl Fn(&Record) -> Option<f64>) -> Option<Distribution> {
        let sample = ok.iter().filter_map(|r| metric(r)).collect();
        Distribution::of_observations_ms(sample, self.observations)
    }

    /// Many values a request.
    fn pooled(self, ok: &[&Record], metric: impl Fn(&Record) -> Vec<f64>) -> Option<Distribution> {
        let sample: Vec<f64> = ok.iter().flat_map(|r| metric(r)).collect();
        let steps = sample.len() / self.together;
        Distribution::of_observations_ms(sample, steps)
    }
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
    fn of(records: &[&Record], grouping: Grouping) -> Self {
        let ok: Vec<&Record> = records.iter().copied().filter(|r| r.is_ok()).collect();
        let reads = Reads::of(&ok);
        let ttft = grouping.each(&ok, Record::ttft_ms);
        let tpot = grouping.each(&ok, Record::tpot_ms);
        Self {
            n: records.len(),
            ok: ok.len(),
            tokens: ok.iter().filter_map(|r| r.n_out).sum(),
            ttft: ttft.filter(|_| !reads.spoil_ttft()),
            tpot: tpot.filter(|_| !reads.spoil_tpot()),
            e2el: grouping.each(&ok, Record::e2el_ms),
        }
    }
}

impl Metrics {
    fn of(ok: &[&Record], grouping: Grouping) -> Self {
        let reads = Reads::of(ok);
        let unless = |is_spoilt: bool, of: Option<Distribution>| of.filter(|_| !is_spoilt);
        let tpot = unless(reads.spoil_tpot(), grouping.each(ok, Record::tpot_ms));
        let gaps =
            |of: fn(&Record) -> Vec<f64>| unless(reads.spoil_gaps(), grouping.pooled(ok, of));
        Self {
            ttft: unless(reads.spoil_ttft(), grouping.each(ok, Record::ttft_ms)),
            itl: gaps(Record::itl_ms),
            icl: gaps(Record::icl_ms),
            left_out: reads.left_out(),
            e2el: grouping.each(ok, Record::e2el_ms),
            response: grouping.each(ok, Record::response_ms),
            connect: grouping.each(ok, Record::connect_ms),
            output_tokens: tokens_out(ok),
            input_tokens: tokens_in(ok),
            tok_s_user: user_speed(tpot.as_ref()),
            tpot,
            ..Self::default()
        }
    }

    /// The same with the throughputs of one round.
    fn at_rates_of(self, round: &[&Record]) -> Self {
        let seconds = Some(Window::of(round).seconds()).filter(|s| *s > 0.0);
        let rate = |amount: f64| seconds.map(|s| tidy(amount / s));
        let ok: Vec<&Record> = round.iter().copied().filter(|r| r.is_ok()).collect();
        let out = tokens_out(&ok);
        Self {
            output_tps: rate(out as f64),
            total_tps: tokens_in(&ok).and_then(|n| rate((n + out) as f64)),
            rps: rate(ok.len() as f64),
            ..self
        }
    }
}

fn tokens_out(ok: &[&Record]) -> u64 {
    ok.iter().filter_map(|r| r.n_out).sum()
}

fn tokens_in(ok: &[&Record]) -> Option<u64> {
    ok.iter().map(|r| r.n_in).sum()
}

fn user_speed(tpot: Option<&Distribution>) -> Option<f64> {
    let median = tpot?.p50.value;
    (median > 0.0).then(|| tidy(1000.0 / median))
}

impl InFlight {
    /// The most at any moment, and the mean over the time of all rounds.
    fn of(rounds: &[Vec<&Record>]) -> Self {
        let (mut peak, mut area, mut span) = (0, 0.0, 0);
        for swept in rounds.iter().map(|round| Swept::over(round)) {
            peak = swept.peak.max(peak);
            area += swept.area;
            span += swept.span;
        }
        Self {
            peak: peak as usize,
            mean: tidy(area / span.max(1) as f64),
        }
    }
}

/// What a sweep over the requests of a round counts.
struct Swept {
    peak: i64,
    /// Requests in flight times microseconds.
    area: f64,
    span: u64,
}

impl Swept {
    /// Counts exactly: every sending is +1, every end −1; at one moment ends go first.
    fn over(round: &[&Record]) -> Self {
        let mut edges: Vec<(u64, i64)> = Vec::new();
        for record in round {
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
        let ends = edges.last().zip(edges.first());
        let span = ends.map_or(0, |(last, first)| last.0 - first.0);
        Self { peak, area, span }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::known;
    use crate::verdict::scene::{batch, request};

    #[test]
    fn a_batch_is_summed_over_its_window() {
        let summary = Summary::of(&known::batch(8), &batch([1000.0; 4], [2000.0; 4]));
        let metrics = &summary.metrics;
        assert_eq!(metrics.output_tokens, 800);
        assert_eq!(metrics.output_tps, Some(400.0));
        assert_eq!(metrics.total_tps, Some(440.0));
        assert_eq!(metrics.rps, Some(4.0));
        assert_eq!(metrics.in_flight, InFlight { peak: 8, mean: 6.0 });
        let e2el = metrics.e2el.as_ref().unwrap();
        assert_eq!((e2el.mean, e2el.p50.value), (1500.0, 1500.0));
        assert!(e2el.p50.at_least, "one batch is one observation");
        assert_eq!((e2el.n, e2el.observations), (8, Some(1)));
        let alone = Summary::of(&known::sequential(8), &batch([1000.0; 4], [2000.0; 4]));
        let e2el = alone.metrics.e2el.unwrap();
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
        let in_flight = Summary::of(&known::sequential(2), &sequence)
            .metrics
            .in_flight;
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
        let summary = Summary::of(&known::batch(8), &records);
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

    /// Five rounds of eight requests, a tenth of a second apart.
    #[test]
    fn the_median_round_is_the_throughput_and_no_pause_between_rounds_is_in_it() {
        let times = [400.0, 500.0, 800.0, 400.0, 2000.0];
        let mut records = Vec::new();
        let mut now = 0;
        for (round, ms) in (0..).zip(times) {
            for mut record in batch([ms; 4], [ms; 4]) {
                record.round = round;
                let stamps = &mut record.stamps;
                for stamp in [&mut stamps.sent, &mut stamps.first, &mut stamps.last] {
                    *stamp = stamp.map(|at| at + now);
                }
                stamps.ended += now;
                records.push(record);
            }
            now += ms as u64 * 1000 + 100_000;
        }
        let summary = Summary::of(&known::batch(8), &records);
        let rounds = summary.rounds.as_ref().unwrap();
        assert_eq!((rounds.n, rounds.median), (5, 1));
        assert_eq!(rounds.output_tps[1], Some(1600.0));
        let metrics = &summary.metrics;
        assert_eq!(metrics.output_tps, Some(1600.0));
        assert_eq!(metrics.rps, Some(16.0));
        assert_eq!(metrics.in_flight, InFlight { peak: 8, mean: 8.0 });
        assert_eq!((summary.counts.ok, metrics.output_tokens), (40, 4000));
        assert!((summary.seconds() - 4.1).abs() < 1e-9);
        assert!((summary.window.seconds() - 4.5).abs() < 1e-9);
        let e2el = metrics.e2el.as_ref().unwrap();
        assert_eq!((e2el.n, e2el.observations), (40, Some(5)));
        assert_eq!(e2el.p50.ci, Some([400.0, 2000.0]));
        assert_eq!(
            summary.by_instance["a"].e2el.as_ref().unwrap().observations,
            Some(5)
        );
        assert_eq!(summary.typical().ok, 8);
        assert_eq!(summary.typical().e2el_mean_ms, Some(500.0));
    }
}
