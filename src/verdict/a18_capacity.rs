//! A18: more at once than there is room for: open files and ports of the client, seats of the engines.
//!
//! Where the client runs out of files or ports, its requests fail at once or wait, and the servers are
//! blamed; the seed's load of 505 at once, two sockets each, met a limit of 1024. Where the engines run
//! fewer at once than are sent, the others wait there, and their wait is a part of TTFT.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Severity};
use crate::shape::Class;

/// Files that a client has open beside its connections.
const BESIDE: u64 = 64;

/// A port cannot be used again for so long after its connection has ended (TIME_WAIT of Linux), in
/// seconds.
const TIME_WAIT_S: f64 = 60.0;

/// The share of the ports from which on they are said to be short.
const SHORT: f64 = 0.8;

pub(super) const RULE: Rule = Rule {
    id: "A18",
    name: "capacity",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let found = [files(case), ports(case), seats(case)];
    let found = found.into_iter().flatten();
    found.map(|it| RULE.speak(Severity::Warning, it)).collect()
}

/// A request has a connection, and the one that is made ahead for the next.
fn files(case: &Case<'_>) -> Option<Finding> {
    let limit = case.client.descriptors?;
    let peak = case.point.summary.metrics.in_flight.peak as u64;
    let wanted = 2 * peak + BESIDE;
    (wanted > limit).then(|| Finding {
        message: format!(
            "{peak} requests in flight want {wanted} open files, and the client may have {limit}"
        ),
        evidence: json!({"in_flight": peak, "wanted": wanted, "descriptors": limit}),
        cause: "connections that could not be made failed, or were made late".to_owned(),
        hint: format!("raise the limit, `ulimit -n {wanted}`, and measure again"),
    })
}

/// Each request has a connection of its own.
fn ports(case: &Case<'_>) -> Option<Finding> {
    let ports = case.client.ports?;
    let counts = &case.point.summary.counts;
    let seconds = case.point.summary.window.seconds().max(TIME_WAIT_S);
    let used = counts.total as f64 / seconds * TIME_WAIT_S;
    (used > SHORT * f64::from(ports)).then(|| Finding {
        message: format!("{used:.0} connections a minute are near the {ports} ports of the client"),
        evidence: json!({"per_minute": used.round(), "ports": ports}),
        cause: "a port rests for a minute after its connection; none may be free".to_owned(),
        hint: "widen `net.ipv4.ip_local_port_range`, or measure from several machines".to_owned(),
    })
}

fn seats(case: &Case<'_>) -> Option<Finding> {
    let width = match case.point.load.class() {
        Class::Together { requests } => requests,
        Class::Closed { width } => width,
        // How many are in flight by the clock is what is asked.
        Class::Alone | Class::Open { .. } => return None,
    };
    let seats = case.job.instances.iter().map(|it| it.max_num_seqs);
    let seats = seats.sum::<Option<u32>>().filter(|seats| *seats > 0)?;
    (width > seats).then(|| Finding {
        message: format!("{width} requests at once, and the engines run {seats}: the others wait"),
        evidence: json!({"in_flight": width, "max_num_seqs": seats}),
        cause: "`max_num_seqs` of the engines is smaller than the load".to_owned(),
        hint: "raise `max_num_seqs`, or read TTFT as what it is, a wait in a queue".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use crate::shape::known;
    use crate::verdict::scene::{Scene, batch, facts, scene};

    fn said(scene: &Scene) -> Vec<String> {
        let anomalies = scene.judge().into_iter();
        let own = anomalies.filter(|it| it.id == "A18");
        own.map(|it| it.message).collect()
    }

    fn eight() -> Scene {
        scene(batch([1000.0; 4], [1000.0; 4]))
    }

    #[test]
    fn a_client_without_files_or_ports_enough_is_named() {
        let mut scene = eight();
        scene.client.descriptors = Some(80);
        scene.client.ports = Some(28_232);
        assert_eq!(said(&scene), Vec::<String>::new());
        scene.client.descriptors = Some(79);
        scene.client.ports = Some(9);
        assert_eq!(
            said(&scene),
            [
                "8 requests in flight want 80 open files, and the client may have 79",
                "8 connections a minute are near the 9 ports of the client"
            ]
        );
    }

    #[test]
    fn requests_beyond_the_seats_of_the_engines_are_said_to_wait() {
        let mut scene = eight();
        scene.job = facts(known::batch(8), Some(4));
        assert_eq!(said(&scene), Vec::<String>::new());
        scene.job = facts(known::batch(8), Some(3));
        assert_eq!(
            said(&scene),
            ["8 requests at once, and the engines run 6: the others wait"]
        );
        scene.job = facts(known::batch(8), None);
        assert_eq!(said(&scene), Vec::<String>::new());
    }
}
