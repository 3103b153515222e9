//! What is wrong with the machines, before anybody blames the software.
//!
//! A check is a pure function of the [`Case`], in a file of its own, and one line in [`CHECKS`]. It keeps
//! silent unless it can show evidence, say why it matters, and name the line that mends it. Their order is
//! the one in which owners of GB10s met the troubles, by how often it was reported. Most of what is checked
//! rests on such reports, which each check names: no such machine was at hand.

mod a1_blocked;
mod c1_shared_caches;
mod c2_no_room;
mod c3_first_start;
mod caches;
mod case;
mod d1_model_files;
mod d2_other_revisions;
mod d3_no_room;
mod declared;
mod e1_old_driver;
mod e2_old_libc;
mod f1_no_such_address;
mod f2_slow_link;
mod f3_lanes;
mod f4_mtu;
mod f5_gid;
mod f6_lost_at_reboot;
mod f7_half_a_link;
mod f8_degraded;
mod finding;
mod k1_fallbacks;
mod k2_unlike_kernels;
mod kernels;
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
mod n8_no_forwarding;

pub use case::Case;
pub use finding::{Finding, Severity};
pub use loaded::{GpuLoad, Load, Server};
pub use measured::{Link, Measurements, Pair, pairs};

use crate::name::NodeName;
use crate::plan::{Action, Change, Plan, Warning};
use crate::resource::{Fact, Observation, Topology, machine};
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
    k1_fallbacks::CHECK,
    k2_unlike_kernels::CHECK,
    d1_model_files::CHECK,
    d2_other_revisions::CHECK,
    d3_no_room::CHECK,
    e1_old_driver::CHECK,
    e2_old_libc::CHECK,
    c1_shared_caches::CHECK,
    c2_no_room::CHECK,
    c3_first_start::CHECK,
    n1_held_down::CHECK,
    n2_unlike_versions::CHECK,
    n3_clocks::CHECK,
    n4_sessions::CHECK,
    n5_linger::CHECK,
    n6_under_load::CHECK,
    n7_slow_decode::CHECK,
    n8_no_forwarding::CHECK,
];

/// Those of them that an apply would fail by, of which a plan warns: they rest on what it looks at anyway.
const IN_PLANS: &[Check] = &[
    m1_too_little_memory::CHECK,
    d3_no_room::CHECK,
    e1_old_driver::CHECK,
    e2_old_libc::CHECK,
];

/// What nodes are asked, all in one round trip.
pub fn facts(topology: &Topology) -> [Fact; 4] {
    [
        look::fact(),
        kernels::fact(topology.name.as_str()),
        caches::fact(topology),
        machine::fact(),
    ]
}

/// Lets every check speak; of what matters alike, in their order.
pub fn examine(case: &Case<'_>) -> Vec<Finding> {
    let found = CHECKS.iter().flat_map(|check| check.findings(case));
    let mut findings: Vec<Finding> = found.collect();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What an apply of this plan would fail by, on the nodes on which it does something. What is blocked says so by itself.
pub fn warnings(topology: &Topology, observed: &Observation, plan: &Plan) -> Vec<Warning> {
    let nothing = Measurements::default();
    let acts = |node: &NodeName| {
        let mut own = plan
            .changes
            .iter()
            .filter(|it| it.node.as_ref() == Some(node));
        let is_blocked = |change: &Change| change.action == Action::Blocked;
        own.clone().any(|it| it.action.acts()) && !own.any(is_blocked)
    };
    let case = Case::new(topology, observed, plan, &nothing, acts);
    let found = IN_PLANS.iter().flat_map(|check| check.findings(&case));
    let serious = found.filter(|finding| finding.severity == Severity::Problem);
    serious
        .map(|finding| Warning {
            id: finding.id,
            nodes: finding.nodes,
            text: finding.message,
            hint: finding.hint,
        })
        .collect()
}

/// How many things are looked at.
pub fn checks() -> usize {
    CHECKS.len()
}

#[cfg(test)]
mod tests;
