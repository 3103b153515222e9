//! One listener a port.

use std::collections::HashMap;

use super::super::problem::Problem;
use super::Checker;

/// No two things of one node listen on one port, whatever addresses they listen on: the port is
/// also how a plan tells whose a listener is.
pub(super) fn nobody_shares_one(seen: &Checker<'_>) -> Vec<Problem> {
    let mut taken = HashMap::new();
    let mut out = Vec::new();
    for (place, node, port, what) in listeners(seen) {
        let Some((first, owner)) = taken.get(&(node, port)) else {
            taken.insert((node, port), (place, what));
            continue;
        };
        let free = free_port(seen, node, port);
        out.push(
            Problem::new(format!("port {port} of node `{node}` is taken by {owner}"))
                .at(place)
                .label(format!("{what} cannot have it too"))
                .also(std::ops::Range::clone(first), "already used here")
                .hint(format!("give one of them another port, for example {free}")),
        );
    }
    out
}

type Listener<'a> = (std::ops::Range<usize>, &'a str, u16, String);

/// Everything that listens, in the order of the text.
fn listeners<'a>(seen: &Checker<'a>) -> Vec<Listener<'a>> {
    let document = seen.document;
    let mut all = Vec::new();
    for (name, instance) in &document.instances {
        let path = ["instances", name.as_str()];
        all.extend(listener(
            seen,
            &path,
            instance.node.as_str(),
            instance.port.get(),
        ));
    }
    if let Some(proxy) = &document.proxy {
        all.extend(listener(
            seen,
            &["proxy"],
            proxy.node.as_str(),
            proxy.port.get(),
        ));
    }
    all.sort_by_key(|(place, ..)| place.start);
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
    Some((place, node, port, what))
}

fn free_port(seen: &Checker<'_>, node: &str, port: u16) -> u16 {
    let used: Vec<u16> = listeners(seen)
        .into_iter()
        .filter(|(_, other, ..)| *other == node)
        .map(|(_, _, port, _)| port)
        .collect();
    let above = (port..=u16::MAX).find(|port| !used.contains(port));
    above.unwrap_or(8000)
}
