//! `replica status`: what runs, and whether it answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::node::perform;
use crate::plan::{Action, Failure, Plan};
use crate::proxy::control::BackendState;
use crate::resource::instance::Instance;
use crate::resource::machine::{self, Bytes, Gpu, Machine};
use crate::resource::process::Mark;
use crate::resource::proxy::Proxy;
use crate::resource::{Answers, Observation, Resource};
use crate::view::status::{
    GpuMemoryStatus, GpuStatus, InstanceStatus, MemoryStatus, NodeStatus, ProxyStatus,
    StatusReport, render,
};

/// Show what runs on the nodes and whether it answers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Exit with 2 when anything is not as declared
    #[arg(long)]
    exit_code: bool,
}

/// How long a server may take with each answer: a token may stand behind others' requests.
const ANSWER: Duration = Duration::from_secs(10);

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let workspace = Workspace::open(global, args.file.as_deref(), &screen).await?;
    let catalogue = workspace.catalogue();
    let wish = workspace.as_declared().asking([machine::question()]);
    let (seen, plan) = workspace.plan(&wish).await;
    let mut report = StatusReport {
        converged: false,
        nodes: nodes(&seen),
        instances: [].into(),
        proxy: None,
    };
    for instance in &catalogue.instances {
        let status = instance_status(&workspace, instance, &seen, &plan).await;
        report.instances.insert(instance.name().to_string(), status);
    }
    if let Some(proxy) = &catalogue.proxy {
        report.proxy = Some(proxy_status(proxy, &seen, &plan));
    }
    let is_ready = report.instances.values().all(|i| i.ready)
        && report.proxy.as_ref().is_none_or(|proxy| proxy.ready);
    let is_made = plan
        .changes
        .iter()
        .all(|c| c.is_measurement() || c.action == Action::Keep);
    report.converged = is_ready && is_made && plan.unreachable.is_empty();
    let name = workspace.topology().name.as_str();
    if screen.is_json() {
        screen.document(&report)?;
    } else {
        screen.result(&render(&report, name, &workspace.file(), screen.out()))?;
    }
    Ok(
        match (&plan.unreachable[..], args.exit_code && !report.converged) {
            ([_, ..], _) => Exit::Unreachable,
            ([], true) => Exit::Pending,
            ([], false) => Exit::Done,
        },
    )
}

fn nodes(seen: &Observation) -> BTreeMap<String, NodeStatus> {
    let status = |answers: &Result<Answers, Failure>| match answers {
        Ok(answers) => node_status(&Machine::read(answers)),
        Err(failure) => NodeStatus {
            reason: Some(failure.message.clone()),
            ..NodeStatus::default()
        },
    };
    seen.nodes()
        .iter()
        .map(|(node, answers)| (node.to_string(), status(answers)))
        .collect()
}

fn node_status(machine: &Machine) -> NodeStatus {
    let memory = |(available, total): (Bytes, Bytes)| MemoryStatus {
        available: available.0,
        total: total.0,
    };
    let gpu = |gpu: &Gpu| GpuStatus {
        name: gpu.name.clone(),
        memory: match gpu.memory {
            None => GpuMemoryStatus::Unified,
            Some(memory) => GpuMemoryStatus::Own {
                used: memory.used.0,
                total: memory.total.0,
            },
        },
    };
    NodeStatus {
        reachable: true,
        reason: None,
        memory: machine
            .memory_available
            .zip(machine.memory_total)
            .map(memory),
        gpus: Some(machine.gpus.iter().map(gpu).collect()),
    }
}

async fn instance_status(
    workspace: &Workspace,
    instance: &Arc<Instance>,
    seen: &Observation,
    plan: &Plan,
) -> InstanceStatus {
    let mark = instance.running_mark(seen);
    let trouble = match &mark {
        Some(mark) => trouble(workspace, instance, mark).await,
        None => Some("it does not run".to_owned()),
    };
    InstanceStatus {
        node: instance.node().to_string(),
        port: instance.port().get(),
        pid: instance.leader(seen).map(|leader| leader.pid),
        ready: trouble.is_none(),
        url: mark
            .is_some()
            .then(|| format!("http://{}", instance.authority())),
        note: planned(plan, instance.as_ref()).or(trouble),
    }
}

/// Why a server that runs cannot be believed to serve, if it cannot.
async fn trouble(workspace: &Workspace, instance: &Instance, mark: &Mark) -> Option<String> {
    let node = workspace.fleet.node(instance.node()).ok()?;
    let healthy = perform::check(node, &instance.probe(mark), ANSWER).await;
    healthy.err().map(|failure| failure.message)
}

fn proxy_status(proxy: &Arc<Proxy>, seen: &Observation, plan: &Plan) -> ProxyStatus {
    let leader = proxy.leader(seen);
    let status = proxy.status(seen);
    let ready: Vec<_> = status
        .iter()
        .flat_map(|status| &status.backends)
        .filter(|(_, backend)| backend.state == BackendState::Ready)
        .map(|(name, _)| name.clone())
        .collect();
    ProxyStatus {
        node: proxy.node().to_string(),
        port: proxy.port().get(),
        pid: leader.as_ref().map(|leader| leader.pid),
        ready: !ready.is_empty(),
        url: leader.map(|_| format!("http://{}", proxy.authority())),
        policy: proxy.policy(),
        generation: status
            .and_then(|status| status.config)
            .map(|config| config.generation),
        backends: ready,
        note: planned(plan, proxy.as_ref()),
    }
}

/// Returns in words what is planned for a thing, if anything is.
fn planned(plan: &Plan, thing: &dyn Resource) -> Option<String> {
    let change = plan
        .changes
        .iter()
        .find(|c| c.address == *thing.address())?;
    let reasons: Vec<_> = change.why().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}
