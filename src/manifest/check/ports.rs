//! One listener a port.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use super::super::problem::Problem;
use super::Checker;
use super::serving::{SideChannel, side_channels};

/// No two things of one node listen on one port, whatever addresses they listen on: the port is
/// also how a plan tells whose a listener is.
pub(super) fn nobody_shares_one(seen: &Checker<'_>) -> Vec<Problem> {
    let mut taken: HashMap<(&str, u16), (Range<usize>, String)> = HashMap::new();
    let mut out = Vec::new();
    for listener in listeners(seen) {
        let Listener { node, ports, .. } = &listener;
        let shared = ports
            .clone()
            .find(|port| taken.contains_key(&(node, *port)));
        let Some(port) = shared else {
            let holder = || (listener.place.clone(), listener.what.clone());
            taken.extend(ports.clone().map(|port| ((*node, port), holder())));
            continue;
        };
        let (first, owner) = &taken[&(*node, port)];
        let free = free_port(seen, node, port);
        let hint = match listener.variable {
            None => format!("give one of them another port, for example {free}"),
            Some(variable) => {
                format!("give one of them another, for example `env: {{{variable}: {free}}}`")
            }
        };
        out.push(
            Problem::new(format!("port {port} of node `{node}` is taken by {owner}"))
                .at(listener.place)
                .label(format!("{} cannot have it too", listener.what))
                .also(first.clone(), "already used here")
                .hint(hint),
        );
    }
    out
}

/// What listens on ports of a node.
struct Listener<'a> {
    place: Range<usize>,
    node: &'a str,
    ports: RangeInclusive<u16>,
    what: String,
    /// The variable that decides its ports, where no `port:` does.
    variable: Option<&'static str>,
}

/// Everything that listens, in the order of the text, and what listens beside a server after them.
fn listeners<'a>(seen: &Checker<'a>) -> Vec<Listener<'a>> {
    let document = seen.document;
    let mut all = Vec::new();
    let mut beside = Vec::new();
    for (name, instance) in &document.instances {
        let path = ["instances", name.as_str()];
        let (node, port) = (instance.node.as_str(), instance.port.get());
        all.extend(listener(seen, &path, node, port));
        for channel in side_channels(seen, name.as_str(), instance) {
            beside.extend(side_listener(seen, name.as_str(), node, &channel));
        }
    }
    if let Some(proxy) = &document.proxy {
        let (node, port) = (proxy.node.as_str(), proxy.port.get());
        all.extend(listener(seen, &["proxy"], node, port));
    }
    all.sort_by_key(|it| it.place.start);
    all.extend(beside);
    all
}

fn listener<'a>(
    seen: &Checker<'_>,
    path: &[&str],
    node: &'a str,
    port: u16,
) -> Option<Listener<'a>> {
    seen.place(&[path, &["node"]].concat())?;
    let place = seen.place(&[path, &["port"]].concat())?;
    let what = match path {
        ["proxy"] => "the proxy".to_owned(),
        _ => format!("instance `{}`", path[1]),
    };
    Some(Listener {
        place,
        node,
        ports: port..=port,
        what,
        variable: None,
    })
}

fn side_listener<'a>(
    seen: &Checker<'_>,
    name: &str,
    node: &'a str,
    channel: &SideChannel<'_>,
) -> Option<Listener<'a>> {
    let last = channel.port.saturating_add(channel.ranks - 1);
    Some(Listener {
        place: seen.place(&channel.path)?,
        node,
        ports: channel.port..=last,
        what: format!("the side channel of instance `{name}`"),
        variable: Some(channel.variable),
    })
}

fn free_port(seen: &Checker<'_>, node: &str, port: u16) -> u16 {
    let used: Vec<u16> = listeners(seen)
        .into_iter()
        .filter(|it| it.node == node)
        .flat_map(|it| it.ports)
        .collect();
    let above = (port..=u16::MAX).find(|port| !used.contains(port));
    above.unwrap_or(8000)
}
