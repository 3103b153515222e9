//! C3: nothing is compiled yet where a server is to start. A cold start was 11 minutes, of which torch.compile took 166 s
//! and what warms up 131 s (mitchross/talos-argocd-proxmox#1848); the next ones take a part of that.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use crate::resource::machine::Bytes;

pub(super) const CHECK: Check = Check {
    id: "C3",
    name: "the first start compiles",
    why: "It takes minutes longer than those after it: what waits for it should know, and what is measured first is not \
          what is measured later.",
    reported: Some("https://github.com/mitchross/talos-argocd-proxmox/pull/1848"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let caches = &seen.caches.0;
    let is_empty = !caches.is_empty() && caches.iter().all(|it| it.size == Some(Bytes(0)));
    let down = case.down(seen);
    let compiles = down.iter().filter(|(_, server)| {
        let eager = server.args.word("enforce_eager");
        eager.is_none_or(|it| it != "true")
    });
    let names: Vec<String> = compiles.map(|(name, _)| format!("`{name}`")).collect();
    let has_gpu = !seen.machine.gpus.is_empty();
    (is_empty && has_gpu && !names.is_empty()).then(|| Found {
        severity: Severity::Note,
        nodes: vec![seen.name.clone()],
        message: format!("nothing is compiled there for {}", names.join(", ")),
        evidence: json!({"folders": caches.iter().map(|it| &it.path).collect::<Vec<_>>()}),
        hint: "wait for the first `replica apply`: it shows what compiles; one that stands still for longer wants a larger \
               `ready_timeout`"
            .to_owned(),
    })
}
