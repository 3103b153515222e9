//! What was in flight and what came back, replica by replica, along one axis of time.

use super::super::Reported;
use super::super::markup::Markup;
use super::super::sheet::Sheet;
use super::super::strip::{Strip, draw};
use super::{figure, plot, seconds};
use crate::results::{Record, by_instance};
use crate::view::words::number;

/// Stretches of time that are told apart.
const BINS: usize = 240;

/// One replica in time.
struct Busy<'a> {
    name: &'a str,
    colour: usize,
    /// How many requests its engine runs at once, where that is known.
    seats: Option<u32>,
    /// The most requests in flight within each stretch.
    in_flight: Vec<f64>,
    /// Tokens each second within each stretch.
    tokens: Vec<f64>,
}

/// The strips of each load; nothing where nothing ran beside anything.
pub(in super::super) fn strips(it: &Reported) -> Markup {
    let mut out = Markup::default();
    for (point, records) in it.loads() {
        if point.summary.metrics.in_flight.peak < 2 {
            continue;
        }
        let Some((replicas, span)) = of(it, records) else {
            continue;
        };
        let label = point.load.label();
        if it.result.points.len() > 1 {
            out.words("h4", &[], &label);
        }
        let caption = "As the client saw it: requests sent and not ended, and tokens that came.";
        figure(&mut out, caption, |out| {
            let strips: Vec<Strip<'_>> = replicas.iter().flat_map(|it| it.strips(span)).collect();
            let title = format!("What each replica had to do under {label}");
            plot(out, &draw(&strips, span, &title));
        });
        table(&replicas, span).write(&mut out);
    }
    out
}

impl Busy<'_> {
    fn strips(&self, span: f64) -> [Strip<'_>; 2] {
        let steps = |values: &[f64]| {
            let wide = span / values.len() as f64;
            let places = values.iter().enumerate();
            places
                .map(|(place, value)| (wide * place as f64, *value))
                .collect()
        };
        let strip = |what, values: &[f64], limit| Strip {
            name: self.name,
            what,
            colour: self.colour,
            steps: steps(values),
            limit,
        };
        let seats = self.seats.map(|seats| (f64::from(seats), "max_num_seqs"));
        [
            strip("in flight", &self.in_flight, seats),
            strip("tok/s", &self.tokens, None),
        ]
    }
}

/// The replicas that served, and the seconds that they are shown for.
fn of<'a>(it: &'a Reported, records: &'a [Record]) -> Option<(Vec<Busy<'a>>, f64)> {
    let served = by_instance(records);
    let start = records.iter().filter_map(|it| it.stamps.sent).min()?;
    let end = records.iter().map(|it| it.stamps.ended).max()?;
    let span = seconds(end.saturating_sub(start)).max(1e-6);
    let at = |us: u64| seconds(us.saturating_sub(start)) / span;
    let instances = it.instances().into_iter().enumerate();
    let replicas: Vec<Busy<'_>> = instances
        .filter_map(|(colour, name)| {
            let records = served.get(name)?;
            Some(Busy {
                name,
                colour,
                seats: seats(it, name),
                in_flight: in_flight(records, at),
                tokens: tokens(records, at, span),
            })
        })
        .collect();
    (!replicas.is_empty()).then_some((replicas, span))
}

fn seats(it: &Reported, name: &str) -> Option<u32> {
    let mut targets = it.result.job.instances.iter();
    targets.find(|target| target.name == name)?.max_num_seqs
}

/// The stretch in which a moment lies; moments are shares of the whole.
fn bin(share: f64, bins: usize) -> usize {
    ((share * bins as f64) as usize).min(bins - 1)
}

fn in_flight(records: &[&Record], at: impl Fn(u64) -> f64) -> Vec<f64> {
    let mut edges: Vec<(u64, i64)> = Vec::new();
    for record in records {
        if let Some(sent) = record.stamps.sent {
            edges.extend([(sent, 1), (record.stamps.ended.max(sent), -1)]);
        }
    }
    edges.sort_unstable();
    let mut most = vec![0.0_f64; BINS];
    let (mut now, mut from) = (0_i64, 0);
    for (moment, step) in edges {
        let to = bin(at(moment), BINS);
        for stretch in &mut most[from..=to] {
            *stretch = stretch.max(now as f64);
        }
        now += step;
        from = to;
        most[to] = most[to].max(now as f64);
    }
    most
}

/// Fewer stretches than of the others: a rate needs some tokens in each.
fn tokens(records: &[&Record], at: impl Fn(u64) -> f64, span: f64) -> Vec<f64> {
    let bins = BINS / 4;
    let mut rates = vec![0.0; bins];
    for (moment, n) in records.iter().flat_map(|it| &it.tokens) {
        rates[bin(at(*moment), bins)] += *n as f64 * bins as f64 / span;
    }
    rates
}

fn most(all: &[f64]) -> f64 {
    all.iter().copied().fold(0.0, f64::max)
}

fn table(replicas: &[Busy<'_>], span: f64) -> Sheet {
    let mut sheet = Sheet::new(&[
        ("replica", false),
        ("most in flight", true),
        ("max_num_seqs", true),
        ("busy s", true),
        ("most tok/s", true),
    ]);
    for replica in replicas {
        let busy = replica.in_flight.iter().filter(|it| **it > 0.0).count();
        sheet.row(vec![
            replica.name.to_owned(),
            format!("{:.0}", most(&replica.in_flight)),
            replica.seats.map(|it| it.to_string()).unwrap_or_default(),
            number(busy as f64 * span / BINS as f64),
            number(most(&replica.tokens)),
        ]);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::request;

    #[test]
    fn what_is_in_flight_is_counted_where_it_is() {
        let all = [
            request(0, "a", 0.0, 10.0, 500.0),
            request(1, "a", 250.0, 260.0, 1000.0),
        ];
        let records: Vec<&Record> = all.iter().collect();
        let at = |us: u64| us as f64 / 1e6;
        let counted = in_flight(&records, at);
        let quarters = [0.1, 0.3, 0.7].map(|share| counted[bin(share, BINS)]);
        assert_eq!(quarters.map(|it| it as i64), [1, 2, 1]);
        let rates = tokens(&records, at, 1.0);
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        assert!((mean - 200.0).abs() < 1e-6, "{mean}");
    }
}
