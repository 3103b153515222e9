//! Sessions of all sizes, some of which ask more than all others: nobody has more than its bound.

use super::engine::{Ask, Cluster, text};
use super::*;

/// A few ask most: the session of rank n as often as 1/n.
fn session(rng: &mut fastrand::Rng) -> usize {
    (200.0_f64.powf(rng.f64()) - 1.0) as usize
}

#[tokio::test(start_paused = true)]
async fn nobody_is_sent_more_than_its_bound_and_most_sessions_stay() {
    let mut rng = fastrand::Rng::with_seed(9);
    let settings = SessionSettings::default();
    let mut cluster = Cluster::of(5, &PolicySpec::Session(settings.clone()), 4000);
    let mut homes = vec![[0_usize; 5]; 200];
    for client in 0..4000 {
        let session = session(&mut rng);
        let ask = Ask {
            session: format!("user-{session}"),
            ..Ask::prompt(client, &text("a", 1000), 50.0)
        };
        let place = cluster.send(&ask);
        homes[session][place] += 1;
        let in_flight = cluster.fleet.in_flight();
        let all: u64 = in_flight.iter().sum();
        let bound = (settings.balance * all as f64 / 5.0).ceil() as u64;
        assert!(in_flight[place] <= bound, "{in_flight:?} at {place}");
        for _ in 0..rng.usize(0..3) {
            cluster.step().await;
        }
    }
    let at_home: usize = homes
        .iter()
        .map(|places| *places.iter().max().unwrap())
        .sum();
    assert!(
        at_home > 4000 * 6 / 10,
        "{at_home} of 4000 where their session is"
    );
}
