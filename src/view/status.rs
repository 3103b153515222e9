//! How everything stands: one table for people, one document for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use super::look::{Look, Role};
use super::table::{Align, Cell, Table};
use super::words::{clean, list};

/// How a topology stands. Serialised, it is the document of `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StatusReport {
    /// Says whether everything is as declared.
    pub converged: bool,
    /// Each node, by its name.
    pub nodes: BTreeMap<String, NodeStatus>,
    /// Each instance, by its name.
    pub instances: BTreeMap<String, InstanceStatus>,
    /// The proxy, where one is declared.
    pub proxy: Option<ProxyStatus>,
}

/// How a node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Says whether it answered.
    pub reachable: bool,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its own memory, where it told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryStatus>,
    /// Its GPUs, where it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<GpuStatus>>,
}

/// The memory of a node, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryStatus {
    /// What can be had.
    pub available: u64,
    /// All of it.
    pub total: u64,
}

/// How a GPU stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuStatus {
    /// What it is called.
    pub name: String,
    /// Its memory.
    pub memory: GpuMemoryStatus,
}

/// The memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuMemoryStatus {
    /// It is the node's own.
    Unified,
    /// It has one for itself.
    #[serde(untagged)]
    Own {
        /// What is in use.
        used: u64,
        /// All of it.
        total: u64,
    },
}

/// How an instance stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    /// The node that it is declared on.
    pub node: String,
    /// The port that it is declared to listen on.
    pub port: u16,
    /// Its leader, where it runs.
    pub pid: Option<u32>,
    /// Says whether it answers and is what was started.
    pub ready: bool,
    /// Where it answers, as the proxy dials it.
    pub url: Option<String>,
    /// What a reader should know: `starting`, `draining`, what is in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How the proxy stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProxyStatus {
    /// The node that it is declared on.
    pub node: String,
    /// The port that it is declared to listen on.
    pub port: u16,
    /// Its process, where it runs.
    pub pid: Option<u32>,
    /// Says whether it answers and serves by the declared configuration.
    pub ready: bool,
    /// Where clients reach it.
    pub url: Option<String>,
    /// How it chooses an instance: `round_robin`.
    pub policy: String,
    /// The generation of the configuration that it serves.
    pub generation: Option<u64>,
    /// The instances that it sends requests to.
    pub backends: Vec<String>,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Renders how a topology stands; `topology` is its name, and `manifest` the file as the user named
/// it.
pub fn render(report: &StatusReport, topology: &str, manifest: &str, look: Look) -> String {
    let things = things(report);
    let mut blocks = vec![table(report, &things, look), notes(&things)];
    blocks.push(report.proxy.iter().map(routing).collect());
    blocks.push(gpus(report, look));
    blocks.push(silent_nodes(report, look));
    blocks.push(vec![verdict(report, topology, manifest, look)]);
    blocks.retain(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

/// Returns every process that is declared, the proxy last.
fn things(report: &StatusReport) -> Vec<(String, InstanceStatus)> {
    let instances = report.instances.iter();
    let proxy = report
        .proxy
        .iter()
        .map(|it| ("proxy".to_owned(), it.process()));
    instances
        .map(|(name, it)| (format!("instance.{name}"), it.clone()))
        .chain(proxy)
        .collect()
}

fn table(report: &StatusReport, things: &[(String, InstanceStatus)], look: Look) -> Vec<String> {
    if things.is_empty() {
        return Vec::new();
    }
    let left = |title| (title, Align::Left);
    let right = |title| (title, Align::Right);
    let heading = [
        left("THING"),
        left("NODE"),
        right("PORT"),
        right("PID"),
        left("READY"),
        left("URL"),
    ];
    let mut table = Table::new(look, &heading);
    for (name, it) in things {
        table.row(vec![
            Cell::from(name.as_str()),
            Cell::from(it.node.as_str()),
            Cell::from(it.port.to_string()),
            Cell::or_dash(it.pid),
            ready(it.ready, is_silent(report, &it.node)),
            Cell::or_dash(it.url.as_deref()),
        ]);
    }
    table.lines()
}

/// Notes are sentences, and would tear the table apart.
fn notes(things: &[(String, InstanceStatus)]) -> Vec<String> {
    let noted = things.iter().filter_map(|(name, it)| {
        let note = it.note.as_deref()?;
        Some(format!("{name}: {}", clean(note)))
    });
    noted.collect()
}

impl ProxyStatus {
    /// Returns what a proxy has in common with an instance.
    fn process(&self) -> InstanceStatus {
        InstanceStatus {
            node: self.node.clone(),
            port: self.port,
            pid: self.pid,
            ready: self.ready,
            url: self.url.clone(),
            note: self.note.clone(),
        }
    }
}

/// What stands on a node that does not answer is neither ready nor not ready.
fn ready(ready: bool, unknown: bool) -> Cell {
    match (ready, unknown) {
        (_, true) => Cell::dressed("unknown", Role::Warning),
        (true, _) => Cell::dressed("yes", Role::Good),
        (false, _) => Cell::dressed("no", Role::Error),
    }
}

fn is_silent(report: &StatusReport, node: &str) -> bool {
    report.nodes.get(node).is_some_and(|node| !node.reachable)
}

fn routing(proxy: &ProxyStatus) -> String {
    let to = match proxy.backends.as_slice() {
        [] => "no instance".to_owned(),
        backends => list(backends),
    };
    let policy = &proxy.policy;
    match proxy.generation {
        Some(generation) => format!("proxy: {policy} to {to}, generation {generation}"),
        None => format!("proxy: {policy} to {to}"),
    }
}

fn gpus(report: &StatusReport, look: Look) -> Vec<String> {
    let heading = ["NODE", "GPU", "MEMORY"].map(|title| (title, Align::Left));
    let mut table = Table::new(look, &heading);
    let mut is_empty = true;
    for (name, node) in &report.nodes {
        for gpu in node.gpus.iter().flatten() {
            is_empty = false;
            table.row(vec![
                Cell::from(name.as_str()),
                Cell::from(clean(&gpu.name)),
                Cell::from(gpu_memory(gpu.memory, node.memory)),
            ]);
        }
    }
    if is_empty { Vec::new() } else { table.lines() }
}

fn gpu_memory(memory: GpuMemoryStatus, of_node: Option<MemoryStatus>) -> String {
    let of = |part: u64, total: u64| format!("{} of {} GiB", gib(part), gib(total));
    match (memory, of_node) {
        (GpuMemoryStatus::Own { used, total }, _) => format!("{} used", of(used, total)),
        (GpuMemoryStatus::Unified, Some(MemoryStatus { available, total })) => {
            format!("unified, {} available", of(available, total))
        }
        (GpuMemoryStatus::Unified, None) => "unified".to_owned(),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1u64 << 30) as f64)
}

fn silent_nodes(report: &StatusReport, look: Look) -> Vec<String> {
    let silent = report.nodes.iter().filter(|(_, node)| !node.reachable);
    silent
        .map(|(name, node)| {
            let unreachable = look.paint(Role::Error, "unreachable");
            let reason = node.reason.as_deref().map(clean).unwrap_or_default();
            let separator = if reason.is_empty() { "" } else { ": " };
            format!("{name}: {unreachable}{separator}{reason}")
        })
        .collect()
}

fn verdict(report: &StatusReport, topology: &str, manifest: &str, look: Look) -> String {
    if report.converged {
        let lead = look.paint(Role::Good, "converged");
        return format!("{topology}: {lead}.");
    }
    let lead = look.paint(Role::Warning, "not converged");
    format!("{topology}: {lead}. Run `replica plan {manifest}` to see what differs.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(node: &str, port: u16, pid: Option<u32>) -> InstanceStatus {
        InstanceStatus {
            node: node.to_owned(),
            port,
            pid,
            ready: pid.is_some(),
            url: pid.map(|_| format!("http://192.168.1.76:{port}")),
            note: None,
        }
    }

    fn report() -> StatusReport {
        let gpu = |name: &str, memory| GpuStatus {
            name: name.to_owned(),
            memory,
        };
        let own = GpuMemoryStatus::Own {
            used: 1 << 30,
            total: 96 << 30,
        };
        let reachable = |gpu| NodeStatus {
            reachable: true,
            memory: Some(MemoryStatus {
                available: 98 << 30,
                total: 120 << 30,
            }),
            gpus: Some(vec![gpu]),
            ..NodeStatus::default()
        };
        let spark = reachable(gpu("NVIDIA GB10", GpuMemoryStatus::Unified));
        StatusReport {
            converged: true,
            nodes: [
                (
                    "controller".to_owned(),
                    reachable(gpu("NVIDIA RTX PRO 6000", own)),
                ),
                ("spark-01".to_owned(), spark.clone()),
                ("spark-02".to_owned(), spark),
            ]
            .into(),
            instances: [
                ("a".to_owned(), instance("spark-01", 8100, Some(963_810))),
                ("b".to_owned(), instance("spark-02", 8200, Some(51_234))),
            ]
            .into(),
            proxy: Some(ProxyStatus {
                node: "controller".to_owned(),
                port: 8192,
                pid: Some(4711),
                ready: true,
                url: Some("http://192.168.1.75:8192".to_owned()),
                policy: "round_robin".to_owned(),
                generation: Some(4),
                backends: vec!["a".to_owned(), "b".to_owned()],
                note: None,
            }),
        }
    }

    #[test]
    fn what_is_converged_fits_on_a_few_lines() {
        insta::assert_snapshot!(render(&report(), "replicated-serving", "r.yaml", Look::plain()), @r"
        THING       NODE        PORT     PID  READY  URL
        instance.a  spark-01    8100  963810  yes    http://192.168.1.76:8100
        instance.b  spark-02    8200   51234  yes    http://192.168.1.76:8200
        proxy       controller  8192    4711  yes    http://192.168.1.75:8192

        proxy: round_robin to a and b, generation 4

        NODE        GPU                  MEMORY
        controller  NVIDIA RTX PRO 6000  1.0 of 96.0 GiB used
        spark-01    NVIDIA GB10          unified, 98.0 of 120.0 GiB available
        spark-02    NVIDIA GB10          unified, 98.0 of 120.0 GiB available

        replicated-serving: converged.
        ");
    }

    #[test]
    fn what_is_amiss_says_why() {
        let mut report = report();
        report.converged = false;
        report.nodes.insert(
            "spark-02".to_owned(),
            NodeStatus {
                reachable: false,
                reason: Some("no answer from 192.168.1.77:22 in 10 s".to_owned()),
                ..NodeStatus::default()
            },
        );
        report
            .instances
            .insert("b".to_owned(), instance("spark-02", 8200, None));
        let mut dead = instance("spark-01", 8101, None);
        dead.note = Some("not running".to_owned());
        report.instances.insert("c".to_owned(), dead);
        insta::assert_snapshot!(render(&report, "replicated-serving", "r.yaml", Look::plain()), @r"
        THING       NODE        PORT     PID  READY    URL
        instance.a  spark-01    8100  963810  yes      http://192.168.1.76:8100
        instance.b  spark-02    8200       -  unknown  -
        instance.c  spark-01    8101       -  no       -
        proxy       controller  8192    4711  yes      http://192.168.1.75:8192

        instance.c: not running

        proxy: round_robin to a and b, generation 4

        NODE        GPU                  MEMORY
        controller  NVIDIA RTX PRO 6000  1.0 of 96.0 GiB used
        spark-01    NVIDIA GB10          unified, 98.0 of 120.0 GiB available

        spark-02: unreachable: no answer from 192.168.1.77:22 in 10 s

        replicated-serving: not converged. Run `replica plan r.yaml` to see what differs.
        ");
    }

    #[test]
    fn the_document_is_the_contract() {
        insta::assert_snapshot!(serde_json::to_string(&report()).unwrap(), @r#"{"converged":true,"nodes":{"controller":{"reachable":true,"memory":{"available":105226698752,"total":128849018880},"gpus":[{"name":"NVIDIA RTX PRO 6000","memory":{"used":1073741824,"total":103079215104}}]},"spark-01":{"reachable":true,"memory":{"available":105226698752,"total":128849018880},"gpus":[{"name":"NVIDIA GB10","memory":"unified"}]},"spark-02":{"reachable":true,"memory":{"available":105226698752,"total":128849018880},"gpus":[{"name":"NVIDIA GB10","memory":"unified"}]}},"instances":{"a":{"node":"spark-01","port":8100,"pid":963810,"ready":true,"url":"http://192.168.1.76:8100"},"b":{"node":"spark-02","port":8200,"pid":51234,"ready":true,"url":"http://192.168.1.76:8200"}},"proxy":{"node":"controller","port":8192,"pid":4711,"ready":true,"url":"http://192.168.1.75:8192","policy":"round_robin","generation":4,"backends":["a","b"]}}"#);
    }
}
