//! An instance that comes back is the idle one among busy ones, and has nothing cached.

use super::engine::{Ask, Cluster, text};
use super::*;

const CLIENTS: usize = 60;

fn ask(client: usize) -> Ask {
    Ask::prompt(client, &text(&client.to_string(), 2000), 100.0)
}

/// Clients that ask again as soon as they are answered.
struct Closed(Cluster);

impl Closed {
    fn begin(policy: &PolicySpec) -> Self {
        let mut cluster = Cluster::of(4, policy, 1000);
        for client in 0..CLIENTS {
            cluster.send(&ask(client));
        }
        Self(cluster)
    }

    /// Goes on for so long: how many were sent to the first one, and how many in all.
    async fn seconds(&mut self, seconds: usize) -> (usize, usize) {
        let (mut to_first, mut all) = (0, 0);
        for _ in 0..seconds * 100 {
            for done in self.0.step().await {
                all += 1;
                to_first += usize::from(self.0.send(&ask(done.client)) == 0);
            }
        }
        (to_first, all)
    }

    /// Its first server goes, and comes back after five seconds.
    async fn restart(&mut self) {
        for client in self.0.restart(0) {
            self.0.send(&ask(client));
        }
        let (to_first, _) = self.seconds(5).await;
        assert_eq!(to_first, 0);
        self.0.fleet.at(0).seen();
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_does_not_get_everything_and_has_its_share_in_the_end() {
    for policy in [
        PolicySpec::LeastConnections,
        PolicySpec::TwoChoices,
        PolicySpec::OutstandingTokens,
        PolicySpec::RoundRobin,
        PolicySpec::Random,
        PolicySpec::Session(SessionSettings::default()),
        PolicySpec::Prefix(PrefixSettings::default()),
    ] {
        let mut clients = Closed::begin(&policy);
        clients.seconds(10).await;
        clients.restart().await;
        let (to_first, all) = clients.seconds(2).await;
        assert!(all > 40, "{all} of {policy:?}");
        // A quarter is its share, and half of that is what it has after some seconds.
        assert!(to_first * 5 <= all, "{to_first} of {all} by {policy:?}");
        clients.seconds(15).await;
        let in_flight = clients.0.fleet.in_flight();
        let fair = CLIENTS as u64 / 4;
        assert!(in_flight[0] >= fair / 2, "{in_flight:?} by {policy:?}");
    }
}

/// The same burst to which an instance without a slow start answered 23 of 30.
#[tokio::test(start_paused = true)]
async fn a_burst_does_not_go_to_who_is_back() {
    let mut clients = Closed::begin(&PolicySpec::LeastConnections);
    clients.seconds(10).await;
    clients.restart().await;
    let burst = (0..30).map(|it| clients.0.send(&ask(1000 + it)));
    let to_first = burst.filter(|place| *place == 0).count();
    assert!(to_first <= 3, "{to_first}");
}

/// Where nobody is at work there is nobody to spare: who comes then has its whole share at once.
#[tokio::test(start_paused = true)]
async fn who_comes_to_idle_ones_has_its_turns_at_once() {
    let mut cluster = Cluster::of(3, &PolicySpec::RoundRobin, 100);
    let turns = |cluster: &mut Cluster| (0..6).map(|it| cluster.send(&ask(it))).collect::<Vec<_>>();
    assert_eq!(turns(&mut cluster), [0, 1, 2, 0, 1, 2]);
    while !cluster.fleet.in_flight().iter().all(|it| *it == 0) {
        cluster.step().await;
    }
    cluster.restart(1);
    cluster.fleet.at(1).seen();
    let mut places = turns(&mut cluster);
    places.sort_unstable();
    assert_eq!(places, [0, 0, 1, 1, 2, 2]);
}
