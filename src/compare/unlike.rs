//! What the machines and engines of two arms were unlike in, so that no time of theirs compares.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::Measured;
use crate::name::ArmName;
use crate::results::BenchResult;

/// Values by what they are of: `driver of spark-01`.
type Facts = BTreeMap<String, BTreeSet<String>>;

/// What the blocks of an arm showed that those of the other did not, in words. A node is compared with
/// itself, and so is an instance; what only one of the arms has is not compared.
pub(super) fn unlike(blocks: &[Measured<'_>], arm: &ArmName, other: &ArmName) -> Vec<String> {
    let (ours, theirs) = (facts(blocks, arm), facts(blocks, other));
    let both = ours
        .iter()
        .filter_map(|(what, ours)| Some((what, ours, theirs.get(what)?)));
    let unlike = both.filter(|(_, ours, theirs)| ours != theirs);
    let said = unlike.map(|(what, ours, theirs)| {
        let all = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(", ");
        format!(
            "{what} is {} in `{arm}` and {} in `{other}`",
            all(ours),
            all(theirs)
        )
    });
    said.collect()
}

fn facts(blocks: &[Measured<'_>], arm: &ArmName) -> Facts {
    let mut facts = Facts::new();
    let results = blocks.iter().filter(|block| block.arm == arm);
    for result in results.flat_map(|block| block.results.values()) {
        for (what, value) in machines(result).into_iter().chain(engines(result)) {
            facts.entry(what).or_default().insert(value);
        }
    }
    facts
}

/// What a machine is like: a boot of its own and what its GPUs are.
fn machines(result: &BenchResult) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (node, conditions) in &result.conditions.before {
        for (number, gpu) in conditions.gpus.iter().enumerate() {
            let told = [
                ("the driver", &gpu.driver),
                ("the id", &gpu.uuid),
                ("the power limit", &gpu.power_limit_w),
                ("the highest clock", &gpu.clock_max_mhz),
                ("what holds down the clock", &gpu.held_down_by),
            ];
            let told = told.into_iter();
            facts.extend(told.filter_map(|(what, value)| {
                Some((format!("{what} of GPU {number} of {node}"), value.clone()?))
            }));
        }
    }
    facts
}

/// What an engine is: its version, and the kernels that its log names.
fn engines(result: &BenchResult) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for instance in result.topology["instances"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = instance["name"].as_str().unwrap_or_default();
        facts.push((
            format!("the engine of {name}"),
            instance["spec"]["engine"].to_string(),
        ));
        if let Some(system) = instance["system"].as_str() {
            facts.push((format!("the system of {name}"), system.to_owned()));
        }
    }
    let nodes = result.conditions.before.values();
    for (name, server) in nodes.flat_map(|node| &node.servers) {
        let kernels = server
            .named
            .iter()
            .filter(|line| line.to_lowercase().contains("backend"));
        let kernels: Vec<&str> = kernels.map(String::as_str).collect();
        facts.push((format!("what computes in {name}"), kernels.join(" · ")));
    }
    facts
}
