//! Rehearsals against what is known of them.

mod alone;
mod bounds;
mod predicted;
mod same;
mod split;

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// A topology of simulated servers and one benchmark, `x`.
pub(super) struct Scene {
    engine: &'static str,
    instances: Vec<String>,
    more: String,
    benchmark: String,
}

/// A GB10, simulated.
pub(super) const GB10: &str = "{simulate: {profile: gb10-llama-3.1-8b}}";

impl Scene {
    /// Servers of an engine, each with what is said of it beside its name, behind a proxy where there are
    /// several, and a benchmark.
    pub(super) fn of(engine: &'static str, servers: &[&str], benchmark: &str) -> Self {
        let instances = servers.iter().zip(["a", "b", "c", "d"]).enumerate();
        let instances = instances.map(|(number, (more, name))| {
            let port = 8100 + number;
            let channel = 5600 + number;
            format!(
                "  {name}: {{node: here, port: {port}, engine: e, model: m{more}, \
                 env: {{VLLM_NIXL_SIDE_CHANNEL_PORT: {channel}}}}}"
            )
        });
        Self {
            engine,
            instances: instances.collect(),
            more: String::new(),
            benchmark: benchmark.to_owned(),
        }
    }

    /// The same with more keys of the topology.
    pub(super) fn with(mut self, more: &str) -> Self {
        let _ = writeln!(self.more, "{more}");
        self
    }

    pub(super) fn topology(&self) -> Topology {
        let instances = self.instances.join("\n");
        let Self {
            engine,
            more,
            benchmark,
            ..
        } = self;
        let proxy = match (self.instances.len(), more.contains("proxy:")) {
            (1, _) | (_, true) => "",
            _ => "proxy: {node: here, port: 8192}",
        };
        let text = format!(
            "topology: t\nnodes: {{here: {{ssh: local}}}}\nengines: {{e: {engine}}}\n\
             instances:\n{instances}\n{proxy}\n{more}benchmarks:\n  x: {{{benchmark}}}\n"
        );
        crate::manifest::read(&text).unwrap_or_else(|error| panic!("{text}\n{error:?}"))
    }

    pub(super) fn rehearsed(&self) -> Rehearsal {
        self.rehearsed_with(7)
    }

    pub(super) fn rehearsed_with(&self, seed: u64) -> Rehearsal {
        let name = "x".parse().expect("is a name");
        let low = PrefillSpeed::Low;
        rehearse(&self.topology(), &name, Path::new("."), seed, low).expect("can be rehearsed")
    }
}

/// The only load of a rehearsal.
pub(super) fn only(rehearsal: &Rehearsal) -> &Rehearsed {
    let [only] = rehearsal.loads.as_slice() else {
        panic!("{} loads", rehearsal.loads.len());
    };
    only
}
