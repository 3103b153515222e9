//! The proxy and what is behind it.

use super::super::problem::Problem;
use super::super::suggest::listed;
use super::Checker;
use crate::name::InstanceName;
use crate::node::Reach;
use crate::quantity::Seconds;
use crate::resource::instance::InstanceDeclaration;
use crate::resource::proxy::{DEFAULT_REACH, ProxyDeclaration};

/// A proxy has a backend, and each only once.
pub(super) fn has_backends(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let declared = seen.names("instances");
    let Some(backends) = &proxy.backends else {
        let problem = declared.is_empty().then(|| {
            let problem = seen.report_key(
                &["proxy"],
                "the proxy has no backends: there are no instances",
            )?;
            Some(problem.hint("declare one under `instances:`, or remove the proxy"))
        });
        return problem.flatten().into_iter().collect();
    };
    if backends.is_empty() {
        let problem = seen.report(&["proxy", "backends"], "the proxy has no backends");
        let hint = format!(
            "name some of {}, or leave the key out for all of them",
            listed(declared)
        );
        return problem
            .map(|problem| problem.hint(hint))
            .into_iter()
            .collect();
    }
    twice(seen, backends)
}

fn twice(seen: &Checker<'_>, backends: &[InstanceName]) -> Vec<Problem> {
    let mut out = Vec::new();
    for (index, name) in backends.iter().enumerate() {
        let Some(first) = backends[..index].iter().position(|other| other == name) else {
            continue;
        };
        let place = seen.place(&["proxy", "backends", &first.to_string()]);
        let path = ["proxy", "backends", &index.to_string()];
        let problem = seen.report(&path, format!("backend `{name}` is named twice"));
        out.extend(problem.zip(place).map(|(problem, place)| {
            problem
                .also(place, "first named here")
                .hint("keep one of the two")
        }));
    }
    out
}

/// A weight is that of an instance behind the proxy.
pub(super) fn weighs_what_is_behind_it(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let Some(backends) = &proxy.backends else {
        return Vec::new();
    };
    // Of what is not declared at all another rule tells.
    let elsewhere = |name: &&InstanceName| {
        !backends.contains(name) && seen.document.instances.contains_key(*name)
    };
    let weighed = proxy.weights.keys().filter(elsewhere);
    weighed
        .filter_map(|name| {
            let title =
                format!("instance `{name}` is not behind the proxy, and has no weight there");
            let problem = seen.report_key(&["proxy", "weights", name.as_str()], title)?;
            let behind = listed(backends.iter().map(InstanceName::as_str));
            Some(problem.hint(format!(
                "add it to `backends:`, which names {behind}, or remove its weight"
            )))
        })
        .collect()
}

/// The instances behind the proxy.
pub(super) fn backends<'a>(
    seen: &Checker<'a>,
    proxy: &ProxyDeclaration,
) -> Vec<(&'a InstanceName, &'a InstanceDeclaration)> {
    let named = |name: &InstanceName| match &proxy.backends {
        Some(backends) => backends.contains(name),
        None => true,
    };
    let instances = seen.document.instances.iter();
    instances.filter(|(name, _)| named(name)).collect()
}

/// The backends of one proxy serve one model: any of them may get any request.
pub(super) fn serves_one_model(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let backends = backends(seen, proxy);
    let Some((first, one)) = backends.first() else {
        return Vec::new();
    };
    let Some(place) = seen.place(&["instances", first.as_str(), "model"]) else {
        return Vec::new();
    };
    let others = backends
        .iter()
        .filter(|(_, other)| other.model != one.model);
    others
        .filter_map(|(name, other)| {
            let title = format!(
                "the proxy would mix the models `{}` and `{}`",
                one.model, other.model
            );
            let problem = seen.report(&["instances", name.as_str(), "model"], title)?;
            Some(
                problem
                    .label("another model")
                    .also(place.clone(), format!("what instance `{first}` serves"))
                    .hint(
                        "a request may go to any backend; name those of one model in `backends:`",
                    ),
            )
        })
        .collect()
}

/// A backend listens where the proxy can dial it.
pub(super) fn dials_what_listens(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let elsewhere = backends(seen, proxy)
        .into_iter()
        .filter(|(_, instance)| instance.node != proxy.node);
    elsewhere
        .filter_map(|(name, instance)| undialled(seen, proxy, name, instance))
        .collect()
}

fn undialled(
    seen: &Checker<'_>,
    proxy: &ProxyDeclaration,
    name: &InstanceName,
    instance: &InstanceDeclaration,
) -> Option<Problem> {
    let node = seen.document.nodes.get(&instance.node)?;
    let proxy_at = seen.place(&["proxy", "node"])?;
    let from = format!("the proxy is on `{}`", proxy.node);
    let name = name.as_str();
    if let Some(host) = &instance.host {
        let loopback = is_loopback(host);
        let title = format!(
            "the proxy cannot reach `{name}`: {host} is node `{}` itself",
            instance.node
        );
        let problem = loopback
            .then(|| seen.report(&["instances", name, "host"], title))
            .flatten()?;
        return Some(
            problem
                .also(proxy_at, from)
                .hint("leave `host` out, or write an address of its node"),
        );
    }
    let network = proxy.reach.as_deref().unwrap_or(DEFAULT_REACH);
    if node.ssh != Reach::Local || node.addresses.contains_key(network) {
        return None;
    }
    let title = format!(
        "the proxy cannot reach `{name}`: node `{}` listens on its loopback only",
        instance.node
    );
    let problem = seen.report(&["instances", name, "node"], title)?;
    let hint = format!(
        "give `{}` an address: `addresses: {{{network}: …}}`",
        instance.node
    );
    Some(problem.also(proxy_at, from).hint(hint))
}

/// Whether a host is the machine itself, whoever asks.
pub(super) fn is_loopback(host: &str) -> bool {
    let is_one = |address: std::net::IpAddr| address.is_loopback();
    host == "localhost" || host.parse().is_ok_and(is_one)
}

/// Bounds on waiting leave time for something.
pub(super) fn waits_for_a_while(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    let proxy = seen.document.proxy.iter();
    for (key, seconds) in proxy.flat_map(|proxy| {
        let timeouts = &proxy.timeouts;
        let client = timeouts.client.map(|client| ("client", client));
        let gate = timeouts.gate.seconds().map(|gate| ("gate", gate));
        [
            ("connect", timeouts.connect),
            ("idle", timeouts.idle),
            ("queue", timeouts.queue),
            ("drain", timeouts.drain),
        ]
        .into_iter()
        .chain(client)
        .chain(gate)
    }) {
        out.extend(no_time(seen, &["proxy", "timeouts", key], seconds));
    }
    for (name, instance) in &seen.document.instances {
        out.extend(no_time(
            seen,
            &["instances", name.as_str(), "ready_timeout"],
            instance.ready_timeout,
        ));
    }
    out
}

/// Requests wait for a place where there is not one for each.
pub(super) fn waits_for_places(seen: &Checker<'_>) -> Vec<Problem> {
    let proxy = seen.document.proxy.iter();
    let in_vain = proxy.filter(|proxy| proxy.limits.waits_in_vain());
    let problem = in_vain.filter_map(|_| {
        let problem = seen.report_key(&["proxy", "limits", "queue"], NOBODY_WAITS)?;
        Some(problem.hint(NOBODY_WAITS_HINT))
    });
    problem.collect()
}

/// No more instances go on serving than there are.
pub(super) fn keeps_enough(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let instances = seen.document.instances.keys();
    let many = instances.filter(|it| proxy.serves_from(it)).count();
    let least = proxy.rollout.min_available.map(|it| it as usize);
    let too_many = least.filter(|least| *least > many);
    let problem = too_many.and_then(|least| {
        let title = format!(
            "{least} instances cannot serve: {} behind the proxy",
            there_are(many)
        );
        let problem = seen.report(&["proxy", "rollout", "min_available"], title)?;
        Some(problem.hint(format!(
            "say {} or fewer; with {many}, no instance is replaced while it serves",
            many.saturating_sub(1).max(1)
        )))
    });
    problem.into_iter().collect()
}

fn there_are(many: usize) -> String {
    match many {
        1 => "there is one".to_owned(),
        many => format!("there are {many}"),
    }
}

/// What is wrong with a queue where all have a place.
pub(in crate::manifest) const NOBODY_WAITS: &str =
    "nobody waits in this `queue`: there is a place for every request";

/// What to do about it.
pub(in crate::manifest) const NOBODY_WAITS_HINT: &str =
    "say how many requests have one at a time, `in_flight: 256`, or remove `queue`";

/// Reports a time in which nothing can happen.
pub(super) fn no_time(seen: &Checker<'_>, path: &[&str], time: Seconds) -> Option<Problem> {
    if !time.duration().is_zero() {
        return None;
    }
    let key = path.last()?;
    let problem = seen.report(path, format!("`{key}` must be more than 0 seconds"))?;
    Some(problem.hint("leave the key out for the default"))
}
