//! What is wrong with this machine is told, and that is no failure.

use super::PAIR;
use crate::suite::support::Workdir;

#[test]
fn what_is_found_is_told_and_the_exit_code_says_it_where_that_was_asked_for() {
    let place = Workdir::with(PAIR);
    let told = place.replica(&["doctor", "--json"]).exits(0).json();
    assert_eq!(told["looked_at"], serde_json::json!(["here"]), "{told:#}");
    assert!(
        told["checks"].as_u64().is_some_and(|it| it > 15),
        "{told:#}"
    );
    let _ = place
        .replica(&["doctor", "topology.yaml", "here"])
        .exits(0)
        .shows("checks of 1 node");
    let _ = place
        .replica(&["doctor", "there"])
        .exits(64)
        .says("declared are `here`");
    // An address that no machine has, of the networks that are kept for documents.
    place.change(
        "{ssh: local}",
        "{ssh: local, addresses: {fabric: 198.51.100.7}}",
    );
    let said = place.replica(&["doctor", "--exit-code"]).exits(2);
    let _ = said
        .shows("F1 problem, the fast link is not there")
        .shows("198.51.100.7");
    let told = place.replica(&["doctor", "--json"]).exits(0).json();
    let finding = &told["findings"][0];
    for key in [
        "id", "severity", "nodes", "message", "evidence", "why", "hint",
    ] {
        assert!(!finding[key].is_null(), "no `{key}` in {finding:#}");
    }
}
