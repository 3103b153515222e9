//! Installing what falls short: one piece of work, in the order of the notebook that this replaces.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::VllmEngine;
use super::installed::{Distribution, Installed, Stands, TORCH};
use super::shortfall::{Fault, Shortfall};
use super::version::{is_same_release, is_version, labelled, pin};
use crate::node::{quote, quote_path};
use crate::plan::effect::{LogReader, RunScript};
use crate::resource::environment::EnvValue;

/// How long an installer may write nothing, neither words nor files, before it counts as stalled.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is asked of an installer, as its requirements.
#[derive(Debug, Default)]
struct Order {
    /// Installed with what they ask for.
    needed: Vec<String>,
    /// Put in the place of what has the right version, or another build of it, and nothing beside.
    forced: Vec<String>,
    /// Torch and its company, after vLLM, which asks for a version of its own.
    after: Vec<String>,
    /// What must stay as it is.
    fixed: Vec<String>,
    /// Folders that are left of interrupted installations of these.
    broken: Vec<String>,
}

/// The work that makes an environment what is declared.
pub(super) fn work(engine: &VllmEngine, found: &Installed) -> RunScript {
    RunScript {
        doing: "installing".to_owned(),
        script: script(engine, found),
        secrets: BTreeMap::new(),
        lock: format!("{}/.replica.lock", engine.venv.trim_end_matches('/')),
        patience: PATIENCE,
        attempts: 2,
        log_reader: LogReader::Installer,
    }
}

/// What is asked for where there is no environment yet.
fn all(engine: &VllmEngine) -> Vec<Shortfall> {
    let missing = |(name, wanted)| Shortfall {
        name,
        found: None,
        wanted,
        fault: Fault::Missing,
    };
    engine.wanted().into_iter().map(missing).collect()
}

impl Order {
    fn of(engine: &VllmEngine, found: &Installed) -> Self {
        let main = engine.distribution.clone();
        let shortfalls = match found.stands {
            Stands::Venv => found.shortfalls(engine),
            Stands::Nothing | Stands::StateFolder => all(engine),
        };
        let mut order = Self::default();
        for shortfall in &shortfalls {
            order.add(shortfall, &main, found);
        }
        let is_main_new = order.needed.contains(&engine_pin(engine));
        if is_main_new {
            // It may bring another torch than the declared one.
            let torch = TORCH.iter().filter_map(|name| {
                let version = engine.wanted().remove(*name)?;
                Some(pin(name, &version))
            });
            order.after = torch.collect();
        } else {
            let kept = TORCH.iter().copied().chain([main.as_str()]);
            let kept = kept.filter(|name| shortfalls.iter().all(|it| it.name != *name));
            let fixed = kept.filter_map(|name| {
                let version = found.one(name).filter(|version| is_version(version))?;
                Some(format!("{name}=={version}"))
            });
            order.fixed = fixed.collect();
        }
        order
    }

    fn add(&mut self, shortfall: &Shortfall, main: &str, found: &Installed) {
        let (name, pin) = (shortfall.name.as_str(), shortfall.pin());
        let is_torch = TORCH.contains(&name);
        match &shortfall.fault {
            Fault::WrongCuda { .. }
            | Fault::NoCommand(_)
            | Fault::RunBy(..)
            | Fault::MovedAside(_) => {
                self.forced.push(pin.clone());
            }
            Fault::Other if name == main && is_other_build(shortfall) => {
                self.forced.push(pin.clone());
            }
            _ if !is_torch => self.needed.push(pin.clone()),
            _ => {}
        }
        if is_torch {
            self.after.push(pin);
        }
        let records = found.distributions.get(name).map_or(&[][..], Vec::as_slice);
        if matches!(shortfall.fault, Fault::Incomplete | Fault::Several(_)) {
            // Without a list of its files, pip refuses to replace it.
            self.broken.extend(records.iter().map(folder));
        }
        let left = found.leftovers.iter();
        let own = left.filter(|left| Some(*left) == found.moved_aside(name));
        self.broken.extend(own.cloned());
    }
}

fn folder(record: &Distribution) -> String {
    record.folder.clone()
}

/// Whether it is the same release in another build: what it asks for is there already.
fn is_other_build(shortfall: &Shortfall) -> bool {
    let found = shortfall.found.as_deref();
    found.is_some_and(|found| is_same_release(found, &shortfall.wanted))
}

/// What an installer is asked for where vLLM itself is new.
fn engine_pin(engine: &VllmEngine) -> String {
    pin(&engine.distribution, &engine.version)
}

fn script(engine: &VllmEngine, found: &Installed) -> String {
    let order = Order::of(engine, found);
    let main = engine.distribution.clone();
    let packages = engine
        .wanted()
        .into_iter()
        .filter(|(name, _)| *name != main);
    let packages: Vec<_> = packages
        .map(|(name, version)| pin(&name, &version))
        .collect();
    let cuda = labelled(&engine.version);
    let parameters = [
        ("r_installer", engine.needed_installer().name().to_owned()),
        ("r_before", end_of(engine.packages_before.as_deref())),
        ("r_seen", found.records.clone()),
        ("r_indexes", engine.extra_indexes.join(" ")),
        ("r_needed", order.needed.join(" ")),
        ("r_forced", order.forced.join(" ")),
        ("r_after", order.after.join(" ")),
        ("r_fixed", order.fixed.join(" ")),
        ("r_declared", packages.join(" ")),
        ("r_main", main),
        (
            "r_cuda",
            cuda.map(|major| major.to_string()).unwrap_or_default(),
        ),
    ];
    let mut script = format!("r_venv={}\n", quote_path(engine.venv.trim_end_matches('/')));
    for (name, value) in parameters {
        let _ = writeln!(script, "{name}={}", quote(&value));
    }
    let broken: Vec<_> = order.broken.iter().map(|folder| quote(folder)).collect();
    let mend = match broken.as_slice() {
        [] => ":".to_owned(),
        broken => format!("rm -rf -- {}", broken.join(" ")),
    };
    let _ = writeln!(script, "r_mend() {{ {mend}; }}");
    script.push_str(&environment(engine));
    script.push('\n');
    script.push_str(include_str!("site.sh"));
    script.push_str(include_str!("install.sh"));
    script
}

/// The last second of a day, as RFC 3339 has it: uv takes a day alone for one of the node's own zone.
fn end_of(day: Option<&str>) -> String {
    day.map(|day| format!("{day}T23:59:59Z"))
        .unwrap_or_default()
}

/// What exports the environment that servers have, as far as it is no secret: libraries may
/// be found by it.
fn environment(engine: &VllmEngine) -> String {
    let plain = engine.env.iter().filter_map(|(name, value)| match value {
        EnvValue::Plain(value) => Some(format!("export {name}={}; ", quote(value))),
        EnvValue::FromEnv(_) => None,
    });
    format!("r_env() {{ {}:; }}\n", plain.collect::<String>())
}
