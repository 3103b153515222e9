//! What a server and its GPU are like under a short load.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::look::GpuState;
use crate::name::NodeName;
use crate::node::perform::Burst;
use crate::plan::{LivenessProbe, NodeConditions, Placed};
use crate::resource::instance::Instance;
use crate::resource::{Observation, Resource as _};
use crate::results::{Bound, Conditions, rooflines};

/// A server that is to answer a short load.
#[derive(Debug, Clone)]
pub struct Server {
    /// What the manifest calls it.
    pub name: String,
    /// Its node.
    pub node: NodeName,
    /// How it is asked: nothing where it does not run, or was not seen to serve.
    pub probe: Option<LivenessProbe>,
    /// Where its process is.
    pub placed: Placed,
    told: Value,
}

/// What came of a short load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Load {
    /// The server that answered it.
    pub instance: String,
    /// Its node.
    pub node: NodeName,
    /// What one token takes of a stream that is alone, in ms.
    pub decode_ms: f64,
    /// Tokens a second of several streams together.
    pub tok_s: f64,
    /// What its memory allows a stream that is alone, in tokens a second, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roofline_tok_s: Option<f64>,
    /// What the GPUs that worked were at while several were answered; nothing where their driver tells nothing.
    pub gpu: Option<GpuLoad>,
    /// What the server is, but for where it is: those that are alike should be as fast.
    #[serde(skip)]
    pub alike: String,
}

/// GPUs under a short load: the medians of what was sampled while it worked.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GpuLoad {
    /// The clock of its multiprocessors, in MHz.
    pub clock_mhz: Option<f64>,
    /// In W.
    pub power_w: Option<f64>,
    /// In °C.
    pub heat_c: Option<f64>,
    /// How much of the time it works, in percent.
    pub busy_percent: Option<f64>,
    /// All that held its clock down meanwhile, as the bits of NVML.
    pub held_by: u64,
    /// So many samples.
    pub samples: usize,
}

impl Server {
    /// The servers of these nodes, whether they run or not.
    pub fn all<'a>(
        instances: impl Iterator<Item = &'a Instance>,
        observed: &Observation,
        is_asked: impl Fn(&NodeName) -> bool,
    ) -> Vec<Self> {
        let servers = instances.map(|instance| Self {
            name: instance.name().to_string(),
            placed: instance.placed(observed),
            node: instance.placed(observed).node,
            probe: instance.liveness_probe(observed),
            told: instance.provenance(observed),
        });
        servers.filter(|server| is_asked(&server.node)).collect()
    }

    /// What is to be measured of it.
    pub fn words(&self) -> String {
        format!("`{}` on {}", self.name, self.node)
    }

    /// What a burst at it came to, on a node that was like this.
    pub fn loaded(&self, burst: &Burst, conditions: &NodeConditions) -> Load {
        let conditions = Conditions {
            before: BTreeMap::from([(self.node.clone(), conditions.clone())]),
            ..Conditions::default()
        };
        let topology = serde_json::json!({"instances": [self.told]});
        let bounds = rooflines(&conditions, &topology);
        let bound = bounds.get(&self.name).and_then(Bound::known);
        let mut alike = self.told["spec"].clone();
        if let Value::Object(spec) = &mut alike {
            spec.remove("listen");
        }
        Load {
            instance: self.name.clone(),
            node: self.node.clone(),
            decode_ms: burst.decode_ms,
            tok_s: burst.tok_s,
            roofline_tok_s: bound.map(|bound| bound.tok_s_user),
            gpu: sampled(&burst.samples),
            alike: alike.to_string(),
        }
    }
}

/// The medians of what was said of the GPUs again and again. A sample in which one had not begun yet, or was
/// through, says nothing of it at work.
fn sampled(samples: &[String]) -> Option<GpuLoad> {
    let states: Vec<GpuState> = samples.iter().map(|line| GpuState::read(line)).collect();
    let working = |state: &&GpuState| state.busy.is_none_or(|busy| busy > 0.0);
    let at_work: Vec<&GpuState> = states.iter().filter(working).collect();
    if at_work.is_empty() {
        return None;
    }
    let median = |of: fn(&GpuState) -> Option<f64>| {
        let mut values: Vec<f64> = at_work.iter().filter_map(|it| of(it)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let held_by = at_work.iter().filter_map(|it| it.held_by);
    Some(GpuLoad {
        clock_mhz: median(|it| it.clock),
        power_w: median(|it| it.power),
        heat_c: median(|it| it.heat),
        busy_percent: median(|it| it.busy),
        held_by: held_by.fold(0, |all, bits| all | bits),
        samples: at_work.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> Option<GpuLoad> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        sampled(&lines)
    }

    #[test]
    fn only_what_a_gpu_is_at_while_it_works_counts() {
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["890, 4.50, 41, 0, 0x0000000000000001"]), None);
        let seen = said(&[
            "2411, 4.50, 41, 0, 0x0000000000000001",
            "890, 30.10, 50, 96, 0x0000000000000000",
            "858, 29.00, 51, 96, 0x0000000000000004",
            "695, 28.00, 52, 96, 0x0000000000000040",
            "2223, 6.00, 45, 0, 0x0000000000000001",
        ]);
        let want = GpuLoad {
            clock_mhz: Some(858.0),
            power_w: Some(29.0),
            heat_c: Some(51.0),
            busy_percent: Some(96.0),
            held_by: 0x44,
            samples: 3,
        };
        assert_eq!(seen, Some(want));
        // One whose driver does not tell how busy it is, as under MIG, is taken to be.
        let untold = said(&["2300, [N/A], 50, [N/A], [N/A]"]).unwrap();
        assert_eq!((untold.power_w, untold.samples), (None, 1));
    }
}
