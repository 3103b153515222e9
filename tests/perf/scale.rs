//! What deciding costs, against the number of instances: is it linear?
//!
//! Made-up nodes answer every question as real ones would, in memory. Measured is what
//! `replica plan` does beside waiting for nodes: reading the manifest, making its things, comparing
//! and deciding, wording the plan. CPU of this process, by the scheduler's own account.
//!
//! `cargo bench --bench scale`; `cargo bench --bench scale -- 50 100` for these sizes alone.

#[path = "../suite/model.rs"]
#[expect(dead_code, reason = "the suite uses more of it")]
mod model;

use std::fmt::Write as _;
use std::fs;

use model::{Model, catalogue, plan, topology};
use replica::plan::Plan;
use replica::resource::{Observation, Topology, Undeclared};
use replica::view::Style;
use replica::view::plan::render;

/// Instances on one node.
const SIZES: [usize; 4] = [50, 100, 200, 400];

/// Instances over nodes.
const FLEET: (usize, usize) = (1_000, 100);

/// How often each is measured, and for how long: the account moves in steps of up to 4 ms.
const RUNS: usize = 7;
const LEAST_MS: f64 = 120.0;

fn main() {
    let asked: Vec<usize> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let sizes = if asked.is_empty() {
        &SIZES
    } else {
        asked.as_slice()
    };
    say(
        "CPU of a plan in ms: median (least-most) of 7; below it, how often what the size before took",
    );
    say(&format!(
        "{:>9} {:>5}  {:<22} {:<22} {:<22} µs per instance",
        "instances", "nodes", "from nothing", "nothing to do", "an argument changed"
    ));
    let mut before: Option<Row> = None;
    for size in sizes {
        let row = Row::of(*size, 1);
        say(&row.shown());
        if let Some(before) = &before {
            say(&row.against(before));
        }
        before = Some(row);
    }
    if asked.is_empty() {
        say(&Row::of(FLEET.0, FLEET.1).shown());
    }
}

#[expect(clippy::print_stdout, reason = "it is a program of its own")]
fn say(line: &str) {
    println!("{line}");
}

/// One size, with the nodes in three states.
struct Row {
    instances: usize,
    nodes: usize,
    costs: [Cost; 3],
}

impl Row {
    fn of(instances: usize, nodes: usize) -> Self {
        let costs = |manifest: &str, observed: &Observation, expected: fn(&Plan) -> bool| {
            let plan = planned(manifest, observed).0;
            assert!(expected(&plan), "another plan: {:?}", plan.changes);
            Cost::of(|| planned(manifest, observed).1.len())
        };
        let declared = manifest(instances, nodes, "0.001");
        let topology = topology(&declared);
        let resources = catalogue(&topology).resources();
        let asked = Undeclared::facts(&topology);
        let mut model = Model::new(&topology);
        let nothing = model.observe(&resources, &asked);
        converge(&mut model, &topology);
        let all = model.observe(&resources, &asked);
        let changed = manifest(instances, nodes, "0.002");
        Self {
            instances,
            nodes,
            costs: [
                costs(&declared, &nothing, |plan| !plan.steps.is_empty()),
                costs(&declared, &all, Plan::is_converged),
                costs(&changed, &all, |plan| !plan.is_converged()),
            ],
        }
    }

    fn shown(&self) -> String {
        let mut line = format!("{:>9} {:>5}  ", self.instances, self.nodes);
        for cost in &self.costs {
            let _ = write!(line, "{:<22} ", cost.shown());
        }
        for cost in &self.costs {
            let _ = write!(
                line,
                " {:.0}",
                1_000.0 * cost.median / self.instances as f64
            );
        }
        line
    }

    fn against(&self, before: &Self) -> String {
        let times = self.instances as f64 / before.instances as f64;
        let mut line = format!("{:>16} ", format!("×{times:.1}"));
        for (now, then) in self.costs.iter().zip(&before.costs) {
            let _ = write!(line, "{:<22} ", format!("×{:.2}", now.median / then.median));
        }
        line
    }
}

/// What one plan costs, in milliseconds of CPU.
struct Cost {
    least: f64,
    median: f64,
    most: f64,
}

impl Cost {
    /// Does it again and again, several times for long enough; the first time warms up.
    fn of(plan: impl Fn() -> usize) -> Self {
        let mut each: Vec<f64> = (0..=RUNS).map(|_| long_enough(&plan)).skip(1).collect();
        each.sort_by(f64::total_cmp);
        Self {
            least: each[0],
            median: each[RUNS / 2],
            most: each[RUNS - 1],
        }
    }

    fn shown(&self) -> String {
        format!("{:.2} ({:.2}-{:.2})", self.median, self.least, self.most)
    }
}

fn long_enough(plan: impl Fn() -> usize) -> f64 {
    let start = cpu_ms();
    let mut times = 0.0;
    loop {
        assert!(std::hint::black_box(plan()) > 0);
        times += 1.0;
        let took = cpu_ms() - start;
        if took >= LEAST_MS {
            return took / times;
        }
    }
}

/// What this process has had of its processor, in milliseconds.
fn cpu_ms() -> f64 {
    let account = fs::read_to_string("/proc/self/schedstat").expect("Linux keeps an account");
    let nanoseconds = account
        .split(' ')
        .next()
        .and_then(|it| it.parse::<f64>().ok());
    nanoseconds.expect("it begins with the time on a processor") / 1e6
}

/// What `replica plan` does once the nodes have answered: the plan, and its words.
fn planned(manifest: &str, observed: &Observation) -> (Plan, String) {
    let topology = topology(manifest);
    let plan = plan(&topology, &catalogue(&topology).resources(), observed);
    let words = render(&plan, "topology.yaml", Style::plain());
    (plan, words)
}

fn converge(model: &mut Model, topology: &Topology) {
    for _ in 0..4 {
        let plan = model.plan(topology);
        if plan.is_converged() {
            return;
        }
        model.perform(&plan);
    }
    panic!("it does not come to rest");
}

/// Real engines, models and servers, as many on each node, behind one proxy.
fn manifest(instances: usize, nodes: usize, share: &str) -> String {
    let mut text = String::from("topology: scale\nnodes:\n");
    for node in 0..nodes {
        let _ = writeln!(
            text,
            "  n{node}: {{ssh: u@10.0.{}.{}, addresses: {{lan: 10.0.{}.{}}}}}",
            node / 200,
            node % 200 + 1,
            node / 200,
            node % 200 + 1
        );
    }
    let _ = writeln!(
        text,
        "engines:\n  cu130:\n    venv: ~/vllm/.venv\n    vllm: 0.13.0+cu130\n    \
         args: {{gpu_memory_utilization: {share}}}\n\
         models:\n  llama: {{repo: meta-llama/Llama-3.1-8B-Instruct}}\n\
         instances:"
    );
    for instance in 0..instances {
        let node = instance % nodes;
        let port = 10_000 + instance / nodes;
        let _ = writeln!(
            text,
            "  i{instance}: {{node: n{node}, port: {port}, engine: cu130, model: llama}}"
        );
    }
    text.push_str("proxy: {node: n0, port: 8192, policy: round_robin, reach: lan}\n");
    text
}
