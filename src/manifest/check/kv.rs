//! Who reads prompts, who writes answers, and how the one gets to the other.

use super::super::problem::Problem;
use super::Checker;
use super::proxy::backends;
use super::serving::argument_of;
use crate::name::{EngineName, InstanceName};
use crate::node::Reach;
use crate::plan::Role;
use crate::resource::instance::{InstanceDeclaration, KvDeclaration, kv};
use crate::resource::proxy::DEFAULT_REACH;

/// What hands over what it has computed does so by a connector, and the proxy carries it.
pub(super) fn roles_hand_over(seen: &Checker<'_>) -> Vec<Problem> {
    let (kv, proxy) = (&seen.document.kv, &seen.document.proxy);
    let instances = seen.document.instances.iter();
    let split = instances.filter(|(_, instance)| !instance.role.is_both());
    let unheard = |(name, instance): (&InstanceName, &InstanceDeclaration)| {
        let (title, hint) = if kv.is_none() && !seen.is_given(&["kv"]) {
            let title = format!("nothing says how a {} instance hands over", instance.role);
            (title, "declare it once for all: `kv: {connector: nixl}`")
        } else if !proxy.as_ref().is_some_and(|it| it.serves_from(name)) {
            let title = format!("instance `{name}` has a role, and no proxy before it");
            let hint = "it is the proxy that sends a prompt to one and the answer's request to \
                        another: put it behind one, or leave `role` out";
            (title, hint)
        } else {
            return None;
        };
        let problem = seen.report(&["instances", name.as_str(), "role"], title)?;
        Some(problem.hint(hint))
    };
    split.filter_map(unheard).collect()
}

/// What reads prompts has somebody who writes the answers, and the other way round.
pub(super) fn each_part_is_done(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(proxy) = &seen.document.proxy else {
        return Vec::new();
    };
    let backends = backends(seen, proxy);
    let does = |part: fn(Role) -> bool| backends.iter().any(|(_, it)| part(it.role));
    let missing = match (does(Role::prefills), does(Role::decodes)) {
        (true, false) => Role::Decode,
        (false, true) => Role::Prefill,
        _ => return Vec::new(),
    };
    let Some((name, instance)) = backends.first() else {
        return Vec::new();
    };
    let title = format!(
        "every instance behind the proxy is a {} instance",
        instance.role
    );
    let hint = format!("give one of them `role: {missing}`, or leave `role` out of all");
    let problem = seen.report(&["instances", name.as_str(), "role"], title);
    problem.map(|it| it.hint(hint)).into_iter().collect()
}

/// How it is handed over is declared once.
pub(super) fn is_said_once(seen: &Checker<'_>) -> Vec<Problem> {
    if !seen.is_given(&["kv"]) {
        return Vec::new();
    }
    let mut out: Vec<Problem> = Vec::new();
    let mut told = Vec::new();
    for (name, instance) in &seen.document.instances {
        let Some((path, _)) = argument_of(seen, name.as_str(), instance, kv::ARGUMENT) else {
            continue;
        };
        if told.contains(&path) {
            continue;
        }
        told.push(path);
        let title = "`kv` says already how what is computed is handed over";
        let problem = seen.report_key(&path, title).zip(seen.key(&["kv"]));
        out.extend(problem.map(|(problem, place)| {
            problem
                .also(place, "said here")
                .hint("keep one of the two: from `kv`, replica renders this argument")
        }));
    }
    out
}

/// What nobody has fetched is held for a while, in the whole seconds that vLLM counts.
pub(super) fn holds_for_a_while(seen: &Checker<'_>) -> Vec<Problem> {
    let lease = seen.document.kv.as_ref().map(|kv| kv.lease.get());
    let Some(lease) = lease.filter(|lease| *lease < 1.0 || lease.fract() != 0.0) else {
        return Vec::new();
    };
    let title = format!("a lease of {lease} s: vLLM counts it in whole seconds, from 1");
    let hint = "write whole seconds, as in `lease: 60s`: as long as a decode instance may take \
                until it fetches";
    let problem = seen.report(&["kv", "lease"], title);
    problem.map(|it| it.hint(hint)).into_iter().collect()
}

/// Others fetch from a node at an address: on the fabric, or where the proxy finds it.
pub(super) fn is_fetched_at_an_address(seen: &Checker<'_>) -> Vec<Problem> {
    if seen.document.kv.is_none() {
        return Vec::new();
    }
    let proxy = seen.document.proxy.as_ref();
    let network = proxy.and_then(|proxy| proxy.reach.as_deref());
    let network = network.unwrap_or(DEFAULT_REACH);
    let nodes = seen.document.nodes.iter();
    let serving = nodes.filter(|(name, _)| {
        let mut instances = seen.document.instances.values();
        instances.any(|instance| instance.node == **name)
    });
    let lost = serving.filter_map(|(name, node)| {
        if KvDeclaration::host(node, network).is_some() || node.ssh == Reach::Local {
            return None;
        }
        let path = ["nodes", name.as_str(), "addresses"];
        let title = format!("node `{name}` has no address at which others fetch from it");
        let hint = format!("declare one: `addresses: {{fabric: …}}`, or one of `{network}`");
        Some(seen.report(&path, title)?.hint(hint))
    });
    lost.collect()
}

/// Two versions of vLLM refuse each other, and in 0.13 the one that fetches ends of it.
pub(super) fn pairs_are_of_one_version(seen: &Checker<'_>) -> Vec<Problem> {
    let (Some(kv), Some(proxy)) = (&seen.document.kv, &seen.document.proxy) else {
        return Vec::new();
    };
    let backends = backends(seen, proxy);
    if !kv.enforce_handshake_compat || backends.iter().all(|(_, it)| it.role.is_both()) {
        return Vec::new();
    }
    let version = |instance: &InstanceDeclaration| {
        let engine = seen.document.engines.get(&instance.engine)?;
        engine.vllm.clone()
    };
    let Some((first, one)) = backends.first() else {
        return Vec::new();
    };
    let other = backends.iter().find(|(_, it)| version(it) != version(one));
    let problem = other.and_then(|(name, _)| {
        let title = format!("instances `{first}` and `{name}` run other builds of vLLM");
        let problem = seen.report(&["instances", name.as_str(), "engine"], title)?;
        let place = seen.place(&["instances", first.as_str(), "engine"])?;
        Some(
            problem
                .label("another build")
                .also(place, format!("what instance `{first}` runs"))
                .hint(
                    "builds of one version hand over to each other; to try others, \
                     `kv: {enforce_handshake_compat: false}`",
                ),
        )
    });
    problem.into_iter().collect()
}

/// The connector's own package has a version, as the engine has one: vLLM does not bring it.
pub(super) fn nixl_is_part_of_the_engine(seen: &Checker<'_>) -> Vec<Problem> {
    if seen.document.kv.is_none() {
        return Vec::new();
    }
    let is_run = |name: &EngineName| {
        let mut instances = seen.document.instances.values();
        instances.any(|instance| instance.engine == *name)
    };
    let engines = seen.document.engines.iter();
    let without = engines.filter(|(name, engine)| {
        let has_it = engine
            .packages
            .keys()
            .any(|package| package.as_str().starts_with("nixl"));
        is_run(name) && engine.simulate.is_none() && !has_it
    });
    let problem = |(name, _): (&EngineName, _)| {
        let path = ["engines", name.as_str(), "packages"];
        let title = format!("engine `{name}` has no NIXL to hand anything over with");
        let problem = seen.report(&path, title)?;
        Some(problem.hint(
            "vLLM does not bring it: add its version, as in `packages: {nixl: 1.0.1}`, and on CUDA 13 \
             `nixl-cu13: 1.0.1` too",
        ))
    };
    without.filter_map(problem).collect()
}
