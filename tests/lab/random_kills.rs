//! `kill -9` of runs at moments that are drawn: by the clock and by what a run was at, over every sort of plan.
//! What crash points do at the ends of steps is done here between them. The seed is printed, and taken from
//! `REPLICA_SEED`; as many runs are killed as `REPLICA_KILLS` says:
//! `cargo test --test lab -- --ignored random_kills --nocapture`.

use super::crash_points::{Moment, Played, Undisturbed, all};
use super::stage::scenario;

/// Kills of each sort of plan, where nobody says how many.
const KILLS: usize = 6;

fn said<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Any moment of a run that is like an undisturbed one.
fn drawn(dice: &mut fastrand::Rng, undisturbed: &Undisturbed) -> Moment {
    if dice.bool() {
        return Moment::Step(dice.usize(..undisturbed.steps));
    }
    // A run that is over by then is one that nobody killed.
    Moment::Time(undisturbed.took.mul_f64(dice.f64()))
}

fn is_gone_on_from(played: &Played<'_>, dice: &mut fastrand::Rng, kills: usize) {
    let undisturbed = played.undisturbed();
    for _ in 0..kills {
        played.killed_at(&drawn(dice, &undisturbed), &undisturbed.end);
    }
}

#[test]
#[ignore = "many minutes: `.ci/run all` plays it"]
#[expect(
    clippy::print_stderr,
    reason = "who wants to see it again needs the seed"
)]
fn a_run_that_is_killed_at_any_moment_is_gone_on_from() {
    scenario("3", |lab| {
        let seed = said("REPLICA_SEED").unwrap_or_else(|| fastrand::u64(..));
        let kills = said("REPLICA_KILLS").unwrap_or(KILLS);
        eprintln!("REPLICA_SEED={seed} REPLICA_KILLS={kills}");
        let mut dice = fastrand::Rng::with_seed(seed);
        for (name, way) in all() {
            eprintln!("{name}: {kills} kills");
            is_gone_on_from(&way.on(lab), &mut dice, kills);
        }
    });
}
