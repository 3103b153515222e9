//! Deciding on values alone: no room is asked.

use super::*;
use crate::plan::{
    Change, Effect, NodePort, Operations, Readiness, Reason, ReasonCode, Relations, Rollout,
    Service,
};
use crate::resource::Facts;

fn at(name: &str) -> Address {
    name.parse().unwrap()
}

fn all(names: &[&str]) -> Vec<Address> {
    names.iter().map(|name| at(name)).collect()
}

/// An operation that can be told from others by its path.
fn operation(path: &str) -> Operation {
    Operation::on(
        &"n".parse().unwrap(),
        Effect::Remove {
            paths: vec![path.to_owned()],
        },
    )
}

/// A thing with every operation, named after it: `start a`.
fn thing(address: &str, action: Action, relations: Relations) -> Stand {
    let name = at(address).name.unwrap();
    let verb = |verb: &str| vec![operation(&format!("{verb} {name}"))];
    let reasons = vec![Reason::new(ReasonCode::Absent, "it is not there")];
    Stand {
        operations: Operations {
            start: verb("start"),
            update: verb("update"),
            stop: verb("stop"),
            remove: verb("remove"),
            ..Operations::default()
        },
        relations,
        ..Stand::new(Change::new(&at(address), action, reasons))
    }
}

fn planned(stands: Vec<Stand>) -> Plan {
    let mut observed = Observation::default();
    observed.insert("n".parse().unwrap(), Ok(Facts::default()));
    decide(stands, &observed)
}

/// A plan as people compare it: a line a step.
fn steps(plan: &Plan) -> String {
    let line = |step: &Step| {
        let Effect::Remove { paths } = &step.effect else {
            unreachable!("a test makes no other effect");
        };
        format!(
            "[{}] {}: {} requires {:?} after {:?}\n",
            step.id, step.address, paths[0], step.requires, step.after
        )
    };
    plan.steps.iter().map(line).collect()
}

fn port(number: u16) -> NodePort {
    NodePort::new(&"n".parse().unwrap(), number)
}

#[test]
fn what_is_made_of_something_that_changes_is_planned_anew() {
    let all = |engine| {
        vec![
            thing("n/engine.e", engine, Relations::default()),
            thing(
                "n/instance.a",
                Action::Create,
                Relations {
                    requires: all(&["n/engine.e"]),
                    replan_after: all(&["n/engine.e"]),
                    ..Relations::default()
                },
            ),
            thing(
                "n/client.c",
                Action::Create,
                Relations {
                    requires: all(&["n/instance.a"]),
                    ..Relations::default()
                },
            ),
            thing(
                "n/other.o",
                Action::Create,
                Relations {
                    requires: all(&["n/engine.e"]),
                    ..Relations::default()
                },
            ),
        ]
    };
    let plan = planned(all(Action::Create));
    assert_eq!(plan.summary().create, 4);
    insta::assert_snapshot!(steps(&plan), @r"
    [0] n/engine.e: start e requires [] after []
    [1] n/other.o: start o requires [0] after []
    ");
    let plan = planned(all(Action::Keep));
    assert_eq!(plan.summary().create, 3);
    insta::assert_snapshot!(steps(&plan), @r"
    [0] n/instance.a: start a requires [] after []
    [1] n/client.c: start c requires [0] after []
    [2] n/other.o: start o requires [] after []
    ");
}

#[test]
fn two_that_swap_their_ports_are_stopped_before_either_starts() {
    let listens = |wants, occupies| Relations {
        wants_ports: vec![port(wants)],
        occupies: vec![port(occupies)],
        ..Relations::default()
    };
    let hook = |of: &str, verb: &str| Hook {
        of: at(of),
        operations: vec![operation(verb)],
    };
    let proxy = Relations {
        drain: vec![hook("instance.a", "drain a"), hook("instance.b", "drain b")],
        admit: vec![hook("instance.a", "admit a"), hook("instance.b", "admit b")],
        ..Relations::default()
    };
    let plan = planned(vec![
        thing("n/instance.a", Action::Replace, listens(1, 2)),
        thing("n/instance.b", Action::Replace, listens(2, 1)),
        thing("n/proxy.p", Action::Keep, proxy),
    ]);
    insta::assert_snapshot!(steps(&plan), @r"
    [0] n/instance.a: drain a requires [] after []
    [1] n/instance.a: stop a requires [0] after []
    [2] n/instance.a: drain b requires [1] after []
    [3] n/instance.a: stop b requires [2] after []
    [4] n/instance.a: start a requires [3] after []
    [5] n/instance.a: admit a requires [4] after []
    [6] n/instance.b: start b requires [5] after []
    [7] n/instance.b: admit b requires [6] after []
    ");
}

#[test]
fn a_group_changes_one_at_a_time_and_a_failed_canary_stops_the_rest() {
    let group = || Relations {
        concurrency_group: Some("the memory of n".to_owned()),
        rolling_group: Some(RollingGroup::apart("demo")),
        ..Relations::default()
    };
    let plan = planned(vec![
        thing("n/instance.a", Action::Create, group()),
        thing("n/instance.b", Action::Replace, group()),
        thing("n/instance.c", Action::Replace, group()),
    ]);
    insta::assert_snapshot!(steps(&plan), @r"
    [0] n/instance.a: start a requires [] after []
    [1] n/instance.b: stop b requires [] after [0]
    [2] n/instance.b: start b requires [1] after []
    [3] n/instance.c: stop c requires [2] after []
    [4] n/instance.c: start c requires [3] after []
    ");
}

#[test]
fn what_stays_keeps_its_port_and_blocks_what_requires_the_port() {
    let wants = |requires: &[&str]| Relations {
        wants_ports: vec![port(1)],
        requires: all(requires),
        ..Relations::default()
    };
    let occupies = Relations {
        occupies: vec![port(1)],
        ..Relations::default()
    };
    // What is blocked stands before what blocks it: the order of the list is no matter.
    let plan = planned(vec![
        thing(
            "n/client.c",
            Action::Create,
            Relations {
                requires: all(&["n/instance.b"]),
                ..Relations::default()
            },
        ),
        thing("n/instance.a", Action::Keep, occupies),
        thing("n/instance.b", Action::Create, wants(&[])),
    ]);
    let told: Vec<_> = plan
        .changes
        .iter()
        .flat_map(|change| &change.reasons)
        .map(|reason| reason.text.as_str())
        .collect();
    assert_eq!(plan.summary().blocked, 2);
    assert_eq!(
        told,
        [
            "n/instance.b is blocked",
            "it is not there",
            "port 1 of n is held by n/instance.a, which stays as it is",
        ]
    );
    assert!(plan.steps.is_empty());
}

#[test]
fn what_is_forced_keeps_every_relation() {
    let kept = thing(
        "n/benchmark.one",
        Action::Keep,
        Relations {
            concurrency_group: Some("measuring".to_owned()),
            requires: all(&["n/proxy.p"]),
            ..Relations::default()
        },
    );
    let forced = kept.clone().forced(
        Action::Create,
        Reason::new(ReasonCode::Asked, "it was asked for"),
    );
    assert_eq!(forced.relations, kept.relations);
    assert_eq!(forced.operations, kept.operations);
    let blocked = thing("n/a.a", Action::Blocked, Relations::default());
    let reason = Reason::new(ReasonCode::Asked, "it was asked for");
    assert_eq!(blocked.clone().forced(Action::Create, reason), blocked);
}

/// The same, where something must succeed before it is stopped.
fn checked(stand: Stand) -> Stand {
    let name = stand.address().name.clone().unwrap();
    let operations = Operations {
        before_stop: vec![operation(&format!("check {name}"))],
        ..stand.operations
    };
    Stand {
        operations,
        ..stand
    }
}

#[test]
fn what_must_succeed_before_a_stop_comes_before_all_that_stops() {
    let swapped = |wanted, held| Relations {
        wants_ports: vec![port(wanted)],
        occupies: vec![port(held)],
        ..Relations::default()
    };
    let drained = Hook {
        of: at("instance.a"),
        operations: vec![operation("drain a")],
    };
    let proxy = Relations {
        drain: vec![drained],
        ..Relations::default()
    };
    let plan = planned(vec![
        checked(thing("n/instance.a", Action::Replace, swapped(1, 2))),
        checked(thing("n/instance.b", Action::Replace, swapped(2, 1))),
        checked(thing("n/instance.c", Action::Create, Relations::default())),
        thing("n/proxy.p", Action::Keep, proxy),
    ]);
    insta::assert_snapshot!(steps(&plan), @"
    [0] n/instance.a: check a requires [] after []
    [1] n/instance.a: check b requires [0] after []
    [2] n/instance.a: drain a requires [1] after []
    [3] n/instance.a: stop a requires [2] after []
    [4] n/instance.a: stop b requires [3] after []
    [5] n/instance.a: start a requires [4] after []
    [6] n/instance.b: start b requires [5] after []
    [7] n/instance.c: start c requires [] after []
    ");
}

/// One behind a proxy, which serves where it is to be replaced or stays.
fn server(name: &str, action: Action, rollout: Rollout) -> Stand {
    let address = format!("n/instance.{name}");
    let relations = Relations {
        rolling_group: Some(RollingGroup {
            name: "demo".to_owned(),
            rollout: Some(rollout),
        }),
        ..Relations::default()
    };
    let readiness = match action {
        Action::Create => Readiness::NotReady("it does not run".to_owned()),
        _ => Readiness::Ready,
    };
    Stand {
        service: Some(Service {
            readiness,
            ..Service::stopped(port(1))
        }),
        ..thing(&address, action, relations)
    }
}

/// How many serve while these behind a proxy are changed.
fn capacity_of(servers: Vec<Stand>) -> String {
    let proxy = Relations {
        serves: servers.iter().map(|it| it.address().anywhere()).collect(),
        ..Relations::default()
    };
    let mut stands = servers;
    stands.push(thing("n/proxy.p", Action::Keep, proxy));
    let capacity = planned(stands).capacity.unwrap();
    format!("{:?} {capacity}", capacity.serving)
}

#[test]
fn as_many_serve_as_are_not_down_at_the_moment() {
    let all = |rollout: Rollout| {
        let names = ["a", "b", "c", "d"].into_iter();
        names
            .map(|it| server(it, Action::Replace, rollout))
            .collect::<Vec<_>>()
    };
    let usual = Rollout::default();
    insta::assert_snapshot!(capacity_of(all(usual)), @"[4, 3, 4, 3, 4, 3, 4, 3, 4] 4/4 -> 3/4 -> 4/4");
    let two = Rollout {
        max_unavailable: 2,
        ..usual
    };
    insta::assert_snapshot!(capacity_of(all(two)), @"[4, 3, 4, 2, 4, 3, 4] 4/4 -> 3/4 -> 4/4 -> 2/4 -> 4/4 -> 3/4 -> 4/4");
    let more = vec![
        server("a", Action::Create, usual),
        server("b", Action::Keep, usual),
        server("c", Action::Destroy, usual),
    ];
    insta::assert_snapshot!(capacity_of(more), @"[2, 1, 2] 2/2 -> 1/2 -> 2/2");
    let mut swapped = vec![
        server("a", Action::Replace, usual),
        server("b", Action::Replace, usual),
    ];
    for (stand, (wants, occupies)) in swapped.iter_mut().zip([(1, 2), (2, 1)]) {
        stand.relations.wants_ports = vec![port(wants)];
        stand.relations.occupies = vec![port(occupies)];
    }
    insta::assert_snapshot!(capacity_of(swapped), @"[2, 0, 1, 2] 2/2 -> 0/2 -> 1/2 -> 2/2");
}

#[test]
fn a_wave_follows_the_canary() {
    let two = Rollout {
        max_unavailable: 2,
        ..Rollout::default()
    };
    let names = ["a", "b", "c", "d"].into_iter();
    let plan = planned(names.map(|it| server(it, Action::Replace, two)).collect());
    insta::assert_snapshot!(steps(&plan), @"
    [0] n/instance.a: stop a requires [] after []
    [1] n/instance.a: start a requires [0] after []
    [2] n/instance.b: stop b requires [1] after []
    [3] n/instance.b: start b requires [2] after []
    [4] n/instance.c: stop c requires [1] after []
    [5] n/instance.c: start c requires [4] after []
    [6] n/instance.d: stop d requires [3] after []
    [7] n/instance.d: start d requires [6] after []
    ");
}
