//! Arms whose engines are all up at the same time: going from one to another then starts nothing.
//!
//! An arm that gives an instance other arguments needs another engine. Where memory allows it, that one stands
//! beside the first, on the same node at ports of its own, in every arm; each arm asks its own, and the others
//! are idle, which is proved in every block as of any other. What differs in the software, the model or the set
//! of instances is not stood beside: there is one environment of a name on a node, and who declares fewer
//! instances wants the others down.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::experiment::{Arm, Experiment};
use crate::name::{ArmName, InstanceName, NodeName, Port};
use crate::plan::Role;
use crate::resource::Topology;
use crate::resource::benchmark::Way;
use crate::resource::environment::EnvValue;
use crate::resource::instance::kv::PORT as KV_PORT;
use crate::resource::instance::{Runtime, Server};

/// Engines of one node have their ports so far from one another at least: of several ranks each has one.
const APART: u16 = 16;

/// An engine that some arm asks: the instance that it is of, and what it is called beside the others.
struct Resident {
    of: InstanceName,
    name: InstanceName,
    server: Server,
}

impl Experiment {
    /// The same with the engines of all arms up in each; nothing where arms differ in no engine, or in
    /// something that cannot stand beside another.
    pub fn resident(&self) -> Option<Self> {
        let arms = self.arms.values();
        let ways = arms
            .clone()
            .flat_map(|arm| arm.topology.benchmarks.values());
        let first = &arms.clone().next()?.topology;
        let is_of_one_set = |arm: &Arm| {
            arm.topology.nodes == first.nodes
                && arm.topology.proxy.is_some()
                && arm.topology.instances.keys().eq(first.instances.keys())
        };
        let is_asked_by_proxy = ways.clone().all(|it| it.endpoint == Way::Proxy);
        if !is_asked_by_proxy || !arms.clone().all(is_of_one_set) {
            return None;
        }
        let residents = self.residents()?;
        (residents.len() > first.instances.len()).then(|| Self {
            arms: self
                .arms
                .iter()
                .map(|(name, arm)| (name.clone(), among(arm, &residents)))
                .collect::<IndexMap<ArmName, Arm>>(),
            ..self.clone()
        })
    }

    /// Every engine of every arm once. The first of an instance has its name and ports.
    fn residents(&self) -> Option<Vec<Resident>> {
        let mut residents: Vec<Resident> = Vec::new();
        let mut ports = Ports::of(self);
        for (arm, it) in &self.arms {
            for (name, server) in &it.topology.instances {
                let mut known = residents.iter().filter(|it| it.of == *name);
                let first = known.clone().next();
                if known.any(|it| is_same(&it.server, server)) {
                    continue;
                }
                let (called, server) = match first {
                    None => (name.clone(), server.clone()),
                    Some(first) if can_stand_beside(&first.server, server) => {
                        let called = format!("{name}-{arm}").parse().ok()?;
                        (called, ports.moved(server)?)
                    }
                    Some(_) => return None,
                };
                if residents.iter().any(|it| it.name == called) {
                    return None;
                }
                residents.push(Resident {
                    of: name.clone(),
                    name: called,
                    server,
                });
            }
        }
        Some(residents)
    }
}

/// Whether two are the same engine: a role is the proxy's affair, and so are ports.
fn is_same(one: &Server, other: &Server) -> bool {
    let bare = |server: &Server| {
        let mut server = with_port(server.clone(), one.port, None);
        server.role = Role::Both;
        if one.kv.is_some() {
            server.env.remove(KV_PORT);
        }
        server
    };
    bare(one) == bare(other)
}

/// Whether a node can hold both: it is the same software and the same model.
fn can_stand_beside(one: &Server, other: &Server) -> bool {
    let is_same_software = match (&one.runtime, &other.runtime) {
        (Runtime::Simulated(_), Runtime::Simulated(_)) => true,
        (Runtime::Vllm(one), Runtime::Vllm(other)) => {
            one.engine.is_same_software(&other.engine)
                && (&one.model, &one.beside) == (&other.model, &other.beside)
        }
        _ => false,
    };
    is_same_software && one.node == other.node && one.model == other.model
}

/// The arm with all engines up, of which it asks its own.
fn among(arm: &Arm, residents: &[Resident]) -> Arm {
    let mut topology: Topology = arm.topology.clone();
    let own: BTreeMap<&InstanceName, &Resident> = arm
        .topology
        .instances
        .iter()
        .filter_map(|(name, server)| {
            let mut of_it = residents.iter().filter(|it| it.of == *name);
            Some((name, of_it.find(|it| is_same(&it.server, server))?))
        })
        .collect();
    topology.instances = residents
        .iter()
        .map(|it| {
            let is_own = own.get(&it.of).is_some_and(|own| own.name == it.name);
            let role = arm.topology.instances[&it.of].role;
            let server = Server {
                role: if is_own { role } else { Role::Both },
                ..it.server.clone()
            };
            (it.name.clone(), server)
        })
        .collect();
    if let Some(proxy) = &mut topology.proxy {
        let asked = own.iter().filter(|(name, _)| proxy.serves_from(name));
        let asked: Vec<InstanceName> = asked.map(|(_, it)| it.name.clone()).collect();
        let weights = std::mem::take(&mut proxy.weights);
        proxy.weights = weights
            .into_iter()
            .filter_map(|(name, weight)| Some((own.get(&name)?.name.clone(), weight)))
            .collect();
        proxy.backends = Some(asked);
    }
    Arm {
        topology,
        ..arm.clone()
    }
}

/// The ports that are taken on each node, as far as they are declared.
struct Ports(BTreeMap<NodeName, BTreeSet<u16>>);

impl Ports {
    fn of(experiment: &Experiment) -> Self {
        let mut taken: BTreeMap<NodeName, BTreeSet<u16>> = BTreeMap::new();
        for arm in experiment.arms.values() {
            for server in arm.topology.instances.values() {
                let own = taken.entry(server.node.clone()).or_default();
                own.insert(server.port.get());
                own.extend(side_channel(server));
            }
            if let Some(proxy) = &arm.topology.proxy {
                let own = taken.entry(proxy.node.clone()).or_default();
                own.insert(proxy.port.get());
            }
        }
        Self(taken)
    }

    /// The server at ports of its own.
    fn moved(&mut self, server: &Server) -> Option<Server> {
        let port = self.next(&server.node, server.port.get())?;
        let channel = match side_channel(server) {
            Some(channel) => Some(self.next(&server.node, channel)?),
            None => None,
        };
        Some(with_port(server.clone(), Port::new(port)?, channel))
    }

    /// The next port after this one that has room around it.
    fn next(&mut self, node: &NodeName, after: u16) -> Option<u16> {
        let taken = self.0.entry(node.clone()).or_default();
        let steps = 1..=u16::MAX / APART;
        let mut ports = steps.map_while(|step| after.checked_add(step.checked_mul(APART)?));
        let is_free = |port: &u16| {
            let around = port.saturating_sub(APART - 1)..=port.saturating_add(APART - 1);
            taken.range(around).next().is_none()
        };
        let port = ports.find(is_free)?;
        taken.insert(port);
        Some(port)
    }
}

/// The port at which a server is asked for what it holds, where it hands over.
fn side_channel(server: &Server) -> Option<u16> {
    server.kv.as_ref()?;
    match server.env.get(KV_PORT)? {
        EnvValue::Plain(port) => port.parse().ok(),
        EnvValue::FromEnv(_) => None,
    }
}

fn with_port(mut server: Server, port: Port, channel: Option<u16>) -> Server {
    server.port = port;
    if let Some(channel) = channel {
        let channel = EnvValue::Plain(channel.to_string());
        server.env.insert(KV_PORT.to_owned(), channel);
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "\
topology: t
nodes: {here: {ssh: local}}
engines:
  demo: {simulate: {profile: fast}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo, env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 5600}}
  b: {node: here, port: 8200, engine: demo, model: demo, env: {VLLM_NIXL_SIDE_CHANNEL_PORT: 5601}}
kv: {connector: nixl, buffer: cpu}
proxy: {node: here, port: 8116, weights: {a: 2}}
benchmarks:
  x: {prompts: {inline: [p]}, load: {batch: 2}BENCH}
compare:
  arms:
    plain: {}
    chunked: {instances: {a: {args: {max_num_batched_tokens: 512}}, b: {args: {max_num_batched_tokens: 512}}}}
    split: {instances: {a: {role: prefill}, b: {role: decode}}}
";

    fn experiment(text: &str) -> Experiment {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        std::fs::write(&path, text).unwrap();
        crate::manifest::load(&path, crate::manifest::Variables::default())
            .unwrap()
            .experiment
            .unwrap()
    }

    fn base() -> String {
        BASE.replace("BENCH", "")
    }

    /// Every instance of an arm with its ports and role; a star where it is asked.
    fn told(arm: &Arm) -> Vec<String> {
        let proxy = arm.topology.proxy.as_ref().unwrap();
        let told = arm.topology.instances.iter().map(|(name, server)| {
            let star = if proxy.serves_from(name) { "*" } else { "" };
            let (port, role) = (server.port.get(), server.role);
            let channel = side_channel(server).unwrap();
            format!("{name}{star} {port} {channel} {role:?}")
        });
        told.collect()
    }

    #[test]
    fn engines_of_all_arms_stand_beside_each_other_and_each_arm_asks_its_own() {
        let plain = experiment(&base());
        let together = plain.resident().unwrap();
        let arm = |name: &str| &together.arms[&name.parse::<ArmName>().unwrap()];
        assert_eq!(
            told(arm("plain")),
            [
                "a* 8100 5600 Both",
                // The proxy's own port is the next but for these.
                "a-chunked 8132 5632 Both",
                "b* 8200 5601 Both",
                "b-chunked 8216 5649 Both",
            ]
        );
        assert_eq!(
            told(arm("chunked")),
            [
                "a 8100 5600 Both",
                "a-chunked* 8132 5632 Both",
                "b 8200 5601 Both",
                "b-chunked* 8216 5649 Both",
            ]
        );
        assert_eq!(
            told(arm("split")),
            [
                "a* 8100 5600 Prefill",
                "a-chunked 8132 5632 Both",
                "b* 8200 5601 Decode",
                "b-chunked 8216 5649 Both",
            ]
        );
        let weights = |name: &str| {
            let proxy = arm(name).topology.proxy.as_ref().unwrap();
            let names = proxy.weights.keys().map(ToString::to_string);
            names.collect::<Vec<_>>()
        };
        assert_eq!(
            (weights("plain"), weights("chunked")),
            (vec!["a".to_owned()], vec!["a-chunked".to_owned()])
        );
        // As many GPUs answer, what differs is the same, and there is nothing more to stand together.
        for (name, arm) in &plain.arms {
            assert_eq!(arm.gpus(), together.arms[name].gpus());
            assert_eq!(arm.settings, together.arms[name].settings);
        }
        assert!(together.resident().is_none());
    }

    #[test]
    fn what_cannot_stand_beside_another_does_not() {
        let base = base();
        let chunked = "    chunked: {instances: {a: {args: {max_num_batched_tokens: 512}}, b: {args: {max_num_batched_tokens: 512}}}}\n";
        let with = |arm: &str| experiment(&base.replace(chunked, arm)).resident();
        // Only roles differ: the same engines do for all.
        assert!(with("").is_none());
        assert!(with("    other: {instances: {a: {args: {seed: 2}}}}\n").is_some());
        for arm in [
            "    fewer: {instances: {b: null, a: {args: {seed: 2}}}}\n",
            "    model: {instances: {a: {model: other}, b: {model: other}}}\n",
        ] {
            assert!(with(arm).is_none(), "{arm}");
        }
        let past = BASE.replace("BENCH", ", endpoint: each_instance");
        assert!(experiment(&past).resident().is_none());
    }
}
