//! N8: an sshd that forwards nothing. Servers that listen on a node's own addresses are asked through it.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use crate::node::Reach;

pub(super) const CHECK: Check = Check {
    id: "N8",
    name: "its sshd forwards nothing",
    why: "Whether a server is ready and lives is asked through it: an apply waits for an answer that cannot come.",
    reported: None,
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(found)
}

fn found(seen: &Seen<'_>) -> Option<Found> {
    let line = seen.look.forbids_forwarding.as_ref()?;
    (seen.declared.ssh != Reach::Local).then(|| Found {
        severity: Severity::Warning,
        nodes: vec![seen.name.clone()],
        message: format!("it says `{line}`"),
        evidence: json!({"sshd_config": line}),
        hint: "`AllowTcpForwarding yes` in /etc/ssh/sshd_config, and: sudo systemctl reload ssh"
            .to_owned(),
    })
}
