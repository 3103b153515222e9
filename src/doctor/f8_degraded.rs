//! F8: what goes through a link is a fraction of what its interfaces say. ConnectX-7s of GB10s come up in a
//! state in which everything says 200 Gb/s and 8 to 25 go through, over TCP as over RDMA, until the machine has
//! been without power: 12.86 Gb/s measured on four Sparks, and 92.57 to 97.28 where it is well
//! (NVIDIA/dgx-spark-playbooks#108).

use serde_json::{Value, json};

use super::Case;
use super::finding::{Check, Found, Severity};
use super::measured::Link;

/// So much less than it says is that state: 25 of 200 Gb/s.
const DEGRADED: f64 = 8.0;

/// So much less than the other way round is worth knowing.
const ONE_SIDED: f64 = 2.0;

pub(super) const CHECK: Check = Check {
    id: "F8",
    name: "little goes through the link",
    why: "Models are copied, and caches handed over, at what goes through and not at what the cable says; \
          `ethtool` and `ibstat` see nothing of it.",
    reported: Some("https://github.com/NVIDIA/dgx-spark-playbooks/pull/108"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    let links = &case.measured.links;
    let slow = links.iter().filter_map(|link| degraded(case, link));
    let slow: Vec<_> = slow.collect();
    if !slow.is_empty() {
        return slow;
    }
    links
        .iter()
        .filter_map(|link| one_sided(link, links))
        .collect()
}

fn degraded(case: &Case<'_>, link: &Link) -> Option<Found> {
    let says = [&link.from, &link.to].map(|node| case.says_gbit_per_s(node, &link.network));
    let [Some(from), Some(to)] = says else {
        return None;
    };
    let says = from.min(to);
    let at = [&link.from, &link.to].map(|node| case.interface(node, &link.network).unwrap_or("it"));
    (link.gbit_per_s * DEGRADED <= says).then(|| Found {
        severity: Severity::Problem,
        nodes: vec![link.from.clone(), link.to.clone()],
        message: format!(
            "{:.2} Gb/s go from {} ({}) to {} ({}), whose interfaces say {says} Gb/s",
            link.gbit_per_s, link.from, at[0], link.to, at[1]
        ),
        evidence: evidence(link, Some(says)),
        hint: "sudo poweroff both, pull the plugs of their power supplies for a minute (a reboot is not enough), then \
               `replica doctor --measure`; if it stays so: the cable, and sudo fwupdmgr update"
            .to_owned(),
    })
}

fn one_sided(link: &Link, links: &[Link]) -> Option<Found> {
    let mut others = links.iter();
    let back = others.find(|it| it.from == link.to && it.to == link.from)?;
    (link.gbit_per_s * ONE_SIDED < back.gbit_per_s).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![link.from.clone(), link.to.clone()],
        message: format!(
            "{:.2} Gb/s go from {} to {}, and {:.2} the other way",
            link.gbit_per_s, link.from, link.to, back.gbit_per_s
        ),
        evidence: json!([evidence(link, None), evidence(back, None)]),
        hint: format!(
            "ethtool -S of the interface of {}, and what else works there meanwhile; then `replica doctor --measure`",
            link.from
        ),
    })
}

fn evidence(link: &Link, says: Option<f64>) -> Value {
    json!({
        "from": link.from,
        "to": link.to,
        "network": link.network,
        "gbit_per_s": link.gbit_per_s,
        "interfaces_say_gbit_per_s": says,
        "rtt_ms": link.rtt_ms,
        "connections": link.connections,
        "encrypted": link.encrypted,
    })
}
