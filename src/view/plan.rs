//! The plan as people read it: what becomes of each thing, and why, node by node.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::NodeName;
use crate::plan::{Action, Capacity, Change, First, Plan, ReasonCode, Warning};

use super::field;
use super::style::{Role, Style};
use super::words::{clean, columns, count, list};

/// Where the name of a thing begins: after two columns of margin, its sign, and a space.
const NAME: usize = 6;
/// A name longer than this does not push its neighbours' reasons to the right.
const WIDEST_NAME: usize = 32;
/// Reasons longer than this do not push their neighbours' descriptions to the right.
const WIDEST_REASONS: usize = 36;

/// As many processes of others as are told of unasked.
const STRANGERS: usize = 3;

/// Renders a plan; `manifest` is the file as the user named it.
pub fn render(plan: &Plan, manifest: &str, style: Style) -> String {
    let mut blocks = Vec::new();
    // A plan that changes nothing lists its keeps only for those who ask.
    if plan.has_work() || style.verbose {
        blocks.push(legend(plan, style));
        blocks.extend(nodes(plan, style));
    }
    blocks.push(uncompared(plan, style));
    blocks.push(started_again(plan, style));
    blocks.push(blocked(plan, style));
    blocks.push(warned(plan, style));
    blocks.push(unmanaged(plan, style));
    blocks.push(unreachable(plan, style));
    blocks.push(left_out(plan, style));
    blocks.push(capacity(plan, style));
    blocks.push(verdict(plan, manifest, style));
    blocks.retain(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// Renders some changes of a plan by themselves, each with its whole address.
pub fn news(changes: &[&Change], style: Style) -> String {
    let named = changes.iter().map(|it| (it.address.to_string(), *it));
    entries(&named.collect::<Vec<_>>(), style).join("\n") + "\n"
}

/// Explains the signs that this plan uses.
fn legend(plan: &Plan, style: Style) -> Vec<String> {
    let acting = plan.changes.iter().filter(|change| change.action.acts());
    let used: BTreeSet<(Action, &str)> = acting.map(|it| (it.action, it.sign())).collect();
    let entries: Vec<String> = used
        .into_iter()
        .map(|(action, sign)| {
            let meaning = match (action, sign) {
                (Action::Create, _) => created(plan),
                (Action::Update, _) => "update in place",
                (Action::Replace, "+/-") => "replace: start, then stop",
                (Action::Replace, _) => "replace: stop, then start",
                _ => "destroy",
            };
            format!("{} {meaning}", style.paint(Role::Action(action), sign))
        })
        .collect();
    if entries.is_empty() {
        return Vec::new();
    }
    vec![entries.join("   ")]
}

/// What a plan creates: things, or results.
fn created(plan: &Plan) -> &'static str {
    let is_created = |change: &&Change| change.action == Action::Create;
    let mut created = plan.changes.iter().filter(is_created);
    match (
        created.clone().any(|it| !it.is_measurement()),
        created.any(Change::is_measurement),
    ) {
        (_, false) => "create",
        (true, true) => "create, or measure",
        (false, true) => "measure",
    }
}

/// One block a node, in the order of their names; what no node holds comes last.
fn nodes(plan: &Plan, style: Style) -> Vec<Vec<String>> {
    type Place<'a> = (bool, Option<&'a NodeName>, Option<&'a NodeName>);
    let mut by_node: BTreeMap<Place<'_>, Vec<&Change>> = BTreeMap::new();
    for change in plan.changes.iter().filter(|c| c.action != Action::Blocked) {
        let node = change.address.node.as_ref();
        by_node
            .entry((node.is_none(), node, change.from.as_ref()))
            .or_default()
            .push(change);
    }
    by_node
        .into_iter()
        .map(|((_, node, from), changes)| {
            let title = match (node, from) {
                (Some(node), _) => node.to_string(),
                (None, Some(from)) => format!("measured from {from}"),
                (None, None) => "measured from here".to_owned(),
            };
            let mut lines = vec![style.paint(Role::Title, &title)];
            lines.extend(node_lines(changes, style));
            lines
        })
        .collect()
}

fn node_lines(mut changes: Vec<&Change>, style: Style) -> Vec<String> {
    // Measurements stand in the order in which they are made, which is the manifest's.
    changes.sort_by_key(|change| (!change.is_measurement()).then_some(&change.address));
    let (kept, mut shown): (Vec<&Change>, Vec<&Change>) =
        changes.iter().partition(|c| c.action == Action::Keep);
    if style.verbose {
        shown = changes;
    }
    let mut lines = Vec::new();
    if !style.verbose && !kept.is_empty() {
        let sign = Action::Keep.sign();
        let text = format!("{sign:>5} {} kept", kept.len());
        lines.push(style.paint(Role::Faint, &text));
    }
    let named: Vec<(String, &Change)> = shown.iter().map(|c| (c.address.local(), *c)).collect();
    lines.extend(entries(&named, style));
    lines
}

/// Renders changes under the names that they go by here, their reasons in one column and their
/// descriptions in another.
fn entries(named: &[(String, &Change)], style: Style) -> Vec<String> {
    let widest = |texts: &mut dyn Iterator<Item = usize>, limit: usize| {
        texts.filter(|width| *width <= limit).max().unwrap_or(0)
    };
    let columns = Columns {
        name: widest(&mut named.iter().map(|(n, _)| columns(n)), WIDEST_NAME),
        reasons: widest(
            &mut named.iter().map(|(_, c)| columns(&reasons(c))),
            WIDEST_REASONS,
        ),
    };
    let mut lines = Vec::new();
    for (name, change) in named {
        lines.extend(headline(name, change, columns, style));
        lines.extend(order(change, style));
        lines.extend(field::render(&change.fields, style));
    }
    lines
}

/// How wide the columns of a block are.
#[derive(Clone, Copy)]
struct Columns {
    name: usize,
    reasons: usize,
}

fn reasons(change: &Change) -> String {
    // That it was asked for, whoever asked knows.
    if change.reasons.iter().all(|it| it.code == ReasonCode::Asked) {
        return String::new();
    }
    let why: Vec<String> = change.why().map(|why| clean(&why)).collect();
    why.join("; ")
}

/// Which comes first of its start and a stop, and by which numbers.
fn order(change: &Change, style: Style) -> Vec<String> {
    let Some(order) = &change.order else {
        return Vec::new();
    };
    let indent = NAME + 6;
    let lines = style.wrap(&order.to_string(), style.width.saturating_sub(indent));
    let dressed = lines.iter().map(|line| style.paint(Role::Faint, line));
    dressed
        .map(|line| format!("{:indent$}{line}", ""))
        .collect()
}

/// The line of a change: sign, name, reasons, description.
fn headline(name: &str, change: &Change, column: Columns, style: Style) -> Vec<String> {
    let start = NAME + column.name.max(columns(name)) + 2;
    let room = style.width.saturating_sub(start).max(24);
    let mut body = style.wrap(&reasons(change), room);
    let summary = style.wrap(&clean(&change.summary), room);
    let mut dressed: Vec<String> = summary
        .iter()
        .map(|line| style.paint(Role::Faint, line))
        .collect();

    // The description follows the reasons where there is room, and stands below them where not.
    if let ([reasons], [only]) = (body.as_mut_slice(), summary.as_slice()) {
        let gap = column.reasons.saturating_sub(columns(reasons)) + 3;
        if columns(reasons) + gap + columns(only) <= room || !style.folds {
            *reasons = format!("{reasons}{:gap$}{}", "", dressed.remove(0));
        }
    }
    body.extend(dressed);

    let sign = format!("{:>5}", change.sign());
    let sign = style.paint(Role::Action(change.action), &sign);
    let mut body = body.into_iter();
    let first = body.next().unwrap_or_default();
    let width = column.name;
    let head = format!("{sign} {name:<width$}  {first}");
    std::iter::once(head.trim_end().to_owned())
        .chain(body.map(|line| format!("{:start$}{line}", "")))
        .collect()
}

/// What is kept with a reason to say so: not all of it could be compared.
fn uncompared(plan: &Plan, style: Style) -> Vec<String> {
    let is_uncompared = |change: &Change| {
        let mut reasons = change.reasons.iter();
        change.action == Action::Keep && reasons.any(|it| it.code != ReasonCode::StartedAgain)
    };
    // Whoever asks for the keeps reads it there.
    let is_shown = |change: &Change| is_uncompared(change) && !style.verbose;
    titled("Kept, and not compared in all:", plan, is_shown, style)
}

/// What is kept, and had to be started again.
fn started_again(plan: &Plan, style: Style) -> Vec<String> {
    let is_started_again = |change: &Change| {
        let mut reasons = change.reasons.iter().peekable();
        change.action == Action::Keep
            && reasons.peek().is_some()
            && reasons.all(|it| it.code == ReasonCode::StartedAgain)
    };
    let is_shown = |change: &Change| is_started_again(change) && !style.verbose;
    titled("Kept, and started again meanwhile:", plan, is_shown, style)
}

fn blocked(plan: &Plan, style: Style) -> Vec<String> {
    let is_blocked = |change: &Change| change.action == Action::Blocked;
    titled("Blocked, and left as they are:", plan, is_blocked, style)
}

/// Those changes of a plan, by their whole addresses, where there are any.
fn titled(title: &str, plan: &Plan, wanted: impl Fn(&Change) -> bool, style: Style) -> Vec<String> {
    let wanted = plan.changes.iter().filter(|change| wanted(change));
    let mut named: Vec<_> = wanted.map(|c| (c.address.to_string(), c)).collect();
    if named.is_empty() {
        return Vec::new();
    }
    named.sort_by(|a, b| a.1.address.cmp(&b.1.address));
    let mut lines = vec![style.paint(Role::Title, title)];
    lines.extend(entries(&named, style));
    lines
}

/// What an apply would fail by, each with the line that mends it.
fn warned(plan: &Plan, style: Style) -> Vec<String> {
    if plan.warnings.is_empty() {
        return Vec::new();
    }
    let title = "Likely to fail (`replica doctor` says why):";
    let mut lines = vec![style.paint(Role::Warning, title)];
    for warning in &plan.warnings {
        let nodes: Vec<_> = warning.nodes.iter().map(ToString::to_string).collect();
        let Warning { id, text, hint, .. } = warning;
        let text = format!("{}: {text} ({id}); do: {hint}", list(&nodes));
        lines.extend(marked(&clean(&text), style));
    }
    lines
}

fn unmanaged(plan: &Plan, style: Style) -> Vec<String> {
    if plan.unmanaged.is_empty() {
        return Vec::new();
    }
    let all = plan.unmanaged.len();
    let shown = if style.verbose {
        all
    } else {
        all.min(STRANGERS)
    };
    let title = match all {
        1 => "Not ours, and left alone:".to_owned(),
        _ => format!("Not ours, and left alone ({all}):"),
    };
    let mut lines = vec![style.paint(Role::Title, &title)];
    for text in &plan.unmanaged[..shown] {
        lines.extend(marked(&clean(text), style));
    }
    if shown < all {
        let more = format!("      and {} more; -v shows all", all - shown);
        lines.push(style.paint(Role::Faint, &more));
    }
    lines
}

fn unreachable(plan: &Plan, style: Style) -> Vec<String> {
    if plan.unreachable.is_empty() {
        return Vec::new();
    }
    let title = "Unreachable: unknown, not absent: nothing is planned there.";
    let mut lines = vec![style.paint(Role::Title, title)];
    for (node, failure) in &plan.unreachable {
        lines.extend(marked(
            &format!("{node}: {}", clean(&failure.message)),
            style,
        ));
    }
    lines
}

/// Says what a whole plan would change beyond this one.
fn left_out(plan: &Plan, style: Style) -> Vec<String> {
    let named: Vec<String> = plan.left_out.iter().map(ToString::to_string).collect();
    if named.is_empty() {
        return Vec::new();
    }
    let text = format!("Left out as asked, and would change: {}.", list(&named));
    style.wrap(&text, style.width)
}

/// Says how many serve meanwhile, where that is fewer than serve now, or is not because what takes their
/// place starts first.
fn capacity(plan: &Plan, style: Style) -> Vec<String> {
    let mut orders = plan.changes.iter().filter_map(|it| it.order.as_ref());
    let starts_first = orders.any(|order| order.first == First::Start);
    let told = |it: &&Capacity| it.dips() || starts_first;
    let dips = plan.capacity.iter().filter(told);
    let lines = dips.map(|capacity| {
        let text = format!("Capacity while applying: {capacity}.");
        let role = if capacity.least() == 0 {
            Role::Warning
        } else {
            Role::Title
        };
        style.paint(role, &text)
    });
    lines.collect()
}

/// A text behind the sign of what we cannot or will not touch.
fn marked(text: &str, style: Style) -> Vec<String> {
    let sign = style.paint(Role::Action(Action::Blocked), "    !");
    let first = std::iter::once(sign).chain(std::iter::repeat(" ".repeat(NAME - 1)));
    let lines = style.wrap(text, style.width.saturating_sub(NAME));
    first
        .zip(lines)
        .map(|(sign, line)| format!("{sign} {line}"))
        .collect()
}

/// The one line that is read first: what would be done, or that nothing would.
fn verdict(plan: &Plan, manifest: &str, style: Style) -> Vec<String> {
    let nothing_to_do = plan.changes.iter().all(|c| c.action == Action::Keep);
    let (lead, rest) = if nothing_to_do {
        converged(plan, manifest)
    } else {
        ("Plan:", counted(plan))
    };
    let role = if plan.is_converged() {
        Role::Good
    } else {
        Role::Title
    };
    // Wrapped before it is dressed: escape sequences take no columns.
    let mut lines = style.wrap(&format!("{lead} {rest}"), style.width);
    if let Some(first) = lines.first_mut()
        && let Some(rest) = first.strip_prefix(lead)
    {
        *first = style.paint(role, lead) + rest;
    }
    lines
}

fn counted(plan: &Plan) -> String {
    let summary = plan.summary();
    let is_measured = |change: &&Change| change.is_measurement() && change.action.acts();
    let to_measure = plan.changes.iter().filter(is_measured).count();
    let mut parts = vec![
        format!("{} to create", summary.create - to_measure),
        format!("{} to update", summary.update),
        format!("{} to replace", summary.replace),
        format!("{} to destroy", summary.destroy),
        format!("{} kept", summary.keep),
    ];
    if to_measure > 0 {
        parts.insert(parts.len() - 1, format!("{to_measure} to measure"));
    }
    if summary.blocked > 0 {
        parts.push(format!("{} blocked", summary.blocked));
    }
    let unreachable = match plan.unreachable.len() {
        0 => String::new(),
        number => format!(" {} unreachable.", count(number, "node")),
    };
    format!("{}.{unreachable}", parts.join(", "))
}

fn converged(plan: &Plan, manifest: &str) -> (&'static str, String) {
    let answered: BTreeSet<&str> = plan
        .changes
        .iter()
        .filter_map(|c| c.address.node.as_ref())
        .map(NodeName::as_str)
        .collect();
    let answered: Vec<&str> = answered.into_iter().collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for change in &plan.changes {
        *kinds.entry(&change.address.kind).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, n)| count(*n, kind)).collect();

    let (who, matches) = match answered.as_slice() {
        [] => ("Nothing".to_owned(), "is left to do for"),
        [one] => ((*one).to_owned(), "matches"),
        many => (list(many), "match"),
    };
    let what = if kinds.is_empty() {
        String::new()
    } else {
        format!(" ({})", kinds.join(", "))
    };
    if plan.unreachable.is_empty() {
        return ("No changes.", format!("{who} {matches} {manifest}{what}."));
    }
    let silent: Vec<&str> = plan.unreachable.iter().map(|(n, _)| n.as_str()).collect();
    let silent = format!("{} did not answer", list(&silent));
    let rest = match answered.as_slice() {
        [] => format!("{silent}."),
        _ => format!("{who} {matches} {manifest}{what}, {silent}."),
    };
    ("No changes are planned:", rest)
}

#[cfg(test)]
mod tests;
