//! How everything stands: one table for people, one document for machines.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};

use super::command::command;
use super::style::{Role, Style};
use super::table::{Align, Cell, Table};
use super::words::clean;
use crate::plan::Address;

/// How a topology stands. Serialised, it is the document of `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StatusReport {
    /// Whether everything is as declared.
    pub converged: bool,
    /// Each node, by its name.
    pub nodes: BTreeMap<String, NodeStatus>,
    /// What serves, kind by kind, each by the key under which the document lists it.
    #[serde(flatten)]
    pub services: IndexMap<String, Services>,
}

/// What serves of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Services {
    /// Any number of them, each by its name.
    ByName(BTreeMap<String, ServiceStatus>),
    /// One, where it is declared.
    Alone(Option<Box<ServiceStatus>>),
}

/// How a node stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Whether it answered.
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
    /// Why `nvidia-smi` there tells of none, in words that go on after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_trouble: Option<String>,
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
    /// It is split by MIG.
    Partitioned,
    /// It is not told.
    Untold,
    /// It has one for itself.
    #[serde(untagged)]
    Own {
        /// What is in use.
        used: u64,
        /// All of it.
        total: u64,
    },
}

/// How something stands that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// What it is.
    #[serde(skip)]
    pub address: Address,
    /// The node that it is on.
    pub node: String,
    /// The port that it listens on; of one that does not run, that it is declared to.
    pub port: u16,
    /// The process that leads it, where it runs.
    pub pid: Option<u32>,
    /// Whether it can be believed to serve.
    pub ready: bool,
    /// Where others reach it, where it runs.
    pub url: Option<String>,
    /// What it says of itself beside that.
    #[serde(flatten)]
    pub details: Map<String, Value>,
    /// The same for people, in one line.
    #[serde(skip)]
    pub summary: Option<String>,
    /// What a reader should know: what is planned for it, or what is in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl StatusReport {
    /// Everything that serves, or is declared to.
    fn services(&self) -> impl Iterator<Item = &ServiceStatus> {
        self.services.values().flat_map(Services::all)
    }

    /// Whether anything that serves does one part of each request.
    fn has_roles(&self) -> bool {
        self.services().any(|service| service.role().is_some())
    }

    /// Whether a node did not answer.
    fn is_silent(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| !node.reachable)
    }
}

impl ServiceStatus {
    /// What it does of a request, where others do the rest: `prefill`, `decode`.
    fn role(&self) -> Option<&str> {
        self.details.get("role")?.as_str()
    }
}

impl Services {
    fn all(&self) -> Vec<&ServiceStatus> {
        match self {
            Services::ByName(services) => services.values().collect(),
            Services::Alone(service) => service.as_deref().into_iter().collect(),
        }
    }
}

/// Renders how a topology stands; `topology` is its name, and `manifest` the file as the user named
/// it.
pub fn render(report: &StatusReport, topology: &str, manifest: &str, style: Style) -> String {
    let mut blocks = vec![table(report, style)];
    blocks.push(sentences(report, style, |service| service.note.as_deref()));
    blocks.push(sentences(report, style, |service| {
        service.summary.as_deref()
    }));
    blocks.push(gpus(report, style));
    blocks.push(silent_nodes(report, style));
    blocks.push(style.hang(&verdict(report, topology, manifest, style), 4));
    blocks.retain(|block| !block.is_empty());
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    blocks.join("\n\n") + "\n"
}

fn table(report: &StatusReport, style: Style) -> Vec<String> {
    if report.services().next().is_none() {
        return Vec::new();
    }
    let left = |title| (title, Align::Left);
    let right = |title| (title, Align::Right);
    let mut heading = vec![
        left("THING"),
        left("NODE"),
        right("PORT"),
        right("PID"),
        left("READY"),
        left("URL"),
    ];
    if report.has_roles() {
        heading.insert(1, left("ROLE"));
    }
    let mut table = Table::new(style, &heading);
    for it in report.services() {
        let mut row = vec![
            Cell::from(it.address.local()),
            Cell::from(it.node.as_str()),
            Cell::from(it.port.to_string()),
            Cell::or_dash(it.pid),
            ready(it.ready, report.is_silent(&it.node)),
            Cell::or_dash(it.url.as_deref()),
        ];
        if report.has_roles() {
            row.insert(1, Cell::from(it.role().unwrap_or_default()));
        }
        table.row(row);
    }
    table.lines()
}

/// What is said of each thing in a line of its own: sentences would tear the table apart.
fn sentences(
    report: &StatusReport,
    style: Style,
    said: impl Fn(&ServiceStatus) -> Option<&str>,
) -> Vec<String> {
    let sentences = report.services().filter_map(|service| {
        let text = said(service)?;
        Some(format!("{}: {}", service.address.local(), clean(text)))
    });
    sentences.flat_map(|text| style.hang(&text, 4)).collect()
}

/// What stands on a node that does not answer is neither ready nor not ready.
fn ready(ready: bool, unknown: bool) -> Cell {
    match (ready, unknown) {
        (_, true) => Cell::dressed("unknown", Role::Warning),
        (true, _) => Cell::dressed("yes", Role::Good),
        (false, _) => Cell::dressed("no", Role::Error),
    }
}

fn gpus(report: &StatusReport, style: Style) -> Vec<String> {
    let heading = ["NODE", "GPU", "MEMORY"].map(|title| (title, Align::Left));
    let mut table = Table::new(style, &heading);
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
        if let Some(trouble) = &node.gpu_trouble {
            is_empty = false;
            table.row(vec![
                Cell::from(name.as_str()),
                Cell::dressed("?", Role::Warning),
                Cell::from(clean(&format!("nvidia-smi {trouble}"))),
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
        (GpuMemoryStatus::Partitioned, _) => "split by MIG".to_owned(),
        (GpuMemoryStatus::Untold, _) => "not told".to_owned(),
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1u64 << 30) as f64)
}

fn silent_nodes(report: &StatusReport, style: Style) -> Vec<String> {
    let silent = report.nodes.iter().filter(|(_, node)| !node.reachable);
    silent
        .flat_map(|(name, node)| {
            let unreachable = style.paint(Role::Error, "unreachable");
            let reason = node.reason.as_deref().map(clean).unwrap_or_default();
            let separator = if reason.is_empty() { "" } else { ": " };
            style.hang(&format!("{name}: {unreachable}{separator}{reason}"), 4)
        })
        .collect()
}

fn verdict(report: &StatusReport, topology: &str, manifest: &str, style: Style) -> String {
    if report.converged {
        let lead = style.paint(Role::Good, "converged");
        return format!("{topology}: {lead}.");
    }
    let lead = style.paint(Role::Warning, "not converged");
    let plan = command("plan", manifest);
    format!("{topology}: {lead}. Run `{plan}` to see what differs.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(address: &str, port: u16, pid: Option<u32>) -> ServiceStatus {
        let address: Address = address.parse().unwrap();
        ServiceStatus {
            node: address.node.as_ref().unwrap().to_string(),
            address,
            port,
            pid,
            ready: pid.is_some(),
            url: pid.map(|_| format!("http://192.168.1.76:{port}")),
            details: Map::new(),
            summary: None,
            note: None,
        }
    }

    fn proxy() -> ServiceStatus {
        let details = json!({"policy": "round_robin", "generation": 4, "backends": ["a", "b"]});
        ServiceStatus {
            url: Some("http://192.168.1.75:8192".to_owned()),
            details: details.as_object().unwrap().clone(),
            summary: Some("round_robin to a and b, generation 4".to_owned()),
            ..service("controller/proxy", 8192, Some(4711))
        }
    }

    fn instances(services: impl IntoIterator<Item = ServiceStatus>) -> (String, Services) {
        let services = services.into_iter();
        let named = services.map(|it| (it.address.name.clone().unwrap(), it));
        ("instances".to_owned(), Services::ByName(named.collect()))
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
            services: [
                instances([
                    service("spark-01/instance.a", 8100, Some(963_810)),
                    service("spark-02/instance.b", 8200, Some(51_234)),
                ]),
                ("proxy".to_owned(), Services::Alone(Some(Box::new(proxy())))),
            ]
            .into(),
        }
    }

    #[test]
    fn what_is_converged_fits_on_a_few_lines() {
        insta::assert_snapshot!(render(&report(), "replicated-serving", "r.yaml", Style::plain()), @r"
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
    fn those_that_share_requests_say_which_part_is_theirs() {
        let role = |service: ServiceStatus, role: &str| ServiceStatus {
            details: [("role".to_owned(), role.into())].into_iter().collect(),
            ..service
        };
        let a = role(
            service("spark-01/instance.a", 8100, Some(963_810)),
            "prefill",
        );
        let b = role(service("spark-02/instance.b", 8200, Some(51_234)), "decode");
        let mut report = report();
        report.nodes.clear();
        report.services.extend([instances([a, b])]);
        insta::assert_snapshot!(render(&report, "split", "s.yaml", Style::plain()), @r"
        THING       ROLE     NODE        PORT     PID  READY  URL
        instance.a  prefill  spark-01    8100  963810  yes    http://192.168.1.76:8100
        instance.b  decode   spark-02    8200   51234  yes    http://192.168.1.76:8200
        proxy                controller  8192    4711  yes    http://192.168.1.75:8192

        proxy: round_robin to a and b, generation 4

        split: converged.
        ");
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(document["instances"]["b"]["role"], "decode");
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
        let dead = ServiceStatus {
            note: Some("not running".to_owned()),
            ..service("spark-01/instance.c", 8101, None)
        };
        let a = service("spark-01/instance.a", 8100, Some(963_810));
        let b = service("spark-02/instance.b", 8200, None);
        report.services.extend([instances([a, b, dead])]);
        insta::assert_snapshot!(render(&report, "replicated-serving", "r.yaml", Style::plain()), @r"
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

    #[test]
    fn a_kind_of_which_there_is_nothing_keeps_its_place() {
        let report = StatusReport {
            services: [instances([]), ("proxy".to_owned(), Services::Alone(None))].into(),
            ..StatusReport::default()
        };
        let document = serde_json::to_string(&report).unwrap();
        insta::assert_snapshot!(document, @r#"{"converged":false,"nodes":{},"instances":{},"proxy":null}"#);
        let text = render(&report, "empty", "e.yaml", Style::plain());
        assert_eq!(
            text,
            "empty: not converged. Run `replica plan e.yaml` to see what differs.\n"
        );
    }
}
