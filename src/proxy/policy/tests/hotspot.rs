//! How evenly requests are shared: N times the largest share is 1 where all have the same.

use super::engine::{Ask, Cluster, STEP, text};
use super::*;

const SERVERS: usize = 8;

/// N times the largest share of requests of all lengths, which come by themselves.
async fn hotspot(policy: &PolicySpec) -> f64 {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut cluster = Cluster::of(SERVERS, policy, 1000);
    let mut shares = [0_u32; SERVERS];
    for client in 0..4000 {
        let prompt = text(&client.to_string(), rng.usize(100..4000));
        let answer = -40.0 * (1.0 - rng.f64()).ln();
        shares[cluster.send(&Ask::prompt(client, &prompt, answer))] += 1;
        for _ in 0..rng.usize(0..5) {
            cluster.step().await;
        }
    }
    let most = shares.into_iter().max().unwrap();
    f64::from(most) * SERVERS as f64 / 4000.0
}

#[tokio::test(start_paused = true)]
async fn nobody_has_much_more_than_its_share() {
    for (policy, bound) in [
        (PolicySpec::RoundRobin, 1.0),
        (PolicySpec::LeastConnections, 1.05),
        (PolicySpec::TwoChoices, 1.2),
        (PolicySpec::OutstandingTokens, 1.2),
        (PolicySpec::Random, 1.2),
        (PolicySpec::Prefix(PrefixSettings::default()), 1.2),
    ] {
        let hotspot = hotspot(&policy).await;
        assert!(hotspot <= bound, "{hotspot} of {policy:?}");
    }
}

/// The load that it leaves is as even as what it looks at: two choices are far better than one.
#[tokio::test(start_paused = true)]
async fn two_choices_leave_a_smaller_queue_than_one() {
    let mut queues = Vec::new();
    for policy in [PolicySpec::Random, PolicySpec::TwoChoices] {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut cluster = Cluster::of(SERVERS, &policy, 1000);
        let mut most = 0;
        for client in 0..3000 {
            cluster.send(&Ask::prompt(client, &text("a", 2000), 60.0));
            most = most.max(cluster.fleet.in_flight().into_iter().max().unwrap());
            for _ in 0..rng.usize(0..5) {
                cluster.step().await;
            }
        }
        queues.push(most);
    }
    assert!(
        queues[1] * 3 < queues[0] * 2,
        "{queues:?} in steps of {STEP:?}"
    );
}
