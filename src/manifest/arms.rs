//! The arms of a comparison: each is the manifest with changes laid over it, read as a manifest is.

use std::path::Path;
use std::rc::Rc;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::check::check;
use super::document::Document;
use super::marks::Marks;
use super::overlay::{overlaid, under};
use super::problem::Problem;
use super::tree::{self, Entry, Node};
use super::typed;
use crate::compare::{Arm, ArmDeclaration, CompareDeclaration, Experiment, Tune, TuneDeclaration};
use crate::name::{ArmName, BenchmarkName};

/// The key of the root by which a manifest declares a comparison.
pub(super) const COMPARE: &str = "compare";

/// What an arm changes of a manifest, by the keys of its root.
const CHANGES: [&str; 4] = ["engines", "instances", "kv", "proxy"];

/// What a comparison means; it is to be believed where nothing is broken. Every arm is read, and what is
/// wrong with any, and not with the manifest itself, is added to `problems`.
pub(super) fn experiment(
    document: &Document,
    root: &Rc<Node>,
    problems: &mut Vec<Problem>,
) -> Option<Experiment> {
    let declared = document.compare.as_ref()?;
    let benchmarks = match &declared.benchmarks {
        Some(named) => named.clone(),
        None => document.benchmarks.keys().cloned().collect(),
    };
    let mut reader = Reader {
        base: Rc::clone(root).without(|key| key == COMPARE),
        benchmarks: &benchmarks,
        problems,
    };
    let arms = entry(root, COMPARE).and_then(|it| entry(&it.value, "arms"))?;
    let mut read: IndexMap<ArmName, Arm> = IndexMap::new();
    for (name, it) in &declared.arms {
        let at = entry(&arms.value, name.as_str())?;
        // The mistakes of the others are told too.
        let Some(arm) = reader.arm(at, it) else {
            continue;
        };
        let is_plain = |name: &ArmName| declared.arms[name].tune.is_none();
        let same = read.iter().find(|(other, known)| {
            known.settings == arm.settings && is_plain(name) && is_plain(other)
        });
        if let Some((same, _)) = same {
            let title = format!("the arms `{same}` and `{name}` are the same topology");
            let hint = "an arm is a set of changes: give one something that the other has not";
            let problem = Problem::new(title).at(at.span.clone());
            reader.problems.push(problem.hint(hint));
        }
        read.insert(name.clone(), arm);
    }
    let first = read.keys().next().cloned();
    let against = match declared.against.as_slice() {
        [] => first.into_iter().collect(),
        named => named.to_vec(),
    };
    Some(Experiment {
        arms: read,
        against,
        rounds: declared.rounds,
        margin: declared.margin.share(),
        decide: declared.decide.as_ref().and_then(|it| it.parse().ok()),
        seed: declared.seed,
        co_resident: declared.co_resident,
        benchmarks,
    })
}

/// The entry of a map by its key.
fn entry<'a>(map: &'a Node, key: &str) -> Option<&'a Entry> {
    map.entries().iter().find(|entry| entry.key == key)
}

struct Reader<'a> {
    /// The manifest without the comparison.
    base: Rc<Node>,
    benchmarks: &'a [BenchmarkName],
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn arm(&mut self, at: &Entry, declared: &ArmDeclaration) -> Option<Arm> {
        // A key that no arm has was reported, and what stands there is no change.
        let changes = Rc::clone(&at.value).without(|key| !CHANGES.contains(&key));
        let root = overlaid(&self.base, &changes);
        let arm = self.read(&root, at, None);
        let tune = declared.tune.as_ref();
        let tune = tune.and_then(|tune| self.tune(at, &root, tune));
        Some(Arm { tune, ..arm? })
    }

    /// The arm with each value of the argument that is tuned: an argument of every instance.
    fn tune(&mut self, at: &Entry, root: &Rc<Node>, declared: &TuneDeclaration) -> Option<Tune> {
        let args = entry(&at.value, "tune").and_then(|it| entry(&it.value, "args"))?;
        let (argument, values) = declared.args.iter().next()?;
        let written = entry(&args.value, argument)?;
        let tree::Value::List(nodes) = &written.value.value else {
            return None;
        };
        let instances = entry(root, "instances")?;
        let mut variants = Vec::new();
        for (value, node) in values.iter().zip(nodes) {
            let argument = under(argument, written, node);
            let changed = under("args", written, &argument);
            let each = instances.value.entries().iter();
            let changed = each.fold(Rc::clone(root), |root, instance| {
                let instance = under(&instance.key, instance, &changed);
                overlaid(&root, &under("instances", instances, &instance))
            });
            variants.push((json!(value), self.read(&changed, at, Some(&declared.by))?));
        }
        Some(Tune {
            argument: argument.clone(),
            by: declared.by.clone(),
            variants,
        })
    }

    /// Reads a whole manifest, with what is measured of all arms, and what this one is tuned by.
    fn read(&mut self, root: &Rc<Node>, at: &Entry, by: Option<&BenchmarkName>) -> Option<Arm> {
        let mut marks = Marks::default();
        let mut found = Vec::new();
        let document = typed::read::<Document>(root, &mut marks, &mut found);
        let read = document.and_then(|document| {
            // The files that it names are those of the manifest, which were looked at.
            let topology = check(&document, root, &marks, None::<&Path>, &mut found)?;
            let settings = settings(&document);
            Some((topology, settings))
        });
        let is_good = found.is_empty();
        for problem in found {
            let is_known = |known: &Problem| {
                known.title() == problem.title() && known.place() == problem.place()
            };
            if !self.problems.iter().any(is_known) {
                self.problems
                    .push(problem.also(at.span.clone(), "in this arm"));
            }
        }
        let (mut topology, settings) = read.filter(|_| is_good)?;
        topology
            .benchmarks
            .retain(|name, _| self.benchmarks.contains(name) || by == Some(name));
        Some(Arm {
            topology,
            settings,
            tune: None,
        })
    }
}

/// What arms are told apart by.
fn settings(document: &Document) -> Value {
    json!({
        "engines": document.engines,
        "instances": document.instances,
        "kv": document.kv,
        "proxy": document.proxy,
    })
}

impl CompareDeclaration {
    /// The benchmarks that it names anywhere, each with the keys that lead to its name.
    pub(super) fn named(&self) -> Vec<(Vec<String>, &BenchmarkName)> {
        let path = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        let listed = self.benchmarks.iter().flatten().enumerate();
        let listed =
            listed.map(|(at, name)| (path(&[COMPARE, "benchmarks", &at.to_string()]), name));
        let tuned = self.arms.iter().filter_map(|(arm, it)| {
            let tune = it.tune.as_ref()?;
            Some((
                path(&[COMPARE, "arms", arm.as_str(), "tune", "by"]),
                &tune.by,
            ))
        });
        listed.chain(tuned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::compare::Experiment;
    use crate::manifest;
    use crate::name::ArmName;
    use crate::plan::Role;

    fn name(text: &str) -> ArmName {
        text.parse().unwrap()
    }

    fn experiment() -> Experiment {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests/valid/compare.yaml");
        manifest::load(&path, manifest::Variables::default())
            .unwrap()
            .experiment
            .unwrap()
    }

    #[test]
    fn an_arm_is_the_manifest_with_its_changes() {
        let experiment = experiment();
        let arm = |name: &str| experiment.arms[&self::name(name)].topology.clone();
        let role = |topology: &crate::resource::Topology, name: &str| {
            topology.instances[&name.parse().unwrap()].role
        };
        assert_eq!(role(&arm("split"), "a"), Role::Prefill);
        assert_eq!(role(&arm("replicated"), "a"), Role::Both);
        assert_eq!(arm("single").proxy.unwrap().backends.unwrap().len(), 1);
        assert_eq!(experiment.arms.get(&name("single")).unwrap().gpus(), 1);
        assert_eq!(arm("split").benchmarks, arm("replicated").benchmarks);
    }

    #[test]
    fn servers_on_cpus_have_no_gpu_that_tells_their_arms_apart() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/cpu-experiment.yaml");
        let experiment = manifest::load(&path, manifest::Variables::default())
            .unwrap()
            .experiment
            .unwrap();
        assert!(experiment.arms.values().all(|arm| arm.gpus() == 0));
    }

    #[test]
    fn a_policy_takes_the_place_of_another_with_its_settings() {
        let least = &experiment().arms[&name("least")].topology;
        let policy = &least.proxy.as_ref().unwrap().policy;
        assert_eq!(
            serde_json::json!(policy),
            serde_json::json!("least_connections")
        );
    }

    #[test]
    fn a_tuned_argument_is_that_of_every_instance() {
        let experiment = experiment();
        let tune = experiment.arms[&name("tuned")].tune.as_ref().unwrap();
        assert_eq!(tune.variants.len(), 2);
        for (value, arm) in &tune.variants {
            for server in arm.topology.instances.values() {
                assert_eq!(server.args.whole("max_num_batched_tokens"), value.as_u64());
            }
        }
    }

    #[test]
    fn what_differs_is_told_by_the_things_that_people_vary() {
        let experiment = experiment();
        let what = |arm: &str, other: &str| {
            let found = experiment.differences(&name(arm), &name(other));
            found.into_iter().map(|it| it.what).collect::<Vec<_>>()
        };
        assert_eq!(what("split", "replicated"), ["roles"]);
        assert_eq!(what("single", "replicated"), ["which instances answer"]);
        assert_eq!(what("least", "split"), ["policy", "roles"]);
        assert_eq!(what("split", "tuned"), ["max_num_batched_tokens", "roles"]);
        let contrasts = experiment.contrasts();
        let told: Vec<_> = contrasts.iter().map(|(a, b)| format!("{a}/{b}")).collect();
        assert_eq!(
            told,
            [
                "single/replicated",
                "single/tuned",
                "replicated/tuned",
                "least/replicated",
                "least/tuned",
                "split/replicated",
                "split/tuned"
            ]
        );
    }
}
