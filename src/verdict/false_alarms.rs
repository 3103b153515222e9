//! How often the rules about replicas cry out where there is nothing: equal replicas on machines that
//! are more and less busy. What a round decodes ends together, so that noise strikes a replica's
//! requests as one.

use super::scene::{Scene, batch, rounds, scene, warmed};
use super::*;

const RUNS: usize = 200;

/// How a machine disturbs a replica in one round.
struct Machine {
    /// The spread of the logarithm of the time that a round takes.
    spread: f64,
    /// How often a replica stands still for half a second.
    stalls: f64,
}

const MACHINES: [Machine; 5] = [
    Machine {
        spread: 0.05,
        stalls: 0.0,
    },
    Machine {
        spread: 0.22,
        stalls: 0.0,
    },
    Machine {
        spread: 0.5,
        stalls: 0.1,
    },
    Machine {
        spread: 0.5,
        stalls: 0.3,
    },
    Machine {
        spread: 1.0,
        stalls: 0.1,
    },
];

impl Machine {
    fn round(&self, random: &mut fastrand::Rng, b: f64) -> Vec<Record> {
        let mut times = |factor: f64| {
            let noise: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            let stall = if random.f64() < self.stalls {
                500.0
            } else {
                0.0
            };
            let took = 150.0 * factor * (noise * self.spread).exp() + stall;
            [0.0, 0.3, 0.5, 0.9].map(|late| took + late)
        };
        batch(times(1.0), times(b))
    }

    /// How many of many measurements an error of the rules about replicas makes invalid.
    fn refused(&self, of: usize, b: f64) -> usize {
        let mut random = fastrand::Rng::with_seed(7);
        let run = |_: &usize| {
            let records = rounds((0..of).map(|_| self.round(&mut random, b)));
            !scene(records).errors().is_empty()
        };
        (0..RUNS).filter(run).count()
    }
}

#[test]
fn equal_replicas_are_refused_in_less_than_one_of_twenty_measurements() {
    for machine in MACHINES {
        for of in [5, 9] {
            let refused = machine.refused(of, 1.0);
            let Machine { spread, stalls } = machine;
            assert!(
                refused * 20 <= RUNS,
                "{refused} of {RUNS}: {of} rounds, {spread}, {stalls}"
            );
        }
    }
}

#[test]
fn a_single_short_round_would_be_refused_more_often_which_is_why_it_is_not_left_at_that() {
    assert!(MACHINES[3].refused(1, 1.0) * 20 > RUNS);
}

#[test]
fn a_replica_three_times_as_slow_is_found_out_on_a_machine_that_is_not_starved() {
    for machine in &MACHINES[..2] {
        assert!(machine.refused(5, 3.0) * 20 >= RUNS * 19);
    }
}

/// The notebook's shape in rounds: whoever is cold in the first one is named for it.
#[test]
fn the_first_of_several_rounds_gives_a_cold_replica_away() {
    let cold = |first: f64| -> Scene {
        let later = (0..4).map(|_| batch([200.0; 4], [210.0; 4]));
        let first = batch([200.0; 4], [first; 4]);
        scene(rounds([first].into_iter().chain(later)))
    };
    let mut scene = cold(3000.0);
    assert_eq!(scene.judge()[0].severity, Severity::Warning);
    scene.warmup = warmed(&["a"]);
    assert_eq!(scene.errors(), ["A6"]);
    assert_eq!(scene.judge()[0].replica.as_deref(), Some("b"));
    assert!(cold(350.0).judge().is_empty());
}
