//! The main job as a stranger meets it: this machine, a simulated engine, the real binary.

mod alone;
mod apart;
mod asking;
mod beginning;
mod changing;
mod choosing;
mod clients;
mod commands;
mod comparing;
mod conflicts;
mod converging;
mod crash_points;
mod crowded;
mod dashboard;
mod destroying;
mod disaggregated;
mod doctoring;
mod draining;
mod dying;
mod endurance;
mod events;
mod formatting;
mod hushed;
mod interrupting;
mod keys;
mod logs;
mod measuring;
mod output;
mod profiling;
mod repairing;
mod results;
mod rolling;
mod secrets;
mod steering;
mod unknown;
mod watching;

/// One server and a proxy, ready as soon as they are started, and nothing to measure.
const SMALL: &str = "\
topology: small
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
proxy: {node: here, port: 8192}
";

/// The same with two servers.
const PAIR: &str = "\
topology: pair
nodes: {here: {ssh: local}}
engines: {demo: {simulate: {profile: fast}, args: {sim_load_seconds: 0}}}
instances:
  a: {node: here, port: 8100, engine: demo, model: demo}
  b: {node: here, port: 8200, engine: demo, model: demo}
proxy: {node: here, port: 8192, policy: round_robin}
";
