//! What is to be known of a comparison beside its verdicts.

use std::time::Duration;

use super::super::style::{Role, Style};
use super::super::table::{Align, Cell, Table};
use super::super::words::{clean, count, duration, number};
use super::middle;
use crate::compare::{Begun, Outcome, held_down, idle_gpus, slow_nodes};
use crate::name::{ArmName, NodeName};

/// What really went from instance to instance.
pub(super) fn moved(outcome: &Outcome, style: Style) -> Vec<String> {
    let told = outcome.arms.iter().filter_map(|(name, arm)| {
        let moved = arm.moved?;
        let lost = match moved.lost {
            0 => String::new(),
            lost => format!("; {lost} were lost"),
        };
        Some(format!(
            "{name}: {} of {} prompt tokens were handed over, in {} of {:.1} ms on the mean{lost}",
            moved.tokens,
            moved.of_tokens,
            count(
                usize::try_from(moved.transfers).unwrap_or(usize::MAX),
                "transfer"
            ),
            moved.mean_ms,
        ))
    });
    told.flat_map(|it| style.hang(&clean(&it), 2)).collect()
}

/// How long requests were between two instances, cell by cell: a histogram tells bounds.
pub(super) fn handed_over(outcome: &Outcome, style: Style) -> Vec<String> {
    let mut table = Table::new(
        style,
        &[
            ("handed over", Align::Left),
            ("load", Align::Left),
            ("arm", Align::Left),
            ("proxy p50", Align::Right),
            ("p95", Align::Right),
            ("fetched in", Align::Right),
        ],
    );
    let cells = outcome.cells.iter();
    let all: Vec<_> = cells
        .flat_map(|cell| {
            cell.handed_over
                .iter()
                .map(move |(arm, it)| (cell, arm, it))
        })
        .collect();
    for (cell, arm, it) in &all {
        let proxy = it.proxy.as_ref();
        table.row(vec![
            Cell::from(cell.benchmark.as_str()),
            Cell::from(cell.load.as_str()),
            Cell::from(arm.as_str()),
            Cell::or_dash(proxy.map(|it| at_most(it.p50_at_most_ms))),
            Cell::or_dash(proxy.map(|it| at_most(it.p95_at_most_ms))),
            Cell::or_dash(it.fetched.map(|it| format!("{} ms", number(it.mean_ms)))),
        ]);
    }
    if all.is_empty() {
        Vec::new()
    } else {
        table.lines()
    }
}

/// A bound of a histogram, in ms: `at most 0.15 ms`.
pub(in super::super) fn at_most(bound_ms: Option<f64>) -> String {
    bound_ms.map_or("beyond all bounds".to_owned(), |ms| format!("≤ {ms} ms"))
}

/// What going over to each arm took, and how often an engine was started for it.
pub(super) fn switches(outcome: &Outcome, style: Style) -> Vec<String> {
    let told = outcome.arms.keys().filter_map(|name| {
        let own = outcome.blocks.iter().filter(|block| block.arm == *name);
        let took: Vec<Option<f64>> = own.map(|block| Some(block.switched_s)).collect();
        let took = Duration::try_from_secs_f64(middle(Some(&took))?).ok()?;
        let Begun { blocks, fresh } = Begun::of(&outcome.blocks, name);
        let started = match fresh {
            _ if blocks == 0 => String::new(),
            0 => ", and no engine was started for it".to_owned(),
            fresh => format!(
                ", and engines were started for {fresh} of {}",
                count(blocks as usize, "block")
            ),
        };
        let text = format!("{name}: made in {} on the median{started}", duration(took));
        Some(clean(&text))
    });
    told.flat_map(|it| style.hang(&it, 2)).collect()
}

/// Which cells drifted.
pub(super) fn drifts(outcome: &Outcome, style: Style) -> Vec<String> {
    let told = drifted(outcome).map(|it| style.paint(Role::Warning, &clean(&it)));
    told.flat_map(|it| style.hang(&it, 2)).collect()
}

/// What is said of the cells that drifted.
pub(in super::super) fn drifted(outcome: &Outcome) -> impl Iterator<Item = String> {
    outcome.cells.iter().filter_map(|cell| {
        let words = cell.drift?.words(cell.aim, outcome.margin)?;
        Some(format!("{} {}: {words}", cell.benchmark, cell.load))
    })
}

/// What every node showed: the median of its canaries in each arm, and which block was slow.
pub(super) fn nodes(outcome: &Outcome, style: Style) -> Vec<String> {
    let mut nodes: Vec<&NodeName> = Vec::new();
    for canary in outcome.blocks.iter().flat_map(|block| &block.canaries) {
        if !nodes.contains(&&canary.node) {
            nodes.push(&canary.node);
        }
    }
    let told = nodes.into_iter().map(|node| {
        let arms = outcome.arms.keys();
        let arms: Vec<String> = arms.map(|arm| canaries_of(outcome, node, arm)).collect();
        format!("canary of {node}, ms a token: {}", arms.join(", "))
    });
    let told = told.flat_map(|it| style.hang(&clean(&it), 2));
    let slow = slow_nodes(&outcome.blocks);
    let slow = slow.iter().map(|it| style.paint(Role::Warning, &clean(it)));
    let slow: Vec<String> = slow.flat_map(|it| style.hang(&it, 2)).collect();
    let idle = idle_gpus(&outcome.blocks);
    let idle = idle.iter().flat_map(|it| style.hang(&clean(it), 2));
    let held = held_down(&outcome.blocks);
    let held = held.iter().map(|it| style.paint(Role::Warning, &clean(it)));
    let held: Vec<String> = held.flat_map(|it| style.hang(&it, 2)).collect();
    told.chain(idle).chain(slow).chain(held).collect()
}

/// The canaries of a node in the blocks of an arm: `8.1 in split`, of each of several instances.
pub(in super::super) fn canaries_of(outcome: &Outcome, node: &NodeName, arm: &ArmName) -> String {
    let own = outcome.blocks.iter().filter(|block| block.arm == *arm);
    let own: Vec<_> = own
        .flat_map(|block| &block.canaries)
        .filter(|it| it.node == *node)
        .collect();
    let mut instances: Vec<&str> = own.iter().filter_map(|it| it.instance.as_deref()).collect();
    instances.sort_unstable();
    instances.dedup();
    let shown = instances.iter().map(|name| {
        let of_it = own.iter().filter(|it| it.instance.as_deref() == Some(name));
        let values: Vec<Option<f64>> = of_it.map(|it| it.best_ms()).collect();
        let value = middle(Some(&values)).map_or("no answer".to_owned(), number);
        format!("{value} ({name})")
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() {
        return format!("no canary in {arm}, where nothing runs there");
    }
    format!("{} in {arm}", shown.join(" and "))
}
