//! What a load shows at a time. Requests that are decoded together end together: they are one
//! observation of a replica, and only what repeats is held against it.

use super::{Case, by_instance};
use crate::results::{Record, by_round};
use crate::shape::Class;

/// What is seen in so large a share of observations is seen in nearly all.
const NEARLY_ALL: f64 = 0.8;

/// From so many observations on they are counted; fewer are looked at more closely.
pub(super) const COUNTED: usize = 5;

/// How likely an observation sets one of several equal replicas behind the others by as much as a
/// rule asks: more than any machine should, since of two replicas one half would leave no
/// observation in which they are alike. On a starved one, a fifth of batches were twice apart.
const BY_CHANCE: f64 = 0.4;

/// How many false alarms about equal replicas are tolerated.
const FALSE_ALARMS: f64 = 0.05;

/// Whether what was seen `times` of `n` is seen in nearly all.
pub(super) fn are_nearly_all(times: usize, n: usize) -> bool {
    times > 0 && times as f64 >= NEARLY_ALL * n as f64
}

/// Whether equal replicas would show this in less than one of twenty measurements: that the same one
/// of so many is behind, `times` of `n`. It is `replicas · P(B ≥ times)` with
/// `B ~ Binomial(n, 0.4)`.
pub(super) fn is_no_chance(replicas: usize, times: usize, n: usize) -> bool {
    let (mut mass, mut tail) = ((1.0 - BY_CHANCE).powf(n as f64), 0.0);
    for k in 0..=n {
        if k >= times {
            tail += mass;
        }
        mass *= (n - k) as f64 / (k + 1) as f64 * BY_CHANCE / (1.0 - BY_CHANCE);
    }
    replicas as f64 * tail <= FALSE_ALARMS
}

impl<'a> Case<'a> {
    /// The requests that are ok, observation by observation: a round of a batch, a wave of a closed
    /// loop, and of other loads as many requests as there are replicas or as were in flight.
    pub(super) fn observations(&self) -> Vec<Vec<&'a Record>> {
        let rounds = by_round(self.records.iter().filter(|r| r.is_ok()));
        let size = match self.point.load.class() {
            Class::Together { .. } => return rounds,
            Class::Closed { width } => width as usize,
            Class::Alone | Class::Open { .. } => self.point.summary.metrics.in_flight.peak,
        };
        let size = size.max(self.point.summary.by_instance.len()).max(1);
        rounds
            .into_iter()
            .flat_map(|mut round| {
                round.sort_by_key(|r| (r.stamps.sent, r.index));
                let waves = round.chunks(size);
                // The last one may be no whole one.
                let whole = waves.filter(|wave| wave.len() == size || round.len() < size);
                whole.map(<[_]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The replicas that served, those of one role together: a prefill and a decode are never held
    /// against each other.
    pub(super) fn peers(&self) -> Vec<Vec<&'a str>> {
        let mut peers: Vec<(Option<&str>, Vec<&str>)> = Vec::new();
        for name in by_instance(self.records.iter().filter(|r| r.is_ok())).into_keys() {
            let role = self.target(name).and_then(|target| target.role.as_deref());
            match peers.iter_mut().find(|(known, _)| *known == role) {
                Some((_, names)) => names.push(name),
                None => peers.push((role, vec![name])),
            }
        }
        peers.into_iter().map(|(_, names)| names).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_repeats_is_no_chance() {
        assert!(is_no_chance(2, 5, 5) && !is_no_chance(2, 4, 5));
        assert!(is_no_chance(2, 7, 8) && !is_no_chance(2, 6, 8));
        assert!(!is_no_chance(8, 5, 5) && is_no_chance(8, 6, 6));
        assert!(!is_no_chance(2, 1, 1) && !is_no_chance(2, 0, 0));
        assert!(are_nearly_all(4, 5) && !are_nearly_all(3, 5) && !are_nearly_all(0, 0));
    }
}
