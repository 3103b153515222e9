//! What is not ours is named and left alone; who comes second waits or is told.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process;

use super::{PAIR, SMALL};
use crate::suite::support::{Workdir, until};

#[test]
fn a_strangers_port_blocks_names_the_stranger_and_leaves_it_alone() {
    let place = Workdir::with(SMALL);
    let stranger = TcpListener::bind(("127.0.0.1", place.port(0))).unwrap();
    let blocked = format!("port {} is held by pid {}", place.port(0), process::id());
    let _ = place.replica(&["plan"]).exits(0).shows(&blocked);
    let plan = place.plan();
    assert!(
        plan.contains(&"blocked here/instance.a".to_owned()),
        "{plan:?}"
    );
    let _ = place
        .replica(&["apply", "-y", "--no-bench"])
        .exits(6)
        .shows(&blocked);
    TcpStream::connect(stranger.local_addr().unwrap()).unwrap();
    drop(stranger);
    let _ = place.replica(&["apply", "-y", "--no-bench"]).exits(0);
    assert_eq!(place.status()["converged"], true);
}

/// A node that does not answer excuses what waits for it, and nothing else.
#[test]
fn what_is_blocked_shows_in_the_exit_code_beside_an_unreachable_node() {
    let place = Workdir::with(SMALL);
    let away = "{here: {ssh: local}, away: {ssh: 'nobody@127.0.0.1:1'}}";
    place.change("{here: {ssh: local}}", away);
    let stranger = TcpListener::bind(("127.0.0.1", place.port(0))).unwrap();
    let apply = ["apply", "-y", "--no-bench"];
    let _ = place.replica(&apply).exits(6);
    drop(stranger);
    let _ = place.replica(&apply).exits(4);
    // Its place is destroyed by whoever reaches all of it.
    place.change(away, "{here: {ssh: local}}");
}

#[test]
fn a_port_of_another_topology_names_its_owner() {
    let first = Workdir::with(SMALL).applied();
    let second = Workdir::with(SMALL);
    second.change(&second.port(0).to_string(), &first.port(0).to_string());
    let _ = second
        .replica(&["apply", "-y", "--no-bench"])
        .exits(6)
        .shows(&format!("instance.a of topology `{}`", first.topology));
    assert_eq!(first.status()["converged"], true);
}

#[test]
fn two_topologies_live_side_by_side_and_one_is_destroyed_alone() {
    let (first, second) = (
        Workdir::with(SMALL).applied(),
        Workdir::with(SMALL).applied(),
    );
    let _ = second.replica(&["destroy", "-y"]).exits(0);
    assert_eq!(first.status()["converged"], true);
}

#[test]
fn of_two_applies_at_once_the_second_is_told_who_holds_the_lock() {
    let place = Workdir::with(PAIR);
    place.change("sim_load_seconds: 0", "sim_load_seconds: 6");
    let first = place.begin(&["apply", "-y", "--no-bench"]);
    let lock = place.state().with_extension("lock");
    until("the lock", || {
        fs::read_to_string(&lock)
            .is_ok_and(|holder| holder.contains("pid"))
            .then_some(())
    });
    for command in ["apply", "destroy"] {
        let _ = place
            .replica(&[command, "-y"])
            .exits(5)
            .says("is locked by another run")
            .says("pid");
    }
    let _ = place.replica(&["plan"]).exits(0);
    // Whoever has patience comes second.
    let _ = place
        .replica(&["apply", "-y", "--no-bench", "-lock-timeout=2m"])
        .exits(0)
        .says("waiting for the lock of here: ")
        .shows("No changes.");
    let _ = first.end().exits(0);
    assert!(!lock.exists(), "the lock remains");
    assert!(place.plan().is_empty());
}

/// Whoever starts the next command must not meet the lock of the one that has ended, however slowly
/// a node lets it go.
#[test]
fn a_command_that_changes_nothing_has_let_its_lock_go_before_it_ends() {
    let place = Workdir::with(SMALL);
    let slow = place.work().join("slow");
    fs::create_dir(&slow).unwrap();
    let script = "#!/bin/sh\nsleep 0.5\nexec /bin/rm \"$@\"\n";
    fs::write(slow.join("rm"), script).unwrap();
    fs::set_permissions(slow.join("rm"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let place = place.env("PATH", &format!("{}:{path}", slow.display()));
    for command in ["apply", "bench"] {
        let _ = place.replica(&[command]).exits(1);
        let lock = place.state().with_extension("lock");
        assert!(!lock.exists(), "the lock of `{command}` remains");
    }
}
