//! The same seed makes the same rehearsal, and nothing of it is the caller's.

use super::*;

const DRAWN: &str = "prompts: {synthetic: {input: {uniform: [16, 900]}, output: {uniform: [4, 60]}}}, \
                     load: {rate: 4/s, requests: 60}, timeout: 600";

fn scene(policy: &str) -> Scene {
    let proxy = format!("proxy: {{node: here, port: 8192, policy: {policy}}}");
    Scene::of(GB10, &["", "", ""], DRAWN).with(&proxy)
}

#[test]
fn a_seed_makes_one_rehearsal() {
    for policy in crate::proxy::policy::PolicySpec::NAMES {
        let scene = scene(policy);
        assert_eq!(scene.rehearsed(), scene.rehearsed(), "{policy}");
    }
    let scene = scene("random");
    assert_ne!(scene.rehearsed_with(1), scene.rehearsed_with(2));
}

#[test]
fn the_dice_of_the_caller_are_left_alone() {
    fastrand::seed(3);
    let expected = fastrand::u64(..);
    fastrand::seed(3);
    scene("random").rehearsed();
    assert_eq!(fastrand::u64(..), expected);
}

#[test]
fn weights_are_kept() {
    let proxy = "proxy: {node: here, port: 8192, weights: {a: 2}}";
    let benchmark =
        "prompts: {synthetic: {input: 16, output: 4}}, load: {concurrency: 3, requests: 60}";
    let rehearsed = Scene::of(GB10, &["", "", ""], benchmark)
        .with(proxy)
        .rehearsed();
    let shares = only(&rehearsed).summary.by_instance.values().map(|it| it.n);
    let round = only(&rehearsed)
        .summary
        .rounds
        .as_ref()
        .map_or(1, |it| it.n);
    let shares: Vec<_> = shares.map(|n| n / round).collect();
    assert_eq!(shares, [30, 15, 15]);
}
