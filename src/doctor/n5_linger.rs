//! N5: what is started is not started again after a reboot, as the user's systemd ends with the last login.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use crate::node::{Reach, SupervisorPolicy};

pub(super) const CHECK: Check = Check {
    id: "N5",
    name: "nothing comes back after a reboot",
    why: "With `supervisor: auto` a server is looked after by the user's systemd only where that outlives a login.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let is_auto = seen.declared.supervisor() == SupervisorPolicy::Auto;
    let is_away = seen.declared.ssh != Reach::Local;
    let serves = !case.servers(seen.name).is_empty();
    let is_off = seen.look.lingers == Some(false);
    (is_auto && is_away && serves && is_off).then(|| Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: "the systemd of its user ends with the last login".to_owned(),
        evidence: json!({"linger": false}),
        hint: "loginctl enable-linger      (or `supervisor: systemd`, and apply does it)"
            .to_owned(),
    })
}
