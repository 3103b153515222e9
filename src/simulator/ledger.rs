//! What an engine has spent its time on, step by step, for who fits its [`Pace`](super::physics::Pace).

use std::time::Duration;

/// The steps of an engine, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    steps: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    begun: Duration,
    ended: Duration,
    /// How often each unknown was in all steps up to the end of this one.
    until: Vec<f64>,
}

impl Ledger {
    /// Writes down a step that has begun.
    pub(super) fn note(&mut self, begun: Duration, took: Duration, mut shares: Vec<f64>) {
        if let Some(last) = self.steps.last() {
            add(&mut shares, &last.until, 1.0);
        }
        self.steps.push(Entry {
            begun,
            ended: begun + took,
            until: shares,
        });
    }

    /// How often each unknown was in what happened between two moments; of a step that was under way at
    /// one of them, its part.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Vec<f64> {
        let mut spent = self.until(to);
        add(&mut spent, &self.until(from), -1.0);
        spent
    }

    fn until(&self, moment: Duration) -> Vec<f64> {
        let next = self.steps.partition_point(|step| step.ended <= moment);
        let before = next.checked_sub(1).map(|last| &self.steps[last].until);
        let width = self.steps.first().map_or(0, |step| step.until.len());
        let mut until = before.cloned().unwrap_or_else(|| vec![0.0; width]);
        if let Some(step) = self.steps.get(next)
            && step.begun < moment
        {
            let took = step.ended.saturating_sub(step.begun).as_secs_f64();
            let part = moment.saturating_sub(step.begun).as_secs_f64() / took;
            let before = until.clone();
            add(&mut until, &step.until, part);
            add(&mut until, &before, -part);
        }
        until
    }
}

/// Adds so much of one to another.
pub(super) fn add(to: &mut [f64], what: &[f64], times: f64) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += what * times;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_under_way_counts_by_its_part() {
        let at = Duration::from_millis;
        let mut ledger = Ledger::default();
        ledger.note(at(10), at(10), vec![1.0, 4.0]);
        ledger.note(at(30), at(20), vec![2.0, 0.0]);
        assert_eq!(ledger.between(at(0), at(5)), [0.0, 0.0]);
        assert_eq!(ledger.between(at(15), at(25)), [0.5, 2.0]);
        assert_eq!(ledger.between(at(20), at(40)), [1.0, 0.0]);
        assert_eq!(ledger.between(at(0), at(99)), [3.0, 4.0]);
        assert!(Ledger::default().between(at(0), at(1)).is_empty());
    }
}
