//! Somebody goes on serving: those that clients reach by one address are replaced in turn, and never so many
//! at once that too few are left.

use std::collections::BTreeSet;

use super::start_first::start_first;
use crate::plan::{Action, Address, Change, Readiness, Reason, ReasonCode, Rollout, Stand};

/// Puts those of a group that do not serve before those that do: what is brought up first takes over from
/// what is stopped next.
pub fn repair_first(stands: &mut [Stand]) {
    let served = served(stands);
    let is_replaced = |it: &Stand| is_replaced(it, &served);
    let comes = |it: &&Stand| comes(it, &served);
    for group in groups(stands) {
        let places = members(stands, &group);
        if !can_change_places(stands, &places) {
            continue;
        }
        let mut order = places.clone();
        order.sort_by_key(|place| serves(&stands[*place], &served));
        let mut moved: Vec<Stand> = order.iter().map(|place| stands[*place].clone()).collect();
        let coming: Vec<Address> = moved.iter().filter(comes).map(address).collect();
        for stand in moved.iter_mut().filter(|it| is_replaced(it)) {
            stand.relations.after.extend(coming.iter().cloned());
        }
        for (place, stand) in places.into_iter().zip(moved) {
            stands[place] = stand;
        }
    }
}

/// Holds each replace back until enough others serve, and blocks it where they will not: what serves beside
/// it is not seen to, will not be by then, or goes.
pub fn keep_serving(stands: &mut [Stand]) {
    start_first(stands);
    let served = served(stands);
    let found: Vec<(usize, Held)> = stands
        .iter()
        .enumerate()
        .filter_map(|(place, stand)| Some((place, held_back(stands, stand, &served)?)))
        .collect();
    for (place, held) in found {
        let stand = &mut stands[place];
        match held {
            Held::Until(coming) => stand.relations.requires.extend(coming),
            Held::Back(reason) => {
                let summary = std::mem::take(&mut stand.change.summary);
                stand.change = Change::blocked(stand.address(), reason).described(summary);
            }
        }
    }
}

/// What a replace waits for.
enum Held {
    /// Until these serve.
    Until(Vec<Address>),
    /// For good.
    Back(Reason),
}

/// The names of the groups whose members are reached by one address.
fn groups(stands: &[Stand]) -> BTreeSet<String> {
    let groups = stands
        .iter()
        .filter_map(|it| it.relations.rolling_group.as_ref());
    let groups = groups.filter(|group| group.rollout.is_some());
    groups.map(|group| group.name.clone()).collect()
}

/// The places of the members of a group that are reached by its address.
fn members(stands: &[Stand], group: &str) -> Vec<usize> {
    let is_member = |stand: &Stand| rollout(stand, group).is_some();
    let places = stands.iter().enumerate();
    places
        .filter(|(_, it)| is_member(it))
        .map(|(place, _)| place)
        .collect()
}

fn rollout(stand: &Stand, group: &str) -> Option<Rollout> {
    let own = stand.relations.rolling_group.as_ref();
    own.filter(|it| it.name == group)?.rollout
}

/// Whether nothing that one of them needs stands between them.
fn can_change_places(stands: &[Stand], places: &[usize]) -> bool {
    let (Some(first), Some(last)) = (places.first(), places.last()) else {
        return false;
    };
    let between: BTreeSet<&Address> = stands[*first..=*last].iter().map(Stand::address).collect();
    let needs = places.iter().flat_map(|place| {
        let relations = &stands[*place].relations;
        let tied = relations.requires.iter().chain(&relations.waits_for);
        tied.chain(&relations.replan_after)
    });
    needs.into_iter().all(|need| !between.contains(need))
}

fn address(stand: &Stand) -> Address {
    stand.address().clone()
}

/// Whether it is ready, and clients reach it.
fn serves(stand: &Stand, served: &BTreeSet<Address>) -> bool {
    stand.is_ready() && served.contains(&stand.address().anywhere())
}

/// Whether it serves, and is stopped before it is started anew.
fn is_replaced(stand: &Stand, served: &BTreeSet<Address>) -> bool {
    let stops_first = stand.change.action == Action::Replace && !stand.is_succeeded();
    stops_first && serves(stand, served)
}

/// Whether it serves all the while: as it is, or until another has taken over from it.
fn serves_on(stand: &Stand, served: &BTreeSet<Address>) -> bool {
    let stays = matches!(stand.change.action, Action::Keep | Action::Update);
    let is_handed_over = stand.is_succeeded() || stand.relations.handed_to.is_some();
    (stays || is_handed_over) && serves(stand, served)
}

/// Whether it does not serve now, and is to once what is planned for it is done.
fn comes(stand: &Stand, served: &BTreeSet<Address>) -> bool {
    let is_brought_up = matches!(
        stand.change.action,
        Action::Create | Action::Replace | Action::Update
    );
    // What takes over from another adds nobody.
    is_brought_up && !serves(stand, served) && stand.relations.takes_over_from.is_none()
}

/// What clients reach by way of something that goes on serving: each without its node.
fn served(stands: &[Stand]) -> BTreeSet<Address> {
    let goes_on = |stand: &&Stand| !matches!(stand.change.action, Action::Create | Action::Destroy);
    let fronts = stands.iter().filter(goes_on);
    fronts
        .flat_map(|it| it.relations.serves.iter().cloned())
        .collect()
}

/// What a replace waits for, where too few others serve.
fn held_back(stands: &[Stand], stand: &Stand, served: &BTreeSet<Address>) -> Option<Held> {
    let group = stand.relations.rolling_group.as_ref()?;
    let rollout = group.rollout?;
    if !is_replaced(stand, served) {
        return None;
    }
    let is_declared = |it: &&Stand| self::rollout(it, &group.name).is_some();
    let undeclared = |it: &&Stand| {
        it.change.action == Action::Destroy && served.contains(&it.address().anywhere())
    };
    let others: Vec<&Stand> = stands
        .iter()
        .filter(|it| it.address() != stand.address())
        .filter(|it| is_declared(it) || undeclared(it))
        .collect();
    let least = match rollout.min_available {
        Some(least) => usize::try_from(least).unwrap_or(usize::MAX),
        None if others.is_empty() => return None,
        None => 1,
    };
    let available = available(&others, group.at_once(), served);
    if available >= least {
        return None;
    }
    let coming = others.iter().filter(|it| comes(it, served));
    let coming: Vec<Address> = coming.map(|it| address(it)).collect();
    let lacking = least - available;
    Some(if coming.len() >= lacking {
        Held::Until(coming[..lacking].to_vec())
    } else {
        Held::Back(too_few(&others, available + coming.len(), least, served))
    })
}

/// How many of the others serve while one of a group is down, and as many of them as are replaced beside it.
fn available(others: &[&Stand], at_once: usize, served: &BTreeSet<Address>) -> usize {
    let staying = others.iter().filter(|it| serves_on(it, served)).count();
    let replaced = others.iter().filter(|it| is_replaced(it, served)).count();
    staying + replaced - replaced.min(at_once - 1)
}

fn too_few(
    others: &[&Stand],
    available: usize,
    least: usize,
    served: &BTreeSet<Address>,
) -> Reason {
    let left = match (available, least) {
        (0, _) => "clients would be left with nobody".to_owned(),
        (some, least) => format!("{some} would serve, and {least} are to (`min_available`)"),
    };
    let why: Vec<String> = others.iter().filter_map(|it| why_not(it, served)).collect();
    let (text, hint) = match why.as_slice() {
        [] => (
            left,
            "have one more serve, or fewer replaced at once (`max_unavailable`), or give --allow-downtime",
        ),
        why => (
            format!("{left}: {}", why.join("; ")),
            "mend that first, or give --allow-downtime",
        ),
    };
    Reason::new(ReasonCode::LastServing, text).hinted(hint)
}

/// Why another does not serve, or will not.
fn why_not(other: &Stand, served: &BTreeSet<Address>) -> Option<String> {
    let address = other.address();
    let is_in_turn = serves_on(other, served) || is_replaced(other, served);
    if is_in_turn || other.relations.takes_over_from.is_some() {
        return None;
    }
    Some(match (&other.change.action, &other.service) {
        (Action::Destroy, _) => format!("{address} is to be destroyed"),
        (_, Some(service)) => match &service.readiness {
            Readiness::NotReady(why) => format!("{address} does not serve ({why})"),
            Readiness::Ready if serves(other, served) => format!("{address} is blocked"),
            Readiness::Ready => format!("{address} gets no requests"),
        },
        (_, None) => format!("{address} does not serve"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{NodePort, Relations, RollingGroup, Service};

    fn server(name: &str, action: Action, readiness: Readiness) -> Stand {
        let node = "n".parse().unwrap();
        let address = Address::on(&node, "instance", Some(name));
        Stand {
            relations: Relations {
                rolling_group: Some(RollingGroup {
                    name: "t".to_owned(),
                    rollout: Some(Rollout::default()),
                }),
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
        let serves = before.iter().map(|stand| stand.address().anywhere());
        Stand {
            relations: Relations {
                serves: serves.collect(),
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
        held(vec![a, b, proxy])
    }

    /// What becomes of `a`: its sign, why it is blocked, and what it waits for.
    fn held(mut stands: Vec<Stand>) -> String {
        repair_first(&mut stands);
        keep_serving(&mut stands);
        let a = stands
            .iter()
            .find(|it| it.address().name.as_deref() == Some("a"));
        let a = a.unwrap();
        let why: Vec<String> = a.change.why().collect();
        let names = |all: &[Address]| {
            let names = all.iter().filter_map(|it| it.name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let (requires, after) = (names(&a.relations.requires), names(&a.relations.after));
        let told = [
            ("", why.join("; ")),
            (" requires ", requires),
            (" after ", after),
        ];
        let told = told.into_iter().filter(|(_, it)| !it.is_empty());
        let told: Vec<String> = told.map(|(word, it)| format!("{word}{it}")).collect();
        format!("{} {}", a.change.action.sign(), told.concat().trim_start())
    }

    fn down() -> Readiness {
        Readiness::NotReady("m did not answer".to_owned())
    }

    fn at_least(min_available: u32) -> Rollout {
        Rollout {
            min_available: Some(min_available),
            ..Rollout::default()
        }
    }

    /// The same, of a group that is replaced so.
    fn rolled(rollout: Rollout, mut stands: Vec<Stand>) -> String {
        let front = proxy(&stands.iter().collect::<Vec<_>>());
        for stand in &mut stands {
            stand.relations.rolling_group.as_mut().unwrap().rollout = Some(rollout);
        }
        stands.push(front);
        held(stands)
    }

    #[test]
    fn the_last_that_serves_stays() {
        insta::assert_snapshot!(beside(server("b", Action::Blocked, down()), true), @"! clients would be left with nobody: n/instance.b does not serve (m did not answer): mend that first, or give --allow-downtime");
        insta::assert_snapshot!(beside(server("b", Action::Keep, down()), true), @"! clients would be left with nobody: n/instance.b does not serve (m did not answer): mend that first, or give --allow-downtime");
        insta::assert_snapshot!(beside(server("b", Action::Destroy, Readiness::Ready), true), @"! clients would be left with nobody: n/instance.b is to be destroyed: mend that first, or give --allow-downtime");
    }

    #[test]
    fn beside_one_that_serves_it_is_replaced() {
        for b in [
            server("b", Action::Keep, Readiness::Ready),
            server("b", Action::Replace, Readiness::Ready),
        ] {
            assert_eq!(beside(b, true), "-/+ ");
        }
    }

    #[test]
    fn it_is_replaced_once_one_that_comes_serves() {
        for action in [Action::Create, Action::Replace, Action::Update] {
            let b = server("b", action, down());
            assert_eq!(beside(b, true), "-/+ requires b after b");
        }
        // One that serves is enough: what comes comes first, and need not.
        let servers = || {
            vec![
                server("a", Action::Replace, Readiness::Ready),
                server("b", Action::Create, down()),
                server("c", Action::Keep, Readiness::Ready),
            ]
        };
        assert_eq!(rolled(Rollout::default(), servers()), "-/+ after b");
        assert_eq!(rolled(at_least(2), servers()), "-/+ requires b after b");
        insta::assert_snapshot!(rolled(at_least(3), servers()), @"! 2 would serve, and 3 are to (`min_available`): n/instance.b does not serve (m did not answer): mend that first, or give --allow-downtime after b");
    }

    #[test]
    fn those_that_are_replaced_beside_it_do_not_serve_meanwhile() {
        let servers = || {
            let all = ["a", "b", "c"].into_iter();
            all.map(|it| server(it, Action::Replace, Readiness::Ready))
                .collect::<Vec<_>>()
        };
        let rollout = |max_unavailable, least| Rollout {
            max_unavailable,
            ..at_least(least)
        };
        assert_eq!(rolled(rollout(1, 2), servers()), "-/+ ");
        assert_eq!(rolled(rollout(2, 1), servers()), "-/+ ");
        insta::assert_snapshot!(rolled(rollout(2, 2), servers()), @"! 1 would serve, and 2 are to (`min_available`): have one more serve, or fewer replaced at once (`max_unavailable`), or give --allow-downtime");
        insta::assert_snapshot!(rolled(rollout(9, 1), servers()), @"! clients would be left with nobody: have one more serve, or fewer replaced at once (`max_unavailable`), or give --allow-downtime");
    }

    #[test]
    fn what_is_drained_serves_nobody() {
        let (a, b) = (
            server("a", Action::Replace, Readiness::Ready),
            server("b", Action::Keep, Readiness::Ready),
        );
        let front = proxy(&[&a]);
        insta::assert_snapshot!(held(vec![a, b, front]), @"! clients would be left with nobody: n/instance.b gets no requests: mend that first, or give --allow-downtime");
    }

    #[test]
    fn what_serves_alone_or_by_itself_is_replaced() {
        assert_eq!(beside(server("b", Action::Blocked, down()), false), "-/+ ");
        let alone = || vec![server("a", Action::Replace, Readiness::Ready)];
        assert_eq!(rolled(Rollout::default(), alone()), "-/+ ");
        assert_eq!(rolled(at_least(0), alone()), "-/+ ");
        insta::assert_snapshot!(rolled(at_least(1), alone()), @"! clients would be left with nobody: have one more serve, or fewer replaced at once (`max_unavailable`), or give --allow-downtime");
    }

    #[test]
    fn what_does_not_serve_is_brought_up_first() {
        let mut stands = vec![
            server("a", Action::Replace, Readiness::Ready),
            Stand::new(Change::keep(&"n/model.m".parse().unwrap(), "")),
            server("b", Action::Create, down()),
            server("c", Action::Keep, Readiness::Ready),
        ];
        let order = |stands: &[Stand]| {
            let names = stands.iter().filter_map(|it| it.address().name.clone());
            names.collect::<Vec<_>>().join(" ")
        };
        let front = proxy(&stands.iter().collect::<Vec<_>>());
        stands.push(front);
        repair_first(&mut stands);
        assert_eq!(order(&stands), "b m a c");
        // What needs something that stands between keeps its place behind it.
        let mut tied = vec![
            server("a", Action::Replace, Readiness::Ready),
            Stand::new(Change::keep(&"n/model.m".parse().unwrap(), "")),
            server("b", Action::Create, down()),
        ];
        tied[2].relations.requires = vec!["n/model.m".parse().unwrap()];
        tied.push(proxy(&[&tied[0].clone()]));
        repair_first(&mut tied);
        assert_eq!(order(&tied), "a m b");
    }
}
