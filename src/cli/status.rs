//! `replica status`: what runs, and whether it answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::stop::Stop;
use super::workspace::Workspace;
use crate::converge::{Desired as _, assess};
use crate::plan::{Address, Failure, Plan, Readiness, Service, Stand};
use crate::quantity::Seconds;
use crate::resource::machine::{self, Bytes, Gpu, Machine, Memory};
use crate::resource::{Facts, KINDS, Listed, Observation, Undeclared};
use crate::view::Screen;
use crate::view::status::{
    GpuMemoryStatus, GpuStatus, MemoryStatus, NodeStatus, ServiceStatus, Services, StatusReport,
    render,
};
use crate::view::words::duration;

/// Show what runs on the nodes and whether it answers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Exit with 2 when anything is not as declared
    #[arg(long)]
    exit_code: bool,
    /// Look again this often, until Ctrl-C, and show it in place [without a time: 2s]
    #[arg(
        short,
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        conflicts_with = "exit_code"
    )]
    watch: Option<Seconds>,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    if args.watch.is_some() && screen.is_json() {
        let message =
            "--watch is for people: ask `replica status --json` again as often as you like";
        return Err(Error::Usage(message.to_owned()));
    }
    let workspace = Workspace::open_alone(global, args.file.as_deref(), &screen).await?;
    if let Some(every) = args.watch {
        return watch(global, workspace, &screen, every).await;
    }
    let (report, plan) = look(&workspace).await;
    if screen.is_json() {
        screen.document(&report)?;
    } else {
        screen.result(&rendered(&report, &workspace, &screen))?;
    }
    Ok(
        match (&plan.unreachable[..], args.exit_code && !report.converged) {
            ([_, ..], _) => Exit::Unreachable,
            ([], true) => Exit::Pending,
            ([], false) => Exit::Done,
        },
    )
}

/// Shows how everything stands again and again: on a terminal in one place, else whenever it is another.
async fn watch(
    global: &Global,
    mut workspace: Workspace,
    screen: &Screen,
    every: Seconds,
) -> Result<Exit, Error> {
    let mut stop = Stop::new()?;
    let mut shown = String::new();
    let about = format!(
        "A look every {}; Ctrl-C ends it.",
        duration(every.duration())
    );
    loop {
        let (report, _) = tokio::select! {
            biased;
            () = stop.comes() => return Ok(Exit::Done),
            seen = look(&workspace) => seen,
        };
        let text = rendered(&report, &workspace, screen);
        let is_news = text != shown;
        let is_read = if screen.draws_results() {
            screen.redraw(&format!("{text}\n{about}\n"))?
        } else {
            !is_news || screen.piece(&text)?
        };
        shown = text;
        if !is_read || stop.comes_within(every).await {
            return Ok(Exit::Done);
        }
        // Connected anew: a node that was away may be back.
        workspace = workspace.again(global).await?;
    }
}

fn rendered(report: &StatusReport, workspace: &Workspace, screen: &Screen) -> String {
    let name = workspace.topology().name.as_str();
    render(report, name, &workspace.file(), screen.out())
}

/// How everything stands now, and what would be done about it.
async fn look(workspace: &Workspace) -> (StatusReport, Plan) {
    let wish = workspace.as_declared().asking([machine::fact()]);
    let (observed, plan) = workspace.plan(&wish).await;
    let declared = wish.resources();
    let undeclared = Undeclared::beside(workspace.topology(), &declared, &observed).resources;
    let stands = assess(&[declared, undeclared].concat(), &observed).into_iter();
    let serving = stands.filter_map(Stand::serving);
    let services = serving.map(|(address, service)| service_status(address, service, &plan));
    let services: Vec<_> = services.collect();
    let is_ready = services.iter().all(|service| service.ready);
    let report = StatusReport {
        converged: is_ready && plan.is_made(),
        nodes: nodes(&observed),
        services: by_kind(&services),
    };
    (report, plan)
}

fn nodes(observed: &Observation) -> BTreeMap<String, NodeStatus> {
    let status = |facts: &Result<Facts, Failure>| match facts {
        Ok(facts) => node_status(&Machine::read(facts)),
        Err(failure) => NodeStatus {
            reason: Some(failure.message.clone()),
            ..NodeStatus::default()
        },
    };
    observed
        .nodes()
        .iter()
        .map(|(node, facts)| (node.to_string(), status(facts)))
        .collect()
}

fn node_status(machine: &Machine) -> NodeStatus {
    let memory = |(available, total): (Bytes, Bytes)| MemoryStatus {
        available: available.0,
        total: total.0,
    };
    let gpu = |gpu: &Gpu| GpuStatus {
        name: gpu.name.clone(),
        memory: match &gpu.memory {
            Memory::Unified => GpuMemoryStatus::Unified,
            Memory::Partitioned => GpuMemoryStatus::Partitioned,
            Memory::Untold(_) => GpuMemoryStatus::Untold,
            Memory::Own(memory) => GpuMemoryStatus::Own {
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
        gpu_trouble: machine.gpu_trouble.clone(),
    }
}

fn service_status(address: Address, service: Service, plan: &Plan) -> ServiceStatus {
    let trouble = match service.readiness {
        Readiness::Ready => None,
        Readiness::NotReady(reason) => Some(reason),
    };
    ServiceStatus {
        node: service.at.node.to_string(),
        port: service.at.port,
        pid: service.pid,
        ready: trouble.is_none(),
        url: service.url,
        details: service.details,
        summary: service.summary,
        // Of what is planned the plan tells more: why, and what would help.
        note: planned(plan, &address).or(trouble),
        address,
    }
}

/// What is planned for a thing in words, if anything is.
fn planned(plan: &Plan, address: &Address) -> Option<String> {
    let change = plan.changes.iter().find(|c| c.address == *address)?;
    let reasons: Vec<_> = change.why().collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// What serves, where each kind of the list wants its things to be listed.
fn by_kind(services: &[ServiceStatus]) -> IndexMap<String, Services> {
    let mut listed = IndexMap::new();
    for kind in KINDS {
        let is_of = |service: &&ServiceStatus| service.address.kind == kind.name();
        let mut own = services.iter().filter(is_of).cloned();
        let (key, own) = match kind.listed() {
            Listed::Nowhere => continue,
            Listed::ByName(key) => (key, Services::ByName(by_name(own))),
            Listed::Alone => (kind.name(), Services::Alone(own.next().map(Box::new))),
        };
        listed.insert(key.to_owned(), own);
    }
    listed
}

/// What is declared comes first and has its name; what else is called so goes by its whole address.
fn by_name(services: impl Iterator<Item = ServiceStatus>) -> BTreeMap<String, ServiceStatus> {
    let mut named = BTreeMap::new();
    for service in services {
        let address = &service.address;
        let name = address.name.clone().unwrap_or_else(|| address.local());
        let name = if named.contains_key(&name) {
            address.to_string()
        } else {
            name
        };
        named.insert(name, service);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Change, NodePort, Reason, ReasonCode};

    fn service(address: &str, trouble: Option<&str>, plan: &Plan) -> ServiceStatus {
        let address: Address = address.parse().unwrap();
        let at = NodePort::new(address.node.as_ref().unwrap(), 8100);
        let readiness = match trouble {
            None => Readiness::Ready,
            Some(trouble) => Readiness::NotReady(trouble.to_owned()),
        };
        let service = Service {
            readiness,
            ..Service::stopped(at)
        };
        service_status(address, service, plan)
    }

    fn document(addresses: &[&str]) -> String {
        let plan = Plan::default();
        let services = addresses.iter().map(|it| service(it, None, &plan));
        let listed = by_kind(&services.collect::<Vec<_>>());
        serde_json::to_value(listed).unwrap().to_string()
    }

    #[test]
    fn each_kind_says_where_its_things_are_listed() {
        insta::assert_snapshot!(document(&[]), @r#"{"instances":{},"proxy":null}"#);
        insta::assert_snapshot!(document(&["n/proxy", "n/instance.b", "m/instance.a"]), @r#"{"instances":{"a":{"node":"m","port":8100,"pid":null,"ready":true,"url":null},"b":{"node":"n","port":8100,"pid":null,"ready":true,"url":null}},"proxy":{"node":"n","port":8100,"pid":null,"ready":true,"url":null}}"#);
        insta::assert_snapshot!(document(&["n/instance.a", "m/instance.a"]), @r#"{"instances":{"a":{"node":"n","port":8100,"pid":null,"ready":true,"url":null},"m/instance.a":{"node":"m","port":8100,"pid":null,"ready":true,"url":null}},"proxy":null}"#);
        insta::assert_snapshot!(document(&["n/program", "n/telescope.a"]), @r#"{"instances":{},"proxy":null}"#);
    }

    #[test]
    fn what_is_planned_is_told_before_what_was_seen() {
        let address: Address = "n/instance.a".parse().unwrap();
        let reasons = vec![Reason::new(ReasonCode::Gone, "its process is gone")];
        let plan = Plan {
            changes: vec![Change::new(&address, Action::Create, reasons)],
            ..Plan::default()
        };
        let note = |address, trouble, plan| service(address, trouble, plan).note;
        let trouble = Some("it does not run");
        assert_eq!(
            note("n/instance.a", trouble, &plan).as_deref(),
            Some("its process is gone")
        );
        assert_eq!(note("n/instance.b", trouble, &plan).as_deref(), trouble);
        assert_eq!(note("n/instance.b", None, &plan), None);
    }
}
