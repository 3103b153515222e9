//! N4: an sshd that lets a connection have fewer sessions than replica opens: eight at most, and one that
//! waits for the next script.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};

/// So many are opened at a time.
const OPENED: u64 = 9;

pub(super) const CHECK: Check = Check {
    id: "N4",
    name: "few sessions of one SSH connection",
    why: "Steps that could be made side by side are made one after another, and some have to be tried again.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let sessions = seen.look.max_sessions.filter(|most| *most < OPENED)?;
    Some(Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: format!("its sshd lets a connection have {sessions} sessions at a time"),
        evidence: json!({"max_sessions": sessions, "opened": OPENED}),
        hint: "`MaxSessions 10` in /etc/ssh/sshd_config, and: sudo systemctl reload ssh".to_owned(),
    })
}
