//! What comes to differ is mended, as often as that is sensible, until somebody stops it.

use rustix::process::Signal;

use super::SMALL;
use crate::suite::support::{Running, Workdir, process, until};

fn watching(place: &Workdir, words: &[&str]) -> Running {
    let words = [&["watch", "-y", "--every", "200ms"], words].concat();
    let running = place.begin(&words);
    until("all of it serves", || {
        let status = place.status();
        (status["converged"] == true).then_some(())
    });
    running
}

/// Waits until another process serves as `a`.
fn until_another(place: &Workdir, than: u32) -> u32 {
    until("another process serves", || {
        let status = place.status();
        let pid = status["instances"]["a"]["pid"].as_u64()?;
        let pid = u32::try_from(pid).unwrap();
        (pid != than && status["instances"]["a"]["ready"] == true).then_some(pid)
    })
}

#[test]
fn what_dies_is_started_again_until_it_is_stopped() {
    let place = Workdir::with(SMALL);
    let watch = watching(&place, &[]);
    let first = place.pid("/instances/a");
    process::signal(first, Signal::KILL);
    until_another(&place, first);
    // Nobody is kept from anything while it only looks.
    let _ = place
        .replica(&["restart", "a", "-y", "--lock-timeout", "30s"])
        .exits(0);
    watch.signal(Signal::INT);
    let said = watch.end().exits(0);
    let _ = said
        .shows("Applied in")
        .says("watching: a look every")
        .says("mended something 1 time");
    assert_eq!(place.status()["converged"], true);
}

#[test]
fn what_was_started_often_enough_stays_down_and_is_told() {
    let place = Workdir::with(SMALL);
    let watch = watching(&place, &["--restarts", "1"]);
    let first = place.pid("/instances/a");
    process::signal(first, Signal::KILL);
    let second = until_another(&place, first);
    process::signal(second, Signal::KILL);
    until("it is gone", || (!process::is_alive(second)).then_some(()));
    // The proxy, which has starts of its own left, is mended beside it.
    let proxy = place.pid("/proxy");
    process::signal(proxy, Signal::KILL);
    until("another proxy runs", || {
        let pid = place.status()["proxy"]["pid"].as_u64()?;
        (pid != u64::from(proxy)).then_some(())
    });
    assert_eq!(place.status()["instances"]["a"]["ready"], false);
    watch.signal(Signal::TERM);
    let _ = watch
        .end()
        .exits(0)
        .says("here/instance.a was started as often as it may be");
}

#[test]
fn a_watch_is_no_one_document() {
    let place = Workdir::with(SMALL);
    let _ = place
        .replica(&["watch", "-y", "--json"])
        .exits(64)
        .says("--json-events");
    let _ = place.replica(&["watch", "-y", "--restarts", "0"]).exits(64);
    assert!(process::marked(&place.topology).is_empty());
}
