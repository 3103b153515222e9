//! What is wrong with the machines, before anybody blames the software.
//!
//! A check is a pure function of the [`Case`], in a file of its own, and one line in [`CHECKS`]. It keeps
//! silent unless it can show evidence, say why it matters, and name the line that mends it. Their order is
//! the one in which owners of GB10s met the troubles, by how often it was reported. Most of what is checked
//! rests on such reports, which each check names: no such machine was at hand.

mod a1_blocked;
mod case;
mod f1_no_such_address;
mod f2_slow_link;
mod f3_lanes;
mod f4_mtu;
mod f5_gid;
mod f6_lost_at_reboot;
mod f7_half_a_link;
mod f8_degraded;
mod finding;
mod loaded;
mod look;
mod m1_too_little_memory;
mod m2_page_cache;
mod m3_shared_memory;
mod m4_other_holders;
mod m5_nothing_guards;
mod m6_swapped;
mod m7_leaks;
mod measured;
mod n1_held_down;
mod n2_unlike_versions;
mod n3_clocks;
mod n4_sessions;
mod n5_linger;
mod n6_under_load;
mod n7_slow_decode;

pub use case::Case;
pub use finding::{Finding, Severity};
pub use loaded::{GpuLoad, Load, Server};
pub use look::fact;
pub use measured::{Link, Measurements, Pair, pairs};

use finding::Check;

/// The checks, in the order in which they speak.
const CHECKS: &[Check] = &[
    a1_blocked::CHECK,
    m1_too_little_memory::CHECK,
    m2_page_cache::CHECK,
    m3_shared_memory::CHECK,
    m4_other_holders::CHECK,
    m5_nothing_guards::CHECK,
    m6_swapped::CHECK,
    m7_leaks::CHECK,
    f1_no_such_address::CHECK,
    f2_slow_link::CHECK,
    f3_lanes::CHECK,
    f4_mtu::CHECK,
    f5_gid::CHECK,
    f6_lost_at_reboot::CHECK,
    f7_half_a_link::CHECK,
    f8_degraded::CHECK,
    n1_held_down::CHECK,
    n2_unlike_versions::CHECK,
    n3_clocks::CHECK,
    n4_sessions::CHECK,
    n5_linger::CHECK,
    n6_under_load::CHECK,
    n7_slow_decode::CHECK,
];

/// Lets every check speak; of what matters alike, in their order.
pub fn examine(case: &Case<'_>) -> Vec<Finding> {
    let found = CHECKS.iter().flat_map(|check| check.findings(case));
    let mut findings: Vec<Finding> = found.collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// How many things are looked at.
pub fn checks() -> usize {
    CHECKS.len()
}

#[cfg(test)]
mod tests;
