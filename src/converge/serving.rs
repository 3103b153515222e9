//! Somebody goes on serving: the last one that clients reach is not stopped unasked.

use std::collections::BTreeSet;

use crate::plan::{Action, Address, Change, Readiness, Reason, ReasonCode, Stand};

/// Blocks each replace that would leave clients with nobody: what serves beside it is not seen to, will not
/// be by then, or goes. What serves alone is replaced as it is declared: nothing else is asked for.
pub fn keep_serving(stands: &mut [Stand]) {
    let served = served(stands);
    let blocked: Vec<(usize, Reason)> = stands
        .iter()
        .enumerate()
        .filter_map(|(place, stand)| Some((place, last_that_serves(stands, stand, &served)?)))
        .collect();
    for (place, reason) in blocked {
        let change = &mut stands[place].change;
        let summary = std::mem::take(&mut change.summary);
        *change = Change::blocked(&change.address, reason).described(summary);
    }
}

/// What clients reach by way of something that goes on serving: each without its node.
fn served(stands: &[Stand]) -> BTreeSet<Address> {
    let goes_on = |stand: &&Stand| !matches!(stand.change.action, Action::Create | Action::Destroy);
    let hooks = stands
        .iter()
        .filter(goes_on)
        .flat_map(|it| &it.relations.drain);
    hooks.map(|hook| hook.of.clone()).collect()
}

/// Why the end of one would be the end of all.
fn last_that_serves(stands: &[Stand], stand: &Stand, served: &BTreeSet<Address>) -> Option<Reason> {
    let is_replaced = stand.change.action == Action::Replace && is_ready(stand);
    let group = stand.relations.rolling_group.as_ref()?;
    if !is_replaced || !served.contains(&stand.address().anywhere()) {
        return None;
    }
    let is_beside = |other: &&Stand| {
        let is_other = other.address() != stand.address();
        is_other
            && other.relations.rolling_group.as_ref() == Some(group)
            && served.contains(&other.address().anywhere())
    };
    let others: Vec<&Stand> = stands.iter().filter(is_beside).collect();
    let will_serve = |other: &&Stand| match other.change.action {
        Action::Keep | Action::Update => is_ready(other),
        Action::Create | Action::Replace => true,
        Action::Destroy | Action::Blocked => false,
    };
    if others.is_empty() || others.iter().any(will_serve) {
        return None;
    }
    let others: Vec<String> = others.iter().map(|it| why_not(it)).collect();
    let text = format!("clients would be left with nobody: {}", others.join("; "));
    let reason = Reason::new(ReasonCode::LastServing, text);
    Some(reason.hinted("mend that first, or give --allow-downtime"))
}

fn is_ready(stand: &Stand) -> bool {
    let service = stand.service.as_ref();
    service.is_some_and(|service| service.readiness == Readiness::Ready)
}

/// Why another does not serve, or will not.
fn why_not(other: &Stand) -> String {
    let address = other.address();
    match (&other.change.action, &other.service) {
        (Action::Destroy, _) => format!("{address} is to be destroyed"),
        (_, Some(service)) => match &service.readiness {
            Readiness::NotReady(why) => format!("{address} does not serve ({why})"),
            Readiness::Ready => format!("{address} is blocked"),
        },
        (_, None) => format!("{address} does not serve"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Hook, NodePort, Relations, Service};

    fn server(name: &str, action: Action, readiness: Readiness) -> Stand {
        let node = "n".parse().unwrap();
        let address = Address::on(&node, "instance", Some(name));
        Stand {
            relations: Relations {
                rolling_group: Some("t".to_owned()),
                ..Relations::default()
            },
            service: Some(Service {
                readiness,
                ..Service::stopped(NodePort::new(&node, 1))
            }),
            ..Stand::new(Change::new(&address, action, Vec::new()))
        }
    }

    fn proxy(before: &[&Stand]) -> Stand {
        let hooks = before.iter().map(|stand| Hook {
            of: stand.address().anywhere(),
            operations: Vec::new(),
        });
        Stand {
            relations: Relations {
                drain: hooks.collect(),
                ..Relations::default()
            },
            ..Stand::new(Change::keep(&"n/proxy".parse().unwrap(), ""))
        }
    }

    /// What becomes of `a`, which serves and is to be replaced, beside this one.
    fn beside(b: Stand, is_behind_proxy: bool) -> String {
        let a = server("a", Action::Replace, Readiness::Ready);
        let proxy = if is_behind_proxy {
            proxy(&[&a, &b])
        } else {
            proxy(&[])
        };
        let mut stands = vec![a, b, proxy];
        keep_serving(&mut stands);
        let why: Vec<String> = stands[0].change.why().collect();
        format!("{} {}", stands[0].change.action.sign(), why.join("; "))
    }

    fn down() -> Readiness {
        Readiness::NotReady("m did not answer".to_owned())
    }

    #[test]
    fn the_last_that_serves_stays() {
        insta::assert_snapshot!(beside(server("b", Action::Blocked, down()), true), @"! clients would be left with nobody: n/instance.b does not serve (m did not answer): mend that first, or give --allow-downtime");
        insta::assert_snapshot!(beside(server("b", Action::Keep, down()), true), @"! clients would be left with nobody: n/instance.b does not serve (m did not answer): mend that first, or give --allow-downtime");
        insta::assert_snapshot!(beside(server("b", Action::Destroy, Readiness::Ready), true), @"! clients would be left with nobody: n/instance.b is to be destroyed: mend that first, or give --allow-downtime");
    }

    #[test]
    fn beside_one_that_serves_or_will_it_is_replaced() {
        for b in [
            server("b", Action::Keep, Readiness::Ready),
            server("b", Action::Replace, Readiness::Ready),
            server("b", Action::Create, down()),
        ] {
            assert_eq!(beside(b, true), "-/+ ");
        }
    }

    #[test]
    fn what_serves_alone_or_by_itself_is_replaced() {
        assert_eq!(beside(server("b", Action::Blocked, down()), false), "-/+ ");
        let a = server("a", Action::Replace, Readiness::Ready);
        let proxy = proxy(&[&a]);
        let mut stands = vec![a, proxy];
        keep_serving(&mut stands);
        assert_eq!(stands[0].change.action, Action::Replace);
    }
}
