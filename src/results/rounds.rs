//! A load that was driven several times, a round each: what each came to, and which of them stands
//! for all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::quantile::tidy;
use super::record::Record;
use super::summary::Window;

/// The rounds of a load, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// How many there are.
    pub n: usize,
    /// The throughput of each, in tokens/s; nothing where none of its requests is ok.
    pub output_tps: Vec<Option<f64>>,
    /// The one, from 0, that has the median throughput; of an even number, the slower of the two.
    pub median: usize,
    /// What else each came to.
    pub each: Vec<Round>,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Its requests.
    pub requests: usize,
    /// Those of them that are ok.
    pub ok: usize,
    /// The tokens of those.
    pub output_tokens: u64,
    /// From its first `t_sent` to its last `t_last`, in seconds.
    pub seconds: f64,
    /// The mean of `t_last − t_sent`, in ms.
    pub e2el_mean_ms: Option<f64>,
}

impl Rounds {
    /// What rounds came to.
    pub(crate) fn of(rounds: &[Vec<&Record>]) -> Self {
        let each: Vec<Round> = rounds.iter().map(|round| Round::of(round)).collect();
        let output_tps: Vec<Option<f64>> = each.iter().map(Round::output_tps).collect();
        Self {
            n: each.len(),
            median: median(&output_tps),
            output_tps,
            each,
        }
    }

    /// The round that stands for all.
    pub fn typical(&self) -> Option<&Round> {
        self.each.get(self.median)
    }
}

impl Round {
    fn of(records: &[&Record]) -> Self {
        let ok = || records.iter().copied().filter(|r| r.is_ok());
        let latencies: Vec<f64> = ok().filter_map(Record::e2el_ms).collect();
        let sum: f64 = latencies.iter().sum();
        Self {
            requests: records.len(),
            ok: ok().count(),
            output_tokens: ok().filter_map(|r| r.n_out).sum(),
            seconds: Window::of(records).seconds(),
            e2el_mean_ms: (!latencies.is_empty()).then(|| tidy(sum / latencies.len() as f64)),
        }
    }

    fn output_tps(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| tidy(self.output_tokens as f64 / self.seconds))
    }
}

fn median(output_tps: &[Option<f64>]) -> usize {
    let known = output_tps.iter().enumerate();
    let mut known: Vec<(usize, f64)> = known.filter_map(|(i, tps)| Some((i, (*tps)?))).collect();
    known.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let middle = known.len().saturating_sub(1) / 2;
    known.get(middle).map_or(0, |(round, _)| *round)
}

/// Requests by the round that they were sent in, in order.
pub(crate) fn by_round<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Vec<&'a Record>> {
    let mut rounds: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for record in records {
        rounds.entry(record.round).or_default().push(record);
    }
    rounds.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_round_is_one_of_them() {
        assert_eq!(median(&[Some(3.0), Some(1.0), Some(2.0)]), 2);
        assert_eq!(
            median(&[Some(3.0), Some(1.0), None, Some(2.0), Some(9.0)]),
            3
        );
        assert_eq!(median(&[None]), 0);
        assert_eq!(median(&[]), 0);
    }
}
