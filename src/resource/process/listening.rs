//! Whether something can listen where others look for it.
//!
//! A name may stand for another address on its own node than elsewhere: Debian writes `127.0.1.1 name`
//! into /etc/hosts, and an alias of `~/.ssh/config` is no name at all there. What then listens is
//! healthy by its own word, and nobody reaches it.

use std::net::{IpAddr, Ipv4Addr};

use crate::name::NodeName;
use crate::node::quote;
use crate::plan::{Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::facts::Fact;
use crate::resource::node_files::Listens;

/// The addresses of a machine that are named where another is to be declared.
const NAMED: usize = 4;

/// The fact that [`unreachable()`] and [`unknown`] are read from: none where there is nothing to ask.
pub(in crate::resource) fn fact(host: &str) -> Option<Fact> {
    let is_asked = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !address.is_loopback() && !address.is_unspecified(),
        // Of these a machine tells in another way, and a name is what goes wrong.
        Ok(IpAddr::V6(_)) => false,
        Err(_) => !host.eq_ignore_ascii_case("localhost"),
    };
    is_asked.then(|| {
        let script = format!("name={}\n{}", quote(host), include_str!("listening.sh"));
        Fact::new(format!("address {host}"), script)
    })
}

/// What a machine tells of an address, and of its own.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// Whether it knows what names stand for.
    asked: bool,
    /// What the name stands for there, in the order in which it is tried.
    is: Vec<Ipv4Addr>,
    /// Its own addresses, each with the length of its prefix: nothing where it does not tell.
    has: Vec<(Ipv4Addr, u32)>,
}

impl Told {
    fn read(text: &str) -> Self {
        let mut told = Self::default();
        for line in text.lines() {
            match line.trim_end().split_once(' ') {
                None if line.trim_end() == "asked" => told.asked = true,
                Some(("is", address)) => told.is.extend(address.parse::<Ipv4Addr>()),
                Some(("has", address)) => told.has.extend(own(address)),
                _ => {}
            }
        }
        told
    }

    fn is_own(&self, address: Ipv4Addr) -> bool {
        let bits = |address: Ipv4Addr, length: u32| {
            address.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)
        };
        let mut has = self.has.iter();
        has.any(|(own, length)| bits(*own, *length) == bits(address, *length))
    }

    /// Its addresses that others may reach.
    fn reachable(&self) -> Vec<String> {
        let has = self.has.iter().map(|(address, _)| address);
        let reachable = has.filter(|address| !address.is_loopback() && !address.is_link_local());
        reachable.map(ToString::to_string).collect()
    }
}

/// Reads `10.77.0.11/32`.
fn own(text: &str) -> Option<(Ipv4Addr, u32)> {
    let (address, length) = text.split_once('/')?;
    let length = length.parse().ok().filter(|length| *length <= 32)?;
    Some((address.parse().ok()?, length))
}

/// Why nobody would reach what listens there, or why nothing can.
pub(in crate::resource) fn unreachable(
    node: &NodeName,
    listens: &Listens,
    observed: &Observation,
) -> Option<Reason> {
    let on = &listens.on;
    let told = Told::read(observed.of(node)?.get(&fact(on)?.id));
    let text = match on.parse::<Ipv4Addr>() {
        Ok(address) if told.has.is_empty() || told.is_own(address) => return None,
        Ok(_) => format!("{node} has no address {on}, so that nothing can listen on it"),
        Err(_) => match told.is.first() {
            None if !told.asked => return None,
            None => format!(
                "{node} does not know the name `{on}`, so that nothing there can listen on it"
            ),
            Some(address) if address.is_loopback() && listens.by_others => format!(
                "`{on}` stands for {address} on {node} itself, where nobody else reaches what listens"
            ),
            Some(address) if told.has.is_empty() || told.is_own(*address) => return None,
            Some(address) => format!(
                "`{on}` stands for {address} on {node}, which it does not have, so that nothing can \
                 listen on it"
            ),
        },
    };
    Some(Reason::new(ReasonCode::NoAddress, text).hinted(hint(&told, &listens.network)))
}

/// Why something on a node cannot dial a host: it does not know the name.
pub(in crate::resource) fn unknown(
    node: &NodeName,
    listens: &Listens,
    observed: &Observation,
) -> Option<Reason> {
    let host = &listens.reached_at;
    let told = Told::read(observed.of(node)?.get(&fact(host)?.id));
    if host.parse::<IpAddr>().is_ok() || !told.asked || !told.is.is_empty() {
        return None;
    }
    let text = format!("{node} does not know the name `{host}` that it is to dial");
    let hint = format!(
        "declare the address itself in the `addresses` of the node that it means: `{}`",
        listens.network
    );
    Some(Reason::new(ReasonCode::NoAddress, text).hinted(hint))
}

fn hint(told: &Told, network: &str) -> String {
    let reachable = told.reachable();
    let Some(first) = reachable.first() else {
        return format!(
            "declare an address that others reach it by: `addresses: {{{network}: …}}`"
        );
    };
    let mut hint =
        format!("declare its address as others reach it: `addresses: {{{network}: {first}}}`");
    if reachable.len() > 1 {
        let shown = reachable.len().min(NAMED);
        hint.push_str("; it has ");
        hint.push_str(&reachable[..shown].join(", "));
    }
    hint
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::resource::facts::Question;

    fn told_of(on: &str) -> Told {
        let Question::Script(script) = fact(on).unwrap().question else {
            panic!("it is asked by a script");
        };
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert!(output.status.success());
        Told::read(&String::from_utf8_lossy(&output.stdout))
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        let told = told_of("10.0.0.1");
        let home = Ipv4Addr::LOCALHOST;
        assert!(told.has.is_empty() || told.is_own(home), "{told:?}");
        assert_eq!((told.asked, told.is), (false, vec![]));
    }

    #[test]
    fn nothing_is_asked_where_nothing_can_be_wrong() {
        for on in [
            "127.0.0.1",
            "127.0.1.1",
            "0.0.0.0",
            "::",
            "::1",
            "fd00::1",
            "localhost",
        ] {
            assert_eq!(fact(on), None, "{on}");
        }
    }

    #[test]
    fn prefixes_that_are_a_machines_own_count_as_such() {
        let told = Told::read("has 10.0.0.7/32\nhas 10.9.0.0/16\nhas x/32\nhas 1.2.3.4/99\nis\n");
        assert_eq!(told.has.len(), 2);
        assert!(told.is_own("10.9.8.7".parse().unwrap()));
        assert!(!told.is_own("10.0.0.8".parse().unwrap()));
    }
}
