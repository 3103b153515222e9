//! Locality never starves anybody: sglang's router once sent all that it did not know to the instance with
//! the smallest cache, which was the one that drowned in long prompts (sgl-project/sglang#14305).

use std::time::Duration;

use super::engine::{Ask, Cluster, text};
use super::*;

fn prefix() -> PolicySpec {
    PolicySpec::Prefix(PrefixSettings::default())
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_read_does_not_go_to_who_drowns() {
    let mut cluster = Cluster::of(2, &prefix(), 4000);
    // One has read much that others ask for again and again.
    for client in 0..200 {
        cluster.send_to(1, &Ask::prompt(client, &text("system", 4000), 10.0));
        cluster.step().await;
    }
    while !cluster.fleet.in_flight().iter().all(|it| *it == 0) {
        cluster.step().await;
    }
    // The other is busy with long prompts that nobody asked before.
    for client in 0..20 {
        let prompt = text(&client.to_string(), 60_000);
        cluster.send_to(0, &Ask::prompt(client, &prompt, 500.0));
    }
    let mut seen = [0; 2];
    for client in 100..160 {
        seen[cluster.send(&Ask::prompt(client, &text(&client.to_string(), 3000), 20.0))] += 1;
        for _ in 0..10 {
            cluster.step().await;
        }
    }
    assert!(seen[0] <= 3, "{seen:?}");
}

/// What one hot prefix comes to, as a mean time and the largest difference in requests in flight.
async fn hot(policy: &PolicySpec) -> (Duration, u64) {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut cluster = Cluster::of(4, policy, 4000);
    let (mut took, mut count, mut apart) = (Duration::ZERO, 0, 0);
    let system = text("system", 16_000);
    for client in 0..1500 {
        let prompt = format!("{system}{}", text(&client.to_string(), 1200));
        cluster.send(&Ask::prompt(client, &prompt, 80.0));
        let in_flight = cluster.fleet.in_flight();
        let (least, most) = (in_flight.iter().min(), in_flight.iter().max());
        apart = apart.max(most.unwrap() - least.unwrap());
        for _ in 0..rng.usize(0..4) {
            for done in cluster.step().await {
                took += done.took;
                count += 1;
            }
        }
    }
    (took / count, apart)
}

#[tokio::test(start_paused = true)]
async fn one_hot_prefix_fills_nobody_beyond_the_window() {
    let (took, apart) = hot(&prefix()).await;
    let window = u64::from(PrefixSettings::default().window);
    // What ends may leave as much again on the other side.
    assert!(apart <= 2 * window, "{apart} apart");
    let (by_load, _) = hot(&PolicySpec::LeastConnections).await;
    assert!(
        took < by_load * 11 / 10,
        "{took:?} and by load alone {by_load:?}"
    );
}
