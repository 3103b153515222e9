//! What the machines and engines of two arms were unlike in, so that no time of theirs compares.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::Measured;
use crate::name::ArmName;
use crate::results::{BenchResult, Conditions};

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
    for block in blocks.iter().filter(|block| block.arm == arm) {
        let results = block.results.values();
        let told = results.flat_map(|result| {
            let machines = machines(&result.conditions, true);
            machines.into_iter().chain(engines(result))
        });
        for (what, value) in told.chain(machines(block.idle, false)) {
            facts.entry(what).or_default().insert(value);
        }
    }
    facts
}

/// What a machine is like: what its GPUs are, and where it serves, what holds them down. At one that is idle
/// that is that there is nothing to do.
fn machines(seen: &Conditions, serves: bool) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (node, conditions) in &seen.before {
        for (number, gpu) in conditions.gpus.iter().enumerate() {
            let told = [
                ("the driver", &gpu.driver),
                ("the id", &gpu.uuid),
                ("the power limit", &gpu.power_limit_w),
                ("the highest clock", &gpu.clock_max_mhz),
                ("what holds down the clock", &gpu.held_down_by),
            ];
            let of_idle = told.len() - usize::from(!serves);
            let told = told.into_iter().take(of_idle);
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

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::plan::{GpuConditions, NodeConditions};
    use crate::verdict::scene::notebook_run;

    fn seen(driver: &str, held_down_by: &str) -> Conditions {
        let gpu = GpuConditions {
            driver: Some(driver.to_owned()),
            held_down_by: Some(held_down_by.to_owned()),
            ..GpuConditions::default()
        };
        let node = NodeConditions {
            gpus: vec![gpu],
            ..NodeConditions::default()
        };
        Conditions {
            before: [("spark-02".parse().unwrap(), node)].into(),
            ..Conditions::default()
        }
    }

    #[test]
    fn a_node_that_is_idle_in_one_arm_has_the_same_machine_in_both() {
        let (ours, theirs) = ("single".parse().unwrap(), "both".parse().unwrap());
        let (none, texts) = (IndexMap::new(), IndexMap::new());
        let told = |idle: &Conditions| {
            let mut result = notebook_run();
            result.conditions = seen("580.1", "0x0000000000000000");
            let results = IndexMap::from([("batch".parse().unwrap(), result)]);
            let block = |arm, results, idle| Measured {
                round: 0,
                arm,
                results,
                texts: &texts,
                idle,
            };
            let nobody = Conditions::default();
            let blocks = [block(&ours, &none, idle), block(&theirs, &results, &nobody)];
            unlike(&blocks, &ours, &theirs)
        };
        // That there is nothing to do holds its clocks down, and is no difference.
        assert_eq!(told(&seen("580.1", "0x0000000000000001")), [""; 0]);
        assert_eq!(
            told(&seen("575.9", "0x0000000000000001")),
            ["the driver of GPU 0 of spark-02 is 575.9 in `single` and 580.1 in `both`"]
        );
    }
}
