//! What moves, on values alone: no room is asked.

use std::fmt::Write as _;

use super::super::decide::decide;
use super::*;
use crate::plan::{
    Beside, Effect, Hook, Operation, Operations, Plan, Relations, RollingGroup, Rollout, Service,
};
use crate::resource::Observation;

fn at(address: &str) -> Address {
    address.parse().unwrap()
}

fn port(node: &str, port: u16) -> NodePort {
    NodePort::new(&node.parse().unwrap(), port)
}

/// An operation that can be told from others by its path.
fn operation(path: &str) -> Operation {
    let paths = vec![path.to_owned()];
    Operation::on(&"n".parse().unwrap(), Effect::Remove { paths })
}

fn behind_a_proxy() -> RollingGroup {
    RollingGroup {
        name: "t".to_owned(),
        rollout: Some(Rollout::default()),
    }
}

/// A server on a node that runs there, or is to, by what becomes of it.
fn server(address: &str, action: Action, port_number: u16) -> Stand {
    let node = at(address).node.unwrap().to_string();
    let (name, listens) = (at(address).name.unwrap(), port(&node, port_number));
    let verb = |verb: &str| vec![operation(&format!("{verb} {name} on {node}"))];
    let goes = action == Action::Destroy;
    let readiness = match action {
        Action::Keep | Action::Replace => Readiness::Ready,
        _ => Readiness::NotReady("it does not run".to_owned()),
    };
    Stand {
        operations: Operations {
            start: verb("start"),
            stop: verb("stop"),
            remove: verb("remove"),
            ..Operations::default()
        },
        relations: Relations {
            rolling_group: (!goes).then(behind_a_proxy),
            wants_ports: [listens.clone()].into_iter().filter(|_| !goes).collect(),
            occupies: [listens.clone()]
                .into_iter()
                .filter(|_| action != Action::Create)
                .collect(),
            ..Relations::default()
        },
        service: Some(Service {
            readiness,
            pid: (action != Action::Create).then_some(1),
            ..Service::stopped(listens)
        }),
        ..Stand::new(Change::new(&at(address), action, Vec::new()))
    }
}

/// One that moves: what runs of it on a node, and what is to run of it on another, which needs these to be
/// gone from there.
fn moving(name: &str, from: &str, to: &str, until_gone: &[&str]) -> [Stand; 2] {
    let left = server(&format!("{from}/instance.{name}"), Action::Destroy, 1);
    let mut comes = server(&format!("{to}/instance.{name}"), Action::Create, 1);
    comes.relations.beside = Beside {
        memory: None,
        until_gone: until_gone.iter().map(|it| at(it)).collect(),
    };
    // Servers of other names have other ports.
    let mut both = [left, comes];
    for stand in &mut both {
        let number = u16::from(name.as_bytes()[0]);
        let ports = &mut stand.relations;
        for listens in ports.wants_ports.iter_mut().chain(&mut ports.occupies) {
            listens.port = number;
        }
    }
    both
}

/// A proxy before these.
fn proxy(names: &[&str]) -> Stand {
    let hooks = |verb: &str| {
        let hook = |name: &&str| Hook {
            of: at(&format!("instance.{name}")),
            operations: vec![operation(&format!("{verb} {name}"))],
        };
        names.iter().map(hook).collect::<Vec<_>>()
    };
    let serves = names.iter().map(|name| at(&format!("instance.{name}")));
    Stand {
        relations: Relations {
            serves: serves.collect(),
            drain: hooks("drain"),
            admit: hooks("admit"),
            take_over: hooks("take over"),
            ..Relations::default()
        },
        ..Stand::new(Change::keep(&at("c/proxy"), ""))
    }
}

/// What goes comes before what is declared, as undeclared things do.
fn planned<const N: usize>(moved: [[Stand; 2]; N], others: Vec<Stand>) -> Plan {
    let (goes, comes): (Vec<_>, Vec<_>) = moved.into_iter().map(|[from, to]| (from, to)).unzip();
    let names: Vec<String> = comes
        .iter()
        .chain(&others)
        .filter_map(|it| it.address().name.clone())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stands = goes.into_iter().chain(comes).chain(others);
    decide(
        stands.chain([proxy(&names)]).collect(),
        &Observation::default(),
    )
}

/// A plan as people compare it: what becomes of each, then a line a step, then how many serve.
fn told(plan: &Plan) -> String {
    let mut text = String::new();
    for change in plan.changes.iter().filter(|it| it.address.kind != "proxy") {
        let why: Vec<String> = change.why().collect();
        let order = change.order.as_ref().map(|it| format!(" ({it})"));
        let order = order.unwrap_or_default();
        let line = format!(
            "{} {} {}{order}",
            change.sign(),
            change.address,
            why.join("; ")
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for step in &plan.steps {
        let Effect::Remove { paths } = &step.effect else {
            unreachable!("a test makes no other effect");
        };
        let (id, requires, after) = (step.id, &step.requires, &step.after);
        let _ = writeln!(
            text,
            "[{id}] {} requires {requires:?} after {after:?}",
            paths[0]
        );
    }
    if let Some(capacity) = &plan.capacity {
        let _ = writeln!(text, "{capacity}");
    }
    text
}

#[test]
fn what_moves_serves_before_it_stops_where_it_was() {
    let plan = planned([moving("a", "m", "n", &[])], vec![]);
    insta::assert_snapshot!(told(&plan), @"
    + n/instance.a  (starts first: port 97 of n is free)
    - m/instance.a it moves to n, and stops once it serves there
    [0] start a on n requires [] after []
    [1] admit a requires [0] after []
    [2] take over a requires [1] after []
    [3] stop a on m requires [2] after []
    [4] remove a on m requires [3] after []
    1/1
    ");
}

#[test]
fn what_cannot_be_told_apart_stops_first() {
    let [from, to] = moving("a", "m", "n", &[]);
    let mut old = proxy(&["a"]);
    old.relations.take_over.clear();
    let plan = decide(vec![from, to, old], &Observation::default());
    insta::assert_snapshot!(told(&plan), @"
    - m/instance.a it moves to n
    + n/instance.a  (stops first: what passes it requests is of a version that serves from one start of it alone)
    [0] drain a requires [] after []
    [1] stop a on m requires [0] after []
    [2] remove a on m requires [1] after []
    [3] start a on n requires [] after []
    [4] admit a requires [3] after []
    1/1 -> 0/1 -> 1/1
    ");
}

#[test]
fn what_nobody_serves_from_moves_as_it_likes() {
    let [from, to] = moving("a", "m", "n", &[]);
    let plan = decide(vec![from, to, proxy(&["b"])], &Observation::default());
    insta::assert_snapshot!(told(&plan), @"
    - m/instance.a
    + n/instance.a
    [0] stop a on m requires [] after []
    [1] remove a on m requires [0] after []
    [2] start a on n requires [] after []
    ");
}

#[test]
fn what_cannot_be_brought_up_leaves_what_runs() {
    let [from, mut to] = moving("a", "m", "n", &[]);
    let reason = Reason::new(ReasonCode::NoMemory, "there is too little");
    to.change = Change::blocked(to.address(), reason);
    let plan = planned([[from.clone(), to.clone()]], vec![]);
    insta::assert_snapshot!(told(&plan), @"
    ! n/instance.a there is too little
    ! m/instance.a n/instance.a is blocked
    1/1
    ");
    to.change = Change::blocked(to.address(), Reason::unreachable("n did not answer"));
    let plan = planned([[from.clone(), to.clone()]], vec![]);
    insta::assert_snapshot!(told(&plan), @"
    ! n/instance.a n did not answer
    ! m/instance.a n was to take over from it, and did not answer
    1/1
    ");
    to.change = Change::keep(to.address(), "");
    let plan = planned([[from, to]], vec![]);
    insta::assert_snapshot!(told(&plan), @"
    = n/instance.a
    ! m/instance.a n/instance.a is to take over from it, and is left out
    1/1
    ");
}

/// A run was killed between the two.
#[test]
fn what_serves_where_it_is_declared_has_the_other_stopped() {
    let [from, _] = moving("a", "m", "n", &[]);
    let to = server("n/instance.a", Action::Keep, 1);
    let plan = planned([[from, to]], vec![]);
    insta::assert_snapshot!(told(&plan), @"
    = n/instance.a
    - m/instance.a it moves to n, and stops once it serves there
    [0] take over a requires [] after []
    [1] stop a on m requires [0] after []
    [2] remove a on m requires [1] after []
    1/1
    ");
}

#[test]
fn two_that_change_places_both_start_first_where_there_is_room() {
    let moved = [moving("a", "m", "n", &[]), moving("b", "n", "m", &[])];
    insta::assert_snapshot!(told(&planned(moved, vec![])), @"
    + n/instance.a  (starts first: port 97 of n is free)
    - m/instance.a it moves to n, and stops once it serves there
    + m/instance.b  (starts first: port 98 of m is free)
    - n/instance.b it moves to m, and stops once it serves there
    [0] start a on n requires [] after []
    [1] admit a requires [0] after []
    [2] take over a requires [1] after []
    [3] stop a on m requires [2] after []
    [4] remove a on m requires [3] after []
    [5] start b on m requires [] after [4]
    [6] admit b requires [5] after []
    [7] take over b requires [6] after []
    [8] stop b on n requires [7] after []
    [9] remove b on n requires [8] after []
    2/2
    ");
}

#[test]
fn of_two_that_need_each_others_place_one_stops_first() {
    let moved = [
        moving("a", "m", "n", &["n/instance.b"]),
        moving("b", "n", "m", &["m/instance.a"]),
    ];
    insta::assert_snapshot!(told(&planned(moved, vec![])), @"
    - n/instance.b it moves to m
    + n/instance.a  (starts first: port 97 of n is free)
    - m/instance.a it moves to n, and stops once it serves there
    + m/instance.b  (stops first: it needs what m/instance.a leaves, and that comes after it)
    [0] drain b requires [] after []
    [1] stop b on n requires [0] after []
    [2] remove b on n requires [1] after []
    [3] start a on n requires [] after [2]
    [4] admit a requires [3] after []
    [5] take over a requires [4] after []
    [6] stop a on m requires [5] after []
    [7] remove a on m requires [6] after []
    [8] start b on m requires [7] after []
    [9] admit b requires [8] after []
    2/2 -> 1/2 -> 2/2
    ");
}

#[test]
fn who_needs_a_place_comes_after_who_leaves_it() {
    let moved = [
        moving("a", "m", "n", &["n/instance.b"]),
        moving("b", "n", "o", &[]),
    ];
    insta::assert_snapshot!(told(&planned(moved, vec![])), @"
    + o/instance.b  (starts first: port 98 of o is free)
    - n/instance.b it moves to o, and stops once it serves there
    + n/instance.a  (starts first: port 97 of n is free)
    - m/instance.a it moves to n, and stops once it serves there
    [0] start b on o requires [] after []
    [1] admit b requires [0] after []
    [2] take over b requires [1] after []
    [3] stop b on n requires [2] after []
    [4] remove b on n requires [3] after []
    [5] start a on n requires [4] after []
    [6] admit a requires [5] after []
    [7] take over a requires [6] after []
    [8] stop a on m requires [7] after []
    [9] remove a on m requires [8] after []
    2/2
    ");
}

#[test]
fn beside_one_that_moves_another_is_replaced() {
    let mut stands: Vec<Stand> = moving("a", "m", "n", &[]).into();
    stands.push(server("o/instance.b", Action::Replace, 2));
    stands.push(proxy(&["a", "b"]));
    super::super::serving::repair_first(&mut stands);
    super::super::serving::keep_serving(&mut stands);
    insta::assert_snapshot!(told(&decide(stands, &Observation::default())), @"
    + n/instance.a  (starts first: port 97 of n is free)
    - m/instance.a it moves to n, and stops once it serves there
    -/+ o/instance.b
    [0] start a on n requires [] after []
    [1] admit a requires [0] after []
    [2] take over a requires [1] after []
    [3] stop a on m requires [2] after []
    [4] remove a on m requires [3] after []
    [5] drain b requires [] after [1]
    [6] stop b on o requires [5] after []
    [7] start b on o requires [6] after []
    [8] admit b requires [7] after []
    2/2 -> 1/2 -> 2/2
    ");
}

/// One that is replaced on its node, by another port.
fn replaced(name: &str, from: u16, to: u16) -> Stand {
    let mut stand = server(&format!("n/instance.{name}"), Action::Replace, from);
    stand.relations.wants_ports = vec![port("n", to)];
    stand.relations.occupies = vec![port("n", from)];
    stand.operations.succeed = stand.operations.start.clone();
    stand.operations.retire = vec![operation(&format!("stop the former {name}"))];
    stand.change.starts_first = true;
    stand.change.order = Some(Order::start_first(port("n", from), port("n", to), None));
    stand
}

#[test]
fn on_a_port_of_its_own_it_starts_first_where_it_is() {
    let plan = planned([], vec![replaced("a", 1, 2)]);
    insta::assert_snapshot!(told(&plan), @"
    +/- n/instance.a  (starts first: port 2 of n is free)
    [0] start a on n requires [] after []
    [1] admit a requires [0] after []
    [2] take over a requires [1] after []
    [3] stop the former a requires [2] after []
    1/1
    ");
}

#[test]
fn who_leaves_a_port_comes_before_who_is_to_have_it() {
    let handed_down = vec![replaced("a", 1, 2), replaced("b", 2, 3)];
    insta::assert_snapshot!(told(&planned([], handed_down)), @"
    +/- n/instance.b  (starts first: port 3 of n is free)
    +/- n/instance.a  (starts first: port 2 of n is free once n/instance.b has stopped)
    [0] start b on n requires [] after []
    [1] admit b requires [0] after []
    [2] take over b requires [1] after []
    [3] stop the former b requires [2] after []
    [4] start a on n requires [3] after []
    [5] admit a requires [4] after []
    [6] take over a requires [5] after []
    [7] stop the former a requires [6] after []
    2/2
    ");
}

#[test]
fn of_two_that_swap_their_ports_one_serves_on() {
    let swapped = vec![replaced("a", 1, 2), replaced("b", 2, 1)];
    insta::assert_snapshot!(told(&planned([], swapped)), @"
    +/- n/instance.a  (starts first: port 2 of n is free once n/instance.b has stopped)
    -/+ n/instance.b  (stops first: port 1 of n is held by n/instance.a until that stops)
    [0] drain b requires [] after []
    [1] stop b on n requires [0] after []
    [2] start a on n requires [1] after []
    [3] admit a requires [2] after []
    [4] take over a requires [3] after []
    [5] stop the former a requires [4] after []
    [6] start b on n requires [5] after []
    [7] admit b requires [6] after []
    2/2 -> 1/2 -> 2/2
    ");
    let round = vec![
        replaced("a", 1, 2),
        replaced("b", 2, 3),
        replaced("c", 3, 1),
    ];
    insta::assert_snapshot!(told(&planned([], round)), @"
    +/- n/instance.b  (starts first: port 3 of n is free once n/instance.c has stopped)
    +/- n/instance.a  (starts first: port 2 of n is free once n/instance.b has stopped)
    -/+ n/instance.c  (stops first: port 1 of n is held by n/instance.a until that stops)
    [0] drain c requires [] after []
    [1] stop c on n requires [0] after []
    [2] start b on n requires [1] after []
    [3] admit b requires [2] after []
    [4] take over b requires [3] after []
    [5] stop the former b requires [4] after []
    [6] start a on n requires [5] after []
    [7] admit a requires [6] after []
    [8] take over a requires [7] after []
    [9] stop the former a requires [8] after []
    [10] start c on n requires [5, 9] after []
    [11] admit c requires [10] after []
    3/3 -> 2/3 -> 3/3
    ");
}
