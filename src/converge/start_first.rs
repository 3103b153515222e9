//! Somebody goes on serving: what takes the place of what runs starts before that stops, where that can be.
//!
//! On its own node it says itself whether it can. Where it moves to another node, it can wherever nothing
//! that it needs there waits for it in its turn: two that change places on full nodes cannot both.

use std::collections::{BTreeMap, BTreeSet};

use crate::english::list;
use crate::plan::{Action, Address, Change, NodePort, Order, Readiness, Reason, ReasonCode, Stand};

/// Why nothing starts first before what cannot tell two starts of one thing apart.
const TOO_OLD: &str =
    "what passes it requests is of a version that serves from one start of it alone";

/// Decides of each thing that takes the place of what clients reach which of the two comes first, and puts
/// all into an order in which that can be done.
pub(super) fn start_first(stands: &mut [Stand]) {
    let fronts = Fronts::of(stands);
    stop_first_in_place(stands, &fronts);
    let mut ahead = Ahead::of(stands);
    let moves = moves(stands, &fronts);
    let mut because = BTreeMap::new();
    for one in &moves {
        match cannot(stands, &fronts, &ahead, one) {
            Some(why) => drop(because.insert(one.from, why)),
            None => drop(ahead.handed.insert(one.from, one.to)),
        }
    }
    // Where nothing starts first, all is in order as it is: most plans are such, and may be large.
    let sorted = (!ahead.is_none()).then(|| sorted(stands, &ahead).ok());
    for one in &moves {
        tie(stands, one, because.remove(&one.from));
    }
    for place in 0..stands.len() {
        tell_who_leaves(stands, place);
    }
    if let Some(places) = sorted.flatten() {
        let moved: Vec<Stand> = places.into_iter().map(|it| stands[it].clone()).collect();
        stands.clone_from_slice(&moved);
    }
}

/// What starts first, by the places of all.
#[derive(Debug, Clone, Default)]
struct Ahead {
    /// Where it is.
    in_place: BTreeSet<usize>,
    /// On another node: what goes there, with that which takes over from it.
    handed: BTreeMap<usize, usize>,
}

impl Ahead {
    fn of(stands: &[Stand]) -> Self {
        let places = stands.iter().enumerate();
        let in_place = places.filter(|(_, it)| it.is_succeeded() || it.is_begun());
        Self {
            in_place: in_place.map(|(place, _)| place).collect(),
            handed: BTreeMap::new(),
        }
    }

    fn is_none(&self) -> bool {
        self.in_place.is_empty() && self.handed.is_empty()
    }
}

/// What clients reach by way of something that goes on.
struct Fronts {
    /// What they reach: each without its node.
    serves: BTreeSet<Address>,
    /// That of it which another start can take over from while both run.
    hands_over: BTreeSet<Address>,
}

impl Fronts {
    fn of(stands: &[Stand]) -> Self {
        let fronts = || stands.iter().filter(|it| it.goes_on());
        let hooks = fronts().flat_map(|it| &it.relations.take_over);
        Self {
            serves: fronts()
                .flat_map(|it| it.relations.serves.iter().cloned())
                .collect(),
            hands_over: hooks.map(|hook| hook.of.clone()).collect(),
        }
    }
}

/// Stops first what would start first where it is, and cannot beside the others: of those that are to have
/// each other's ports, the last makes room for the one before it.
fn stop_first_in_place(stands: &mut [Stand], fronts: &Fronts) {
    for stand in stands.iter_mut().filter(|it| it.is_succeeded()) {
        let what = stand.address().anywhere();
        if !stand.operations.retire.is_empty() && !fronts.hands_over.contains(&what) {
            // What nobody reaches by another's address may stop as it likes.
            let is_reached = fronts.serves.contains(&what);
            let why = is_reached.then(|| TOO_OLD.to_owned());
            stop_first(stand, why);
        }
    }
    let mut ahead = Ahead::of(stands);
    while !ahead.is_none()
        && let Err(left) = sorted(stands, &ahead)
    {
        let helps = |place: &usize| {
            let mut without = ahead.clone();
            without.in_place.remove(place);
            sorted(stands, &without).map_or_else(|it| it.len(), |_| 0) < left.len()
        };
        let last = ahead.in_place.iter().rev().copied();
        // What was begun has started already.
        let last = last.filter(|it| left.contains(it) && !stands[*it].is_begun());
        let Some(last) = { last }.find(helps) else {
            return;
        };
        ahead.in_place.remove(&last);
        let why = contended(stands, &stands[last]);
        stop_first(&mut stands[last], why);
    }
}

fn stop_first(stand: &mut Stand, why: Option<String>) {
    stand.operations.succeed.clear();
    stand.change.starts_first = false;
    let order = stand.change.order.take();
    stand.change.order = order.zip(why).map(|(order, why)| order.but_stop_first(why));
}

/// Why what would start first where it is cannot: another has the port that it is to have, or is to have the
/// one that it leaves.
fn contended(stands: &[Stand], stand: &Stand) -> Option<String> {
    let others = || stands.iter().filter(|it| it.address() != stand.address());
    let held = others().find_map(|other| {
        let port = wants_from(stand, other)?;
        Some(format!(
            "{port} is held by {} until that stops",
            other.address()
        ))
    });
    held.or_else(|| {
        others().find_map(|other| {
            let port = wants_from(other, stand)?;
            Some(format!("{port} is to be had by {}", other.address()))
        })
    })
}

/// The port that one is to have and another has.
fn wants_from<'s>(one: &'s Stand, other: &Stand) -> Option<&'s NodePort> {
    let mut wants = one.relations.wants_ports.iter();
    let starts = one.change.action.starts();
    wants.find(|port| starts && other.relations.occupies.contains(port))
}

/// Says of a port that what starts first is to have, and that is not free yet, who leaves it.
fn tell_who_leaves(stands: &mut [Stand], place: usize) {
    let stand = &stands[place];
    if stand.change.order.is_none() {
        return;
    }
    let mut others = stands.iter().filter(|it| it.address() != stand.address());
    let left = others.find_map(|it| Some((wants_from(stand, it)?, it.address())));
    let Some((port, by)) = left else { return };
    let free = format!("{port} is free");
    let then = format!("{free} once {by} has stopped");
    if let Some(order) = &mut stands[place].change.order
        && !order.because.contains(&then)
    {
        order.because = order.because.replace(&free, &then);
    }
}

/// Something that runs on one node and is declared on another: the places of the two.
#[derive(Debug, Clone)]
struct Move {
    from: usize,
    to: usize,
    listens: NodePort,
}

/// Everything that moves and that clients reach by way of something that goes on.
fn moves(stands: &[Stand], fronts: &Fronts) -> Vec<Move> {
    let is_declared = |it: &&Stand| {
        let group = it.relations.rolling_group.as_ref();
        it.change.action != Action::Destroy && group.is_some_and(|group| group.rollout.is_some())
    };
    let places = stands.iter().enumerate();
    let declared: BTreeMap<Address, usize> = places
        .clone()
        .filter(|(_, it)| is_declared(it))
        .map(|(place, it)| (it.address().anywhere(), place))
        .collect();
    let mut moves: Vec<Move> = places
        .filter(|(_, it)| it.change.action == Action::Destroy && !it.operations.stop.is_empty())
        .filter_map(|(from, it)| {
            let what = it.address().anywhere();
            let to = *declared
                .get(&what)
                .filter(|_| fronts.serves.contains(&what))?;
            // Of what does not run nobody has anything.
            it.service.as_ref()?.pid?;
            let listens = it.relations.occupies.first()?.clone();
            Some(Move { from, to, listens })
        })
        .collect();
    moves.sort_by_key(|one| one.to);
    moves
}

/// Why something that moves cannot start before it stops where it was.
fn cannot(stands: &[Stand], fronts: &Fronts, ahead: &Ahead, one: &Move) -> Option<String> {
    let (from, to) = (&stands[one.from], &stands[one.to]);
    if !fronts.hands_over.contains(&to.address().anywhere()) {
        return Some(TOO_OLD.to_owned());
    }
    let mut ahead = ahead.clone();
    ahead.handed.insert(one.from, one.to);
    if sorted(stands, &ahead).is_ok() {
        return None;
    }
    let needs = needs(stands, to);
    let needs: Vec<String> = needs
        .iter()
        .map(|it| stands[*it].address().to_string())
        .collect();
    Some(match needs.as_slice() {
        [] => format!("what it leaves on {} is needed first", place(from)),
        needs => format!(
            "it needs what {} leaves, and that comes after it",
            list(needs)
        ),
    })
}

fn place(stand: &Stand) -> String {
    let node = stand.change.node.as_ref();
    node.map_or_else(String::new, ToString::to_string)
}

/// What goes and has to be gone before something starts, each by its place.
fn needs(stands: &[Stand], stand: &Stand) -> BTreeSet<usize> {
    if !stand.change.action.starts() {
        return BTreeSet::new();
    }
    let until_gone = &stand.relations.beside.until_gone;
    let goes = stands.iter().enumerate();
    let goes = goes.filter(|(_, it)| it.change.action == Action::Destroy);
    goes.filter(|(_, it)| until_gone.contains(it.address()) || wants_from(stand, it).is_some())
        .map(|(place, _)| place)
        .collect()
}

/// The places of all in an order in which they can be done, where what was handed over comes right after
/// that which took it.
///
/// # Errors
///
/// With those that wait for each other, or for such.
fn sorted(stands: &[Stand], ahead: &Ahead) -> Result<Vec<usize>, BTreeSet<usize>> {
    let before = before(stands, ahead);
    let key = |place: usize| match ahead.handed.get(&place) {
        Some(to) => (*to, 1, place),
        None => (place, 0, place),
    };
    let mut left: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    let is_free = |place: &usize| before[*place].is_empty();
    let mut free: BTreeSet<_> = (0..stands.len()).filter(is_free).map(key).collect();
    let mut sorted = Vec::with_capacity(stands.len());
    while let Some((_, _, done)) = free.pop_first() {
        sorted.push(done);
        for (place, waits) in before.iter().enumerate() {
            if waits.contains(&done) {
                left[place] -= 1;
                if left[place] == 0 {
                    free.insert(key(place));
                }
            }
        }
    }
    let left: BTreeSet<usize> = (0..stands.len())
        .filter(|it| !sorted.contains(it))
        .collect();
    if left.is_empty() {
        Ok(sorted)
    } else {
        Err(left)
    }
}

/// What has to come before each, by its place.
fn before(stands: &[Stand], ahead: &Ahead) -> Vec<BTreeSet<usize>> {
    let places = stands.iter().enumerate();
    let places: BTreeMap<&Address, usize> = places.map(|(at, it)| (it.address(), at)).collect();
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::with_capacity(stands.len());
    for (place, stand) in stands.iter().enumerate() {
        let relations = &stand.relations;
        let tied = relations.requires.iter().chain(&relations.after);
        let tied = tied
            .chain(&relations.waits_for)
            .chain(&relations.replan_after);
        let mut before: BTreeSet<usize> = tied.filter_map(|it| places.get(it).copied()).collect();
        before.extend(needs(stands, stand));
        before.extend(ahead.handed.get(&place));
        // What starts first has its old port until its chain has ended.
        let holds_port = |it: &&usize| wants_from(stand, &stands[**it]).is_some();
        before.extend(ahead.in_place.iter().filter(holds_port));
        // What each finds of a memory was counted in the order in which they start.
        if let Some(group) = relations.concurrency_group.as_deref()
            && stand.change.action.starts()
        {
            before.extend(groups.insert(group, place));
        }
        before.remove(&place);
        all.push(before);
    }
    all
}

/// Ties the two of a move to each other, in the order that was decided.
fn tie(stands: &mut [Stand], one: &Move, because: Option<String>) {
    let (to, waits) = (stands[one.to].clone(), because.is_none());
    let node = place(&to);
    let is_ready = to.is_ready();
    let from = &mut stands[one.from];
    let text = if waits {
        format!("it moves to {node}, and stops once it serves there")
    } else {
        format!("it moves to {node}")
    };
    from.change.reasons = vec![Reason::new(ReasonCode::Moves, text)];
    if let Some(service) = from.service.as_mut().filter(|_| !is_ready) {
        // It is reached as long as the other is not.
        service.readiness = Readiness::Ready;
    }
    let left = from.address().clone();
    if waits {
        hand(from, &to);
        if from.change.action == Action::Blocked {
            return;
        }
        for stand in stands.iter_mut() {
            if stand.relations.beside.until_gone.contains(&left) {
                add(&mut stand.relations.waits_for, &left);
            }
        }
    }
    let Some(listens) = to.relations.wants_ports.first().cloned() else {
        return;
    };
    let to = &mut stands[one.to];
    let order = Order::start_first(
        one.listens.clone(),
        listens,
        to.relations.beside.memory.clone(),
    );
    to.relations.takes_over_from = waits.then_some(left);
    to.change.order = to.change.action.acts().then(|| match because {
        None => order,
        Some(why) => order.but_stop_first(why),
    });
}

/// Lets something stop only once what takes over from it serves.
fn hand(from: &mut Stand, to: &Stand) {
    add(&mut from.relations.requires, to.address());
    from.relations.handed_to = Some(to.address().clone());
    let reason = if to.change.is_out_of_reach() {
        let text = format!("{} was to take over from it", place(to));
        Reason::unreachable(format!("{text}, and did not answer"))
    } else if to.change.action == Action::Keep && !to.is_ready() {
        let text = format!("{} is to take over from it, and is left out", to.address());
        Reason::new(ReasonCode::NeedBlocked, text)
    } else {
        return;
    };
    let summary = std::mem::take(&mut from.change.summary);
    from.change = Change::blocked(from.address(), reason).described(summary);
}

fn add(all: &mut Vec<Address>, one: &Address) {
    if !all.contains(one) {
        all.push(one.clone());
    }
}

#[cfg(test)]
mod tests;
