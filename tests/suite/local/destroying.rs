//! Destroy removes what is ours, proves it, and leaves what was measured.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::PAIR;
use crate::suite::support::{Workdir, process};

#[test]
fn destroy_removes_all_proves_it_and_leaves_results() {
    let place = Workdir::local();
    let _ = place.replica(&["apply", "-y"]).exits(0);
    let said = place.replica(&["destroy", "-y"]).exits(0);
    let said = said
        .shows("- instance.a")
        .shows(", and its log")
        .shows(&format!("Nothing of `{}` runs", place.topology));
    for index in 0..3 {
        let port = place.port(index);
        assert!(said.out.contains(&format!("here:{port}")), "{said}");
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
    assert!(process::marked(&place.topology).is_empty());
    let latest = format!("results/{}/batch/latest.json", place.topology);
    assert!(place.work().join(latest).is_file());
    assert!(!place.state().exists(), "the state folder remains");
}

#[test]
fn a_second_destroy_finds_nothing_and_that_is_no_error() {
    let place = Workdir::with(PAIR).applied();
    let _ = place.replica(&["destroy", "-y"]).exits(0);
    let said = place.replica(&["destroy"]).exits(0).shows("Nothing of");
    assert!(!said.out.contains("declared"), "{said}");
    let again = place.replica(&["plan", "--destroy"]).exits(0);
    let _ = again.shows("Nothing is left to do");
}

#[test]
fn what_destroy_would_do_can_be_planned() {
    let place = Workdir::with(PAIR).applied();
    let before = process::marked(&place.topology);
    let said = place.replica(&["plan", "--destroy", "--json"]).exits(0);
    assert_eq!(said.json()["summary"]["destroy"], 4, "{said}");
    assert_eq!(process::marked(&place.topology), before);
}

/// Why something did not come up is known after all of it is gone.
#[test]
fn the_log_of_a_failure_is_kept_here_before_it_goes_there() {
    let place = Workdir::with(PAIR);
    place.change(
        "sim_load_seconds: 0",
        "sim_load_seconds: 0, sim_fail_loading: oom",
    );
    let _ = place.replica(&["apply", "-y"]).exits(6);
    let kept = format!("results/{}/failed/here.instance.a.1.log", place.topology);
    let said = place.replica(&["destroy", "-y"]).exits(0);
    let _ = said
        .says("the log of its last failure is kept in")
        .says(&kept);
    assert!(!place.state().exists());
    let kept = place.work().join(kept);
    assert!(
        place.read(&kept).contains("ValueError: Free memory"),
        "{}",
        place.read(&kept)
    );
    let mode = std::fs::metadata(kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
