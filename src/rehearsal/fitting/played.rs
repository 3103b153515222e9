//! A load that was played through, for who fits what an engine takes: its times, and what is in them.

use std::time::Duration;

use super::super::drive::drive;
use super::super::play::Play;
use super::super::script::{Place, Question};
use super::super::servers::Servers;
use crate::results::Record;
use crate::shape::Shape;

/// Nobody gives up in such a play.
const PATIENCE: Duration = Duration::from_secs(1_000_000);

/// What came of a load.
pub(in crate::rehearsal) struct Played {
    /// Of the requests that were answered.
    pub(in crate::rehearsal) records: Vec<Record>,
    play: Play,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::rehearsal) enum Span {
    /// From its sending to its first token.
    ToFirst,
    /// From there to the last, for each token.
    EachAfter,
}

impl Played {
    /// Has servers be asked by a load, whose requests nobody gives up.
    pub(in crate::rehearsal) fn of(
        servers: Servers,
        load: &Shape,
        ask: &dyn Fn(Place) -> Question,
    ) -> Self {
        let mut play = Play::of(servers, PATIENCE);
        let first = Place {
            point: 0,
            round: 0,
            index: 0,
        };
        let mut records = drive(&mut play, ask, load.schedule(), first).records;
        records.retain(Record::is_ok);
        Self { records, play }
    }

    /// The mean time of a part in seconds, and how often each unknown is in it.
    pub(in crate::rehearsal) fn mean(&self, span: Span) -> Option<(f64, Vec<f64>)> {
        let mut shares: Vec<f64> = Vec::new();
        let (mut seconds, mut requests) = (0.0, 0.0);
        for record in &self.records {
            let ledger = self.play.ledgers().find(|(name, _)| {
                let served = record.instance.as_deref();
                served == Some(name.as_str())
            });
            let Some((from, to, times)) = bounds(record, span) else {
                continue;
            };
            let (_, ledger) = ledger?;
            let spent = ledger.between(from, to);
            shares.resize(spent.len(), 0.0);
            let sums = shares.iter_mut().zip(&spent);
            sums.for_each(|(sum, spent)| *sum += spent * times);
            seconds += to.saturating_sub(from).as_secs_f64() * times;
            requests += 1.0;
        }
        for share in &mut shares {
            *share /= requests;
        }
        (requests > 0.0).then(|| (seconds / requests, shares))
    }
}

/// Between which moments a part lies, and how much of that counts.
fn bounds(record: &Record, span: Span) -> Option<(Duration, Duration, f64)> {
    let stamps = &record.stamps;
    let at = |stamp: Option<u64>| stamp.map(Duration::from_micros);
    let (first, last) = (at(stamps.first)?, at(stamps.last)?);
    match span {
        Span::ToFirst => Some((at(stamps.sent)?, first, 1.0)),
        Span::EachAfter => {
            let gaps = record.n_out?.checked_sub(1).filter(|gaps| *gaps > 0)?;
            Some((first, last, 1.0 / gaps as f64))
        }
    }
}
