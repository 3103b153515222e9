//! What the GPUs were at of nodes that an arm leaves idle: one that is held down there is held down when its turn
//! comes, and shares its power and its air with those that serve.

use std::collections::BTreeMap;

use super::outcome::Block;
use crate::name::{ArmName, NodeName};
use crate::plan::{GpuConditions, NodeConditions};

/// Why a driver holds clocks down that something is wrong with, by the bits of its mask. That nothing is to be
/// done there is another bit, and no trouble.
const TROUBLE: [(u64, &str); 4] = [
    (0x08, "a slowdown by the hardware"),
    (0x20, "its temperature, by the driver"),
    (0x40, "its temperature, by the hardware"),
    (0x80, "the brake of its power supply"),
];

/// Why the driver holds the clocks of a GPU down, where it says so.
fn troubles(gpu: &GpuConditions) -> Vec<&'static str> {
    let mask = gpu.held_down_by.as_deref();
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim_start_matches("0x"), 16).ok());
    let told = TROUBLE.iter();
    let told = told.filter(|(bit, _)| mask.is_some_and(|mask| mask & bit != 0));
    told.map(|(_, why)| *why).collect()
}

/// Every look at an idle node, by the arm that leaves it so.
fn looks(blocks: &[Block]) -> BTreeMap<(&NodeName, &ArmName), Vec<&NodeConditions>> {
    let mut looks: BTreeMap<_, Vec<&NodeConditions>> = BTreeMap::new();
    for block in blocks {
        for (node, seen) in block.idle.before.iter().chain(&block.idle.after) {
            looks.entry((node, &block.arm)).or_default().push(seen);
        }
    }
    looks
}

/// What the GPUs of idle nodes were at, in words: `spark-02, idle in single: NVIDIA GB10, P8, 208 MHz of 3003,
/// 40 to 41 °C, 4.9 to 5.2 W`.
pub fn idle_gpus(blocks: &[Block]) -> Vec<String> {
    let told = looks(blocks).into_iter().flat_map(|((node, arm), seen)| {
        let most = seen.iter().map(|it| it.gpus.len()).max().unwrap_or(0);
        (0..most).map(move |number| {
            let gpus: Vec<_> = seen.iter().filter_map(|it| it.gpus.get(number)).collect();
            format!("{node}, idle in {arm}: {}", at(&gpus))
        })
    });
    told.collect()
}

/// What one GPU was at, at several looks.
fn at(gpus: &[&GpuConditions]) -> String {
    let one = |of: fn(&GpuConditions) -> &Option<String>| {
        let mut told: Vec<&str> = gpus.iter().filter_map(|it| of(it).as_deref()).collect();
        told.dedup();
        (!told.is_empty()).then(|| told.join(" and "))
    };
    let of_most = one(|it| &it.clock_max_mhz).map(|most| format!(" of {most}"));
    let clock = span(gpus, |it| &it.clock_mhz);
    let parts = [
        one(|it| &it.name),
        one(|it| &it.pstate),
        clock.map(|mhz| format!("{mhz} MHz{}", of_most.unwrap_or_default())),
        span(gpus, |it| &it.temperature_c).map(|degrees| format!("{degrees} °C")),
        span(gpus, |it| &it.power_w).map(|watts| format!("{watts} W")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The least and the most of a number that the driver tells, in its own words.
fn span(gpus: &[&GpuConditions], of: fn(&GpuConditions) -> &Option<String>) -> Option<String> {
    let told = gpus.iter().filter_map(|it| of(it).as_deref());
    let mut told: Vec<(f64, &str)> = told
        .filter_map(|text| Some((text.parse().ok()?, text)))
        .collect();
    told.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((low, least), (high, most)) = (told.first()?, told.last()?);
    Some(if low < high {
        format!("{least} to {most}")
    } else {
        (*least).to_owned()
    })
}

/// The nodes that were idle and whose clocks the driver held down for a trouble, in words.
pub fn held_down(blocks: &[Block]) -> Vec<String> {
    let told = looks(blocks).into_iter().filter_map(|((node, arm), seen)| {
        let gpus = seen.iter().flat_map(|it| &it.gpus);
        let mut whys: Vec<&str> = gpus.flat_map(troubles).collect();
        whys.sort_unstable();
        whys.dedup();
        (!whys.is_empty()).then(|| {
            format!(
                "{node} was held down while it was idle in {arm}: by {}",
                whys.join(" and ")
            )
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::concluded;
    use super::*;
    use crate::results::Conditions;

    fn gpu(clock: &str, watts: &str, held: &str) -> NodeConditions {
        let told = |text: &str| Some(text.to_owned());
        NodeConditions {
            gpus: vec![GpuConditions {
                name: told("NVIDIA GB10"),
                pstate: told("P8"),
                clock_mhz: told(clock),
                clock_max_mhz: told("3003"),
                power_w: told(watts),
                held_down_by: told(held),
                ..GpuConditions::default()
            }],
            ..NodeConditions::default()
        }
    }

    #[test]
    fn what_an_idle_node_was_at_is_told_arm_by_arm() {
        let mut blocks = concluded().blocks;
        let node: NodeName = "spark-02".parse().unwrap();
        for block in blocks.iter_mut().filter(|it| it.arm.as_str() == "single") {
            let held = if block.round == 1 {
                "0x0000000000000041"
            } else {
                "0x0000000000000001"
            };
            block.idle = Conditions {
                before: [(node.clone(), gpu("208", "5.2", "0x0000000000000001"))].into(),
                after: [(node.clone(), gpu("208", "4.9", held))].into(),
                ..Conditions::default()
            };
        }
        assert_eq!(
            idle_gpus(&blocks),
            ["spark-02, idle in single: NVIDIA GB10, P8, 208 MHz of 3003, 4.9 to 5.2 W"]
        );
        assert_eq!(
            held_down(&blocks),
            [
                "spark-02 was held down while it was idle in single: by its temperature, by the hardware"
            ]
        );
        // One that has nothing to do is in no trouble.
        blocks.retain(|it| it.round != 1);
        assert_eq!(held_down(&blocks), [""; 0]);
    }
}
