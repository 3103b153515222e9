//! Scenarios on real OpenSSH servers, each host with its own processes, network, disk and clock.
//!
//! `cargo test --test lab` runs them; `-- --list` is the list of what is promised. Each scenario has
//! a lab of its own (see `lab/README.md`) in namespaces of its own, so that they run side by side
//! and nothing outlives them. Where a lab cannot come up, a scenario says `SKIPPED` and why.

#[path = "lab"]
mod scenarios {
    mod hosts;
    mod index;
    mod laptop;
    mod looking;
    mod sharing;
    mod sides;
    mod stage;
    mod stand_in;
    mod traffic;

    mod addresses;
    mod away;
    mod beginning;
    mod booted;
    mod changing;
    mod copying;
    mod crash_points;
    mod disturbed;
    mod doctor;
    mod failing;
    mod installing;
    mod interrupted;
    mod lacking;
    mod locking;
    mod measuring;
    mod models;
    mod random_kills;
    mod replicated;
    mod secrets;
    mod split;
    mod ssh;
    mod starting;
    mod status;
    mod strangers;
}
