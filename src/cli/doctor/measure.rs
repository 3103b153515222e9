//! What `doctor --measure` does beside looking: bytes go from node to node, and servers that run answer a short
//! burst, while it is counted and sampled.

use tokio::task::JoinSet;

use crate::cli::workspace::Workspace;
use crate::doctor::{Link, Load, Measurements, Pair, Server, pairs};
use crate::name::NodeName;
use crate::node::Fleet;
use crate::node::perform::{WayEnd, burst, conditions, measure_ways};
use crate::plan::{Failure, Look};
use crate::resource::{Observation, StateFolder};
use crate::transfer::Measured;
use crate::view::Screen;

/// Measures what there is to measure of these nodes: the links first, for what servers answer goes over them.
pub(super) async fn all(
    workspace: &Workspace,
    observed: &Observation,
    servers: Vec<Server>,
    nodes: &[NodeName],
    screen: &Screen,
) -> Measurements {
    let mut measurements = Measurements::default();
    links(workspace, observed, nodes, screen, &mut measurements).await;
    loads(&workspace.fleet, servers, screen, &mut measurements).await;
    measurements
}

/// Has servers answer a burst: those of one node one after another, the nodes side by side.
async fn loads(
    fleet: &Fleet,
    servers: Vec<Server>,
    screen: &Screen,
    measurements: &mut Measurements,
) {
    let mut by_node = std::collections::BTreeMap::<NodeName, Vec<Server>>::new();
    for server in servers {
        if server.probe.is_none() {
            let Server { name, node, .. } = &server;
            let why = format!(
                "{node} under a load: `{name}` does not serve there; `replica apply`, then `replica doctor --measure`"
            );
            measurements.left_out.push(why);
            continue;
        }
        by_node.entry(server.node.clone()).or_default().push(server);
    }
    let mut loading = JoinSet::new();
    for (node, servers) in by_node {
        let names: Vec<_> = servers.iter().map(|it| format!("`{}`", it.name)).collect();
        screen.note(&format!(
            "having {} on {node} answer for some seconds",
            names.join(", ")
        ));
        let fleet = fleet.clone();
        loading.spawn(async move {
            let mut came = Vec::new();
            for server in servers {
                let load = load(&fleet, &server).await;
                came.push(load.map_err(|failure| unmeasured(&server.words(), failure)));
            }
            came
        });
    }
    for came in loading.join_all().await.into_iter().flatten() {
        match came {
            Ok(load) => measurements.loads.push(load),
            Err(why) => measurements.left_out.push(why),
        }
    }
    measurements
        .loads
        .sort_by(|a, b| a.instance.cmp(&b.instance));
    measurements.left_out.sort();
}

async fn load(fleet: &Fleet, server: &Server) -> Result<Load, Failure> {
    let node = fleet.node(&server.node)?;
    let probe = server.probe.as_ref();
    let probe = probe.ok_or_else(|| Failure::bug("it does not serve"))?;
    let burst = burst(node, probe).await?;
    let seen = conditions(node, std::slice::from_ref(&server.placed), Look::Whole).await?;
    Ok(server.loaded(&burst, &seen))
}

/// That something could not be measured, with why and what to do.
fn unmeasured(what: &str, failure: Failure) -> String {
    let hint = failure
        .hint
        .map_or_else(String::new, |it| format!("; {it}"));
    format!("{what}: {}{hint}", failure.message)
}

/// Measures the ways between nodes, one after another: two at a time would share what they measure.
async fn links(
    workspace: &Workspace,
    observed: &Observation,
    nodes: &[NodeName],
    screen: &Screen,
    measurements: &mut Measurements,
) {
    let answered = nodes.iter().filter(|node| observed.of(node).is_some());
    let answered: Vec<&NodeName> = answered.collect();
    let pairs = pairs(workspace.topology(), &answered);
    if pairs.is_empty() {
        let why = "the links: no two of these nodes declare an address on one network; give both a `fabric` in \
                   `addresses`";
        measurements.left_out.push(why.to_owned());
    }
    for pair in pairs {
        let [one, other] = pair.nodes;
        screen.note(&format!(
            "measuring what goes between {one} and {other} over {}",
            pair.network
        ));
        match between(workspace, observed, &pair).await {
            Ok(links) => measurements.links.extend(links),
            Err(failure) => {
                let what = format!("{one} and {other} over {}", pair.network);
                measurements.left_out.push(unmeasured(&what, failure));
            }
        }
    }
}

async fn between(
    workspace: &Workspace,
    observed: &Observation,
    pair: &Pair<'_>,
) -> Result<[Link; 2], Failure> {
    let end = |index: usize| -> Result<WayEnd<'_>, Failure> {
        let node = pair.nodes[index];
        let address = pair.addresses[index];
        // A name may lead to an address that the node itself does not have.
        let is_address = address.parse::<std::net::IpAddr>().is_ok();
        Ok(WayEnd {
            node: workspace.fleet.node(node)?,
            listen: if is_address { address } else { "0.0.0.0" }.to_owned(),
            dial: address.to_owned(),
            program: workspace.program(node, "measure", observed)?,
        })
    };
    let (one, other) = (end(0)?, end(1)?);
    let measured = measure_ways([&one, &other], pair.is_trusted, StateFolder::EMPTIED);
    let [there, back] = measured.await?;
    let link = |from: usize, to: usize, measured: Measured| Link {
        from: pair.nodes[from].clone(),
        to: pair.nodes[to].clone(),
        network: pair.network.to_owned(),
        gbit_per_s: measured.gbit_per_s,
        rtt_ms: measured.rtt_ms,
        seconds: measured.seconds,
        connections: measured.connections,
        encrypted: !pair.is_trusted,
    };
    Ok([link(0, 1, there), link(1, 0, back)])
}
