//! A22: replicas that answer the same prompts differently.
//!
//! # What must hold
//!
//! Where the likeliest token is always chosen, an answer follows from the weights and the prompt:
//! two servers of one specification say the same. It holds exactly on one machine for one request
//! alone. With others in its batch, vLLM's kernels may add numbers in another order, and where two
//! tokens are about as likely the other one may win; all after it is another text. So some answers
//! differ on healthy replicas, the more the longer they are, and that is a warning with its share.
//!
//! What no rounding explains: (nearly) all prompts are answered differently by two replicas of one
//! node while each says the same whenever it is asked the same again. Then they do not compute the
//! same thing: another revision of the weights, a damaged file, a broken kernel. That is an error,
//! as both are measured as if they were one. On two nodes it is an error only where both are known to
//! have the same GPUs: other hardware has other kernels, and long answers may all differ by that.
//!
//! # When it is silent
//!
//! Where tokens are drawn (but for the canaries, which are greedy and alone, and of which a difference
//! is a warning), where an instance's specification is not known or is another than the
//! others' (then nothing has to hold), where instances have roles and make an answer together, and
//! where no prompt was answered by two of them. The warm-up asks every instance the same, so that
//! there is something to hold together even where each prompt is sent once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Anomaly, Case, Finding, Rule, Severity, round};
use crate::results::Canary;

pub(super) const RULE: Rule = Rule {
    id: "A22",
    name: "different answers",
    check,
};

/// As many prompts as must be answered by both before all of them say anything.
const ENOUGH: usize = 4;

/// As much of the prompts as is nearly all of them.
const NEARLY_ALL: f64 = 0.9;

/// The texts of each prompt, by the replica that answered: a digest for each time that it did.
type Answers<'a> = BTreeMap<Asked, BTreeMap<&'a str, Vec<&'a str>>>;

/// What was asked: prompts of the warm-up are held together with those of the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    WarmingUp(usize),
    Measuring(u32),
}

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let alike = alike(case.provenance);
    let mut found: Vec<Anomaly> = of_canaries(case, &alike).into_iter().collect();
    if case.job.sampling.is_greedy() {
        found.extend(of_answers(case, &alike));
    }
    found
}

/// The canary is alone and always greedy, whatever the job asks: one server says the same before and
/// after, and so do two of one sort.
fn of_canaries(case: &Case<'_>, alike: &[&str]) -> Option<Anomaly> {
    let canaries = case.canaries;
    let text = |shown: &'_ [Canary], name: &str| {
        let own = shown.iter().find(|it| it.instance == name);
        own.and_then(|it| it.text_sha256.clone())
    };
    let hint = "`keep: answers` shows what it says; look at its log, and at the memory of its GPU";
    for instance in &case.job.instances {
        let name = &instance.name;
        let both = text(&canaries.before, name).zip(text(&canaries.after, name));
        let Some((before, after)) = both.filter(|(before, after)| before != after) else {
            continue;
        };
        let message = format!(
            "alone, `{name}` answered the canary before the measurement otherwise than after it, and \
             chose the likeliest token each time"
        );
        let evidence = json!({"before_sha256": short(&before), "after_sha256": short(&after)});
        let cause = "two tokens are about as likely, or it no longer computes what it did";
        let anomaly = RULE.speak(Severity::Warning, finding(message, evidence, cause, hint));
        return Some(anomaly.of_replica(name));
    }
    let mut pairs = alike.windows(2);
    pairs.find_map(|pair| {
        let (one, other) = (pair[0], pair[1]);
        let texts = text(&canaries.before, one).zip(text(&canaries.before, other));
        let (first, second) = texts.filter(|(first, second)| first != second)?;
        let message = format!(
            "alone, `{one}` and `{other}` answer the canary differently, and choose the likeliest \
             token each time"
        );
        let evidence = json!({"one_sha256": short(&first), "other_sha256": short(&second)});
        let cause = "they have other GPUs or kernels, or do not compute the same: other weights, a \
                     damaged file";
        are_of_one_sort(case, (one, other))
            .then(|| RULE.speak(Severity::Warning, finding(message, evidence, cause, hint)))
    })
}

/// As much of a digest as tells two apart.
fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn of_answers(case: &Case<'_>, alike: &[&str]) -> Vec<Anomaly> {
    let answers = answers(case, alike);
    let pairs = alike.iter().enumerate();
    let pairs = pairs.flat_map(|(at, one)| alike[at + 1..].iter().map(move |other| (*one, *other)));
    pairs
        .filter_map(|pair| Pair::of(pair, &answers))
        .filter(|pair| pair.differ > 0)
        .map(|pair| pair.explained(&answers, are_of_one_sort(case, pair.names)))
        .collect()
}

/// The instances that are of one specification, but for where they listen; none where they are of
/// several, or where any of them is not known.
fn alike(provenance: &Value) -> Vec<&str> {
    let instances = provenance["instances"].as_array();
    let known = instances.into_iter().flatten().map(|instance| {
        let mut spec = instance["spec"].as_object()?.clone();
        spec.remove("listen");
        let role = spec.get("args").and_then(|it| it.get("kv_transfer_config"));
        let has_role = role.is_some_and(|role| !role.is_null());
        (!has_role).then_some((instance["name"].as_str()?, spec))
    });
    let Some(known) = known.collect::<Option<Vec<_>>>() else {
        return Vec::new();
    };
    let is_one = known.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let names = known.into_iter().map(|(name, _)| name);
    if is_one { names.collect() } else { Vec::new() }
}

/// Whether two replicas are known to compute on the same sort of hardware: on one node, or with GPUs
/// of the same names and drivers.
fn are_of_one_sort(case: &Case<'_>, names: (&str, &str)) -> bool {
    let instances = case.provenance["instances"].as_array();
    let node = |name: &str| {
        let mut instances = instances.into_iter().flatten();
        let found = instances.find(|instance| instance["name"] == name)?;
        found["node"].as_str()
    };
    let Some(nodes) = node(names.0).zip(node(names.1)) else {
        return false;
    };
    let gpus = |node: &str| {
        let node = case.conditions.before.get(&node.parse().ok()?)?;
        let gpus = node.gpus.iter();
        let gpus: Vec<_> = gpus.map(|gpu| (&gpu.name, &gpu.driver)).collect();
        (!gpus.is_empty()).then_some(gpus)
    };
    nodes.0 == nodes.1 || (gpus(nodes.0).is_some() && gpus(nodes.0) == gpus(nodes.1))
}

/// Everything that was answered whole.
fn answers<'a>(case: &Case<'a>, alike: &[&str]) -> Answers<'a> {
    let mut answers = Answers::new();
    let mut add = |asked, instance: &'a str, text: Option<&'a str>| {
        if let Some(text) = text.filter(|_| alike.contains(&instance)) {
            let of_prompt = answers.entry(asked).or_default();
            of_prompt.entry(instance).or_default().push(text);
        }
    };
    for warmed in &case.warmup.instances {
        for (place, request) in warmed.requests.iter().enumerate() {
            let text = request.text_sha256.as_deref();
            add(Asked::WarmingUp(place), &warmed.instance, text);
        }
    }
    for record in case.records.iter().filter(|record| record.is_ok()) {
        if let (Some(number), Some(instance)) = (record.prompt_number, &record.instance) {
            let text = record.text_sha256.as_deref();
            add(Asked::Measuring(number), instance, text);
        }
    }
    answers
}

/// Two replicas, and the prompts that both answered.
struct Pair<'a> {
    names: (&'a str, &'a str),
    both: usize,
    /// Of those, the prompts of which no answer of one was an answer of the other.
    differ: usize,
}

impl<'a> Pair<'a> {
    fn of(names: (&'a str, &'a str), answers: &Answers<'_>) -> Option<Self> {
        let both = answers.values().filter_map(|of_prompt| {
            let one: BTreeSet<_> = of_prompt.get(names.0)?.iter().collect();
            let other: BTreeSet<_> = of_prompt.get(names.1)?.iter().collect();
            Some(one.is_disjoint(&other))
        });
        let both: Vec<bool> = both.collect();
        (!both.is_empty()).then(|| Self {
            names,
            both: both.len(),
            differ: both.iter().filter(|differs| **differs).count(),
        })
    }

    fn share(&self) -> f64 {
        self.differ as f64 / self.both as f64
    }

    fn explained(&self, answers: &Answers<'_>, of_one_sort: bool) -> Anomaly {
        let (one, other) = self.names;
        let (again, repeats) = [one, other]
            .map(|name| repeats(name, answers))
            .into_iter()
            .fold((0, 0), |(a, b), (same, all)| (a + same, b + all));
        let repeat_alike = [one, other]
            .iter()
            .all(|name| agrees_with_itself(name, answers));
        let are_nearly_all = self.both >= ENOUGH && self.share() >= NEARLY_ALL;
        let is_error = are_nearly_all && repeat_alike && of_one_sort;
        let (differ, both) = (self.differ, self.both);
        let message = format!(
            "`{one}` and `{other}` answered {differ} of {both} prompts differently, and chose the \
             likeliest token each time"
        );
        let evidence = json!({
            "prompts_that_both_answered": both,
            "answered_differently": differ,
            "share": round(self.share()),
            "asked_again_of_one_replica": repeats,
            "answered_again_the_same": again,
        });
        if is_error {
            let cause = "they do not compute the same: other weights, a damaged file, another \
                         quantisation or kernel";
            let hint = "compare the model's revision, the packages and the GPUs of both in the \
                        result; `keep: answers` shows what they say";
            return RULE.speak(Severity::Error, finding(message, evidence, cause, hint));
        }
        let cause = "the order of additions hangs on what is in a batch, and where two tokens are \
                     about as likely the other one may win";
        let hint =
            "`keep: answers` shows what they say; with `load: {sequential: N}` each is alone";
        RULE.speak(Severity::Warning, finding(message, evidence, cause, hint))
    }
}

fn finding(message: String, evidence: Value, cause: &str, hint: &str) -> Finding {
    Finding {
        message,
        evidence,
        cause: cause.to_owned(),
        hint: hint.to_owned(),
    }
}

/// How often a replica was asked what it had answered before, and how often it said the same.
fn repeats(name: &str, answers: &Answers<'_>) -> (usize, usize) {
    let of_it = answers.values().filter_map(|of_prompt| of_prompt.get(name));
    let again = of_it.flat_map(|texts| texts.windows(2));
    let again: Vec<bool> = again.map(|pair| pair[0] == pair[1]).collect();
    (again.iter().filter(|same| **same).count(), again.len())
}

/// Whether a replica said the same each time but for a few: one that was never asked twice shows
/// nothing.
fn agrees_with_itself(name: &str, answers: &Answers<'_>) -> bool {
    let (same, all) = repeats(name, answers);
    all > 0 && same as f64 >= NEARLY_ALL * all as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{GpuConditions, NodeConditions};
    use crate::results::Record;
    use crate::verdict::scene::{Scene, batch, scene};

    /// Two replicas of one specification, and what each said to eight prompts in two rounds.
    fn said(text: impl Fn(&str, u32, u32) -> String) -> Scene {
        let mut records = Vec::new();
        for round in 0..4 {
            for record in batch([1000.0; 4], [1000.0; 4]) {
                // In turn: each prompt is answered by both, twice.
                let is_first = (record.index + round) % 2 == 0;
                let instance = if is_first { "a" } else { "b" };
                records.push(Record {
                    text_sha256: Some(text(instance, record.index, round)),
                    instance: Some(instance.to_owned()),
                    round,
                    ..record
                });
            }
        }
        let mut scene = scene(records);
        let spec = |port: u16| json!({"model": "m", "args": {}, "listen": {"port": port}});
        scene.provenance = json!({"instances": [
            {"name": "a", "node": "n", "spec": spec(1)},
            {"name": "b", "node": "n", "spec": spec(2)},
        ]});
        scene
    }

    fn found(scene: &Scene) -> Option<Anomaly> {
        scene.judge().into_iter().find(|it| it.id == "A22")
    }

    #[test]
    fn the_same_answers_say_nothing() {
        assert_eq!(found(&said(|_, prompt, _| prompt.to_string())), None);
    }

    #[test]
    fn all_answers_of_a_replica_that_is_sure_of_them_are_an_error() {
        let scene = said(|instance, prompt, _| format!("{instance}{prompt}"));
        let anomaly = found(&scene).unwrap();
        assert_eq!(anomaly.severity, Severity::Error);
        assert_eq!(anomaly.evidence["answered_differently"], 8);
        assert_eq!(anomaly.evidence["asked_again_of_one_replica"], 16);
        assert!(
            anomaly
                .message
                .starts_with("`a` and `b` answered 8 of 8 prompts")
        );
    }

    #[test]
    fn on_hardware_that_may_be_another_they_are_a_warning() {
        let mut scene = said(|instance, prompt, _| format!("{instance}{prompt}"));
        scene.provenance["instances"][1]["node"] = "other".into();
        assert_eq!(found(&scene).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn with_the_same_gpus_on_two_nodes_they_are_an_error_again() {
        let mut scene = said(|instance, prompt, _| format!("{instance}{prompt}"));
        scene.provenance["instances"][1]["node"] = "other".into();
        let known = |name: &str| NodeConditions {
            gpus: vec![GpuConditions {
                name: Some(name.to_owned()),
                ..GpuConditions::default()
            }],
            ..NodeConditions::default()
        };
        let before = &mut scene.conditions.before;
        before.insert("n".parse().unwrap(), known("NVIDIA GB10"));
        before.insert("other".parse().unwrap(), known("NVIDIA GB10"));
        assert_eq!(found(&scene).unwrap().severity, Severity::Error);
        let before = &mut scene.conditions.before;
        before.insert("other".parse().unwrap(), known("NVIDIA L4"));
        assert_eq!(found(&scene).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn a_replica_that_differs_from_itself_is_a_warning() {
        let scene = said(|instance, prompt, round| format!("{instance}{prompt}{round}"));
        assert_eq!(found(&scene).unwrap().severity, Severity::Warning);
    }

    #[test]
    fn some_answers_are_a_warning_with_their_share() {
        let scene = said(|instance, prompt, _| match prompt {
            3 => instance.to_owned(),
            _ => prompt.to_string(),
        });
        let anomaly = found(&scene).unwrap();
        assert_eq!(anomaly.severity, Severity::Warning);
        assert_eq!(anomaly.evidence["share"], 0.13);
    }

    #[test]
    fn it_is_silent_where_nothing_has_to_hold() {
        let differ = || said(|instance, prompt, _| format!("{instance}{prompt}"));
        let mut drawn = differ();
        drawn.job.sampling.temperature = Some(0.7);
        assert_eq!(found(&drawn), None);
        let mut other = differ();
        other.provenance["instances"][1]["spec"]["args"] = json!({"dtype": "half"});
        assert_eq!(found(&other), None);
        let mut roles = differ();
        for at in [0, 1] {
            let args = json!({"kv_transfer_config": {"kv_role": "kv_both"}});
            roles.provenance["instances"][at]["spec"]["args"] = args;
        }
        assert_eq!(found(&roles), None);
        let mut unknown = differ();
        unknown.provenance = json!({});
        assert_eq!(found(&unknown), None);
    }

    #[test]
    fn what_each_was_asked_to_warm_it_is_held_together_too() {
        let mut scene = said(|_, prompt, _| prompt.to_string());
        for warmed in &mut scene.warmup.instances {
            warmed.requests[0].text_sha256 = Some(warmed.instance.clone());
        }
        let anomaly = found(&scene).unwrap();
        assert_eq!(anomaly.evidence["answered_differently"], 1);
        assert_eq!(anomaly.evidence["prompts_that_both_answered"], 9);
        assert_eq!(anomaly.severity, Severity::Warning);
    }

    /// What two replicas of one specification said alone, before and after.
    fn canaries(before: [&str; 2], after: [&str; 2]) -> Vec<(Severity, String)> {
        let mut scene = said(|_, number, _| format!("text {number}"));
        let shown = |texts: [&str; 2]| -> Vec<Canary> {
            let named = ["a", "b"].into_iter().zip(texts);
            let canary = |(name, text): (&str, &str)| Canary {
                instance: name.to_owned(),
                ttft_ms: 10.0,
                itl_p50_ms: 5.0,
                text_sha256: Some(text.to_owned()),
            };
            named.map(canary).collect()
        };
        scene.canaries.before = shown(before);
        scene.canaries.after = shown(after);
        let found = scene.judge().into_iter().filter(|it| it.id == "A22");
        found.map(|it| (it.severity, it.message)).collect()
    }

    #[test]
    fn a_canary_says_the_same_before_and_after_and_beside_its_peer() {
        assert!(canaries(["x", "x"], ["x", "x"]).is_empty());
        let changed = canaries(["x", "x"], ["x", "y"]);
        let text = "alone, `b` answered the canary before the measurement otherwise than after it, and \
                    chose the likeliest token each time";
        assert_eq!(changed, [(Severity::Warning, text.to_owned())]);
        let apart = canaries(["x", "y"], ["x", "y"]);
        let text = "alone, `a` and `b` answer the canary differently, and choose the likeliest token \
                    each time";
        assert_eq!(apart, [(Severity::Warning, text.to_owned())]);
    }
}
