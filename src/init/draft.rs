//! The text of a first manifest: what a reader may want to change has a comment that says by what it was
//! chosen.

use std::collections::BTreeSet;

use super::asked::{Asked, Variable};
use super::networks::{Addresses, addresses};
use super::place::Place;
use super::serving::{Serving, serving};
use super::survey::{Link, Surveyed};
use super::yaml;
use crate::english::list;
use crate::name::{Port, TopologyName};
use crate::resource::machine::{Gpu, Memory};

/// The address of the proxy, where it is free.
const PROXY_PORT: u16 = 8192;
/// That of the first server of a node, where it is free.
const SERVER_PORT: u16 = 8100;

/// The widest line of a comment.
const WIDTH: usize = 100;

/// A first manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// What its reader should know before using it, a sentence each.
    pub remarks: Vec<String>,
}

/// The simulated topology of this machine, as the sample has it.
pub fn simulated_here(file: &str, schema: &str) -> Draft {
    const SAMPLE: &str = include_str!("../../manifests/local.yaml");
    let text = SAMPLE
        .replace("../schemas/topology.json", schema)
        .replace("manifests/local.yaml", file)
        .replace(" See replicated.yaml for a real one.", "");
    Draft {
        text,
        remarks: Vec::new(),
    }
}

/// Writes a first manifest for these nodes, of which `left_out` are told with why they are not in it.
/// `file` is what commands call it, quoted, where they need its name. `places` are not empty.
pub fn draft(
    topology: &TopologyName,
    file: Option<&str>,
    schema: &str,
    places: &[Place],
    left_out: &[(String, String)],
    asked: Option<&Asked>,
) -> Draft {
    let addresses = addresses(places);
    let serving = serving(places, asked);
    let mut text = Text::default();
    head(&mut text, file, schema, places, left_out, asked);
    text.line(format!("topology: {topology}"));
    nodes(&mut text, places, &addresses);
    engines(&mut text, &serving, asked);
    models(&mut text, &serving);
    let mut taken = Ports::of(places);
    instances(&mut text, places, &serving, asked, &mut taken);
    proxy(&mut text, places, &serving, &mut taken);
    benchmarks(&mut text);
    Draft {
        text: text.0,
        remarks: serving.remarks,
    }
}

/// What is written so far.
#[derive(Default)]
struct Text(String);

impl Text {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// A section of the manifest begins.
    fn section(&mut self, key: &str) {
        self.line("");
        self.line(format!("{key}:"));
    }

    /// Says something beside what follows, in lines that can be read. What others said has no line of its own.
    fn comment(&mut self, indent: usize, said: &str) {
        let room = WIDTH.saturating_sub(indent + 2);
        let mut line = String::new();
        let words = said.split(|c: char| c.is_whitespace() || c.is_control());
        for word in words.filter(|word| !word.is_empty()) {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                self.line(format!("{:indent$}# {line}", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(format!("{:indent$}# {line}", ""));
    }
}

fn head(
    text: &mut Text,
    file: Option<&str>,
    schema: &str,
    places: &[Place],
    left_out: &[(String, String)],
    asked: Option<&Asked>,
) {
    text.line(format!("# yaml-language-server: $schema={schema}"));
    text.line("#");
    let names: Vec<_> = places.iter().map(|place| place.name.as_str()).collect();
    let beside = asked.map(|asked| format!(", and from {}", asked.source));
    text.comment(
        0,
        &format!(
            "Written by `replica init` from what {} said{}. Nothing was changed there. Each choice says \
             by what it was made: change what you like.",
            list(&names),
            beside.unwrap_or_default()
        ),
    );
    text.line("#");
    let file = file.map(|file| format!(" {file}")).unwrap_or_default();
    for (verb, what) in [
        ("validate", "is it right?"),
        ("plan", "what would change?"),
        ("apply", "make it so, and measure"),
        ("destroy", "stop all of it"),
    ] {
        text.line(format!("#   replica {verb:<8}{file}     {what}"));
    }
    if !left_out.is_empty() {
        text.line("#");
        text.comment(0, "Looked at and not in it:");
        for (host, why) in left_out {
            text.comment(0, &format!("  {host}: {why}"));
        }
    }
    text.line("");
    text.comment(
        0,
        "What all of this is called. What runs carries the name; two manifests of one name are two states \
         of the same thing.",
    );
}

fn nodes(text: &mut Text, places: &[Place], addresses: &[Addresses<'_>]) {
    text.section("nodes");
    for (place, addresses) in places.iter().zip(addresses) {
        text.comment(2, &about(&place.surveyed));
        let ports = ports_in_use(&place.surveyed);
        if !ports.is_empty() {
            text.comment(2, &format!("Ports in use: {ports}."));
        }
        let mut networks: Vec<String> = Vec::new();
        if let Some(lan) = &addresses.lan {
            networks.push(format!("lan: {}", yaml_address(lan)));
        }
        if let Some(link) = addresses.fabric {
            text.comment(2, &format!("The fast link is {}.", about_link(link)));
            networks.push(format!("fabric: {}", link.address));
        }
        text.line(format!("  {}:", place.name));
        text.line(format!("    ssh: {}", yaml::text(&place.reach.to_string())));
        if !networks.is_empty() {
            text.line(format!("    addresses: {{{}}}", networks.join(", ")));
        }
    }
}

/// IPv6 has colons.
fn yaml_address(address: &str) -> String {
    if address.contains(':') {
        yaml::text(address)
    } else {
        address.to_owned()
    }
}

fn about_link(link: &Link) -> String {
    let speed = link
        .speed
        .map(|speed| format!("{} Gb/s", speed as f64 / 1000.0));
    let mtu = link.mtu.map(|mtu| format!("MTU {mtu}"));
    let rdma = link.rdma.as_ref().map(|rdma| format!("RDMA by {rdma}"));
    let words = [Some(link.interface.clone()), speed, mtu, rdma];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What a node is, in a sentence.
fn about(surveyed: &Surveyed) -> String {
    let machine = &surveyed.machine;
    let mut words: Vec<String> = Vec::new();
    words.push(
        gpus(&machine.gpus).unwrap_or_else(|| match &machine.gpu_trouble {
            Some(trouble) => format!("no GPU is seen: nvidia-smi {trouble}"),
            None => "no GPU".to_owned(),
        }),
    );
    if let Some((available, total)) = machine.memory_available.zip(machine.memory_total) {
        let shared = if machine.is_unified() {
            " shared with it"
        } else {
            ""
        };
        words.push(format!("{total} of memory{shared}, {available} to be had"));
    }
    words.extend(surveyed.kind.clone());
    words.extend(surveyed.system.clone());
    words.extend(surveyed.kernel.as_ref().map(|it| format!("kernel {it}")));
    words.join("; ")
}

/// The GPUs in words, those that are alike together.
fn gpus(gpus: &[Gpu]) -> Option<String> {
    let mut kinds: Vec<(&Gpu, usize)> = Vec::new();
    for gpu in gpus {
        let is_like = |other: &Gpu| other.name == gpu.name;
        match kinds.iter_mut().find(|(other, _)| is_like(other)) {
            Some((_, count)) => *count += 1,
            None => kinds.push((gpu, 1)),
        }
    }
    let words = kinds.iter().map(|(gpu, count)| {
        let times = if *count > 1 {
            format!("{count} x ")
        } else {
            String::new()
        };
        let memory = match gpu.memory {
            Memory::Own(memory) => format!(" of {}", memory.total),
            Memory::Unified => String::new(),
            Memory::Partitioned => " (split by MIG)".to_owned(),
            Memory::Untold(_) => " (its memory is not told)".to_owned(),
        };
        format!("{times}{}{memory}", gpu.name)
    });
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| list(&words))
}

/// The ports that servers have, as far as they are of interest here.
fn ports_in_use(surveyed: &Surveyed) -> String {
    let shown = surveyed
        .ports
        .iter()
        .filter(|(port, _)| (1024..32768).contains(*port));
    let words = shown.take(12).map(|(port, owner)| match owner {
        Some(owner) => format!("{port} ({owner})"),
        None => port.to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn engines(text: &mut Text, serving: &Serving<'_>, asked: Option<&Asked>) {
    text.section("engines");
    text.comment(2, &serving.engine_why);
    if let Some(asked) = asked {
        for left in &asked.left {
            text.comment(2, &format!("Not taken from {}: {left}.", asked.source));
        }
    }
    text.line(format!("  {}:", serving.engine));
    for line in &serving.engine_lines {
        text.line(format!("    {line}"));
    }
    if let Some(asked) = asked.filter(|asked| !asked.env.is_empty()) {
        text.line("    env:");
        for (name, value) in &asked.env {
            let value = match value {
                Variable::Plain(it) => yaml::word(it),
                Variable::OfCaller => format!("{{from_env: {name}}}"),
            };
            text.line(format!("      {name}: {value}"));
        }
    }
    if !serving.args.is_empty() {
        text.line("    args:");
        for argument in &serving.args {
            if let Some(why) = &argument.why {
                text.comment(6, why);
            }
            text.line(format!("      {}: {}", argument.name, argument.value));
        }
    }
}

fn models(text: &mut Text, serving: &Serving<'_>) {
    let Some(model) = &serving.model_lines else {
        return;
    };
    text.section("models");
    text.comment(2, &serving.model_why);
    text.line(format!("  {}:", serving.model));
    for line in model {
        text.line(format!("    {line}"));
    }
}

/// The ports of each node that nothing may be put on.
struct Ports(Vec<BTreeSet<u16>>);

impl Ports {
    fn of(places: &[Place]) -> Self {
        let ports = places
            .iter()
            .map(|place| place.surveyed.ports.keys().copied().collect());
        Self(ports.collect())
    }

    /// The first that is free on a node from this one on.
    fn take(&mut self, node: usize, from: u16) -> u16 {
        let taken = &mut self.0[node];
        let free = (from..=u16::MAX).find(|port| !taken.contains(port));
        let port = free.unwrap_or(from);
        taken.insert(port);
        port
    }
}

fn instances(
    text: &mut Text,
    places: &[Place],
    serving: &Serving<'_>,
    asked: Option<&Asked>,
    ports: &mut Ports,
) {
    text.section("instances");
    text.comment(2, "The servers: each is a replica, with all of the model.");
    let from = asked.and_then(|asked| asked.port).and_then(Port::new);
    let from = from.map_or(SERVER_PORT, Port::get);
    let mut number = 0;
    for &at in &serving.nodes {
        let place = &places[at];
        for gpus in serving.servers_on(place) {
            let port = ports.take(at, from);
            let env =
                gpus.map(|it| format!(", env: {{CUDA_VISIBLE_DEVICES: {}}}", yaml::word(&it)));
            text.line(format!(
                "  {}: {{node: {}, port: {port}, engine: {}, model: {}{}}}",
                letter(number),
                place.name,
                serving.engine,
                serving.model,
                env.unwrap_or_default()
            ));
            number += 1;
        }
    }
}

/// `a` to `z`, and then `i27`.
fn letter(number: usize) -> String {
    match u8::try_from(number).ok().filter(|it| *it < 26) {
        Some(number) => char::from(b'a' + number).to_string(),
        None => format!("i{}", number + 1),
    }
}

fn proxy(text: &mut Text, places: &[Place], serving: &Serving<'_>, ports: &mut Ports) {
    let idle = (0..places.len()).find(|at| !serving.nodes.contains(at));
    let at = idle.or(serving.nodes.first().copied()).unwrap_or(0);
    text.line("");
    let place = match idle {
        Some(_) => "a node without a server",
        None => "the first node",
    };
    text.comment(
        0,
        &format!("The one address that clients talk to, on {place}."),
    );
    text.line("proxy:");
    text.line(format!("  node: {}", places[at].name));
    text.line(format!("  port: {}", ports.take(at, PROXY_PORT)));
    text.line("  policy: round_robin        # or least_connections, session, prefix, ...");
}

fn benchmarks(text: &mut Text) {
    text.line("");
    text.comment(
        0,
        "What is measured once everything is ready: `replica explain benchmarks` has what else can be.",
    );
    text.line("benchmarks:");
    text.line("  # One request alone, ten times: what does one user wait for?");
    text.line("  single:");
    text.line("    prompts: {synthetic: {input: 256, output: 100}, seed: 1}");
    text.line("    load: {sequential: 10}");
    text.line("");
    text.line("  # Eight at once: what do all of them get together?");
    text.line("  eight:");
    text.line("    prompts: {synthetic: {input: 256, output: 100}, seed: 1}");
    text.line("    load: {concurrency: 8, requests: 64}");
}
