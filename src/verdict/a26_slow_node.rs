//! A26: a machine that is slow for itself. Before and after a measurement every instance gave the same
//! short answer with nothing else in flight; one that takes clearly longer for it than it did before,
//! or than it always did, is in another state than the numbers will be read for.
//!
//! GB10s have slow states of 1.5 to 1.7 times that `nvidia-smi` does not show. An instance that is
//! slower than a peer of the same specification is a warning: which of both is as it should be is not
//! known. Where CPUs were short, that is the likelier cause, and it is a warning too; and so is an instance
//! that was idle beside what was measured, of which no number hangs on it.

use serde_json::json;

use super::a21_short_of_cpu::short;
use super::{Case, Finding, Rule, round};
use crate::plan::GpuConditions;
use crate::results::quantile::quantile;
use crate::results::{Anomaly, Severity, rooflines};

/// How much longer than before and after each other's a token may take.
const THAN_BEFORE: f64 = 1.3;

/// How much longer than in earlier measurements.
const THAN_EVER: f64 = 1.4;

/// Earlier readings without which there is no history.
const FEWEST: usize = 4;

/// A stream that runs at less of what its memory allows is worth a word.
const OF_ROOFLINE: f64 = 0.4;

/// Differences of a token below this are noise, in ms.
const MATTERS_MS: f64 = 3.0;

pub(super) const RULE: Rule = Rule {
    id: "A26",
    name: "slow node",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let instances = case.job.instances.iter();
    let own: Vec<Anomaly> = instances
        .filter_map(|it| than_before(case, &it.name).or_else(|| than_ever(case, &it.name)))
        .collect();
    if !own.is_empty() {
        return own;
    }
    let idle = case.canaries.idle.names().into_iter();
    let idle = idle.filter_map(|name| than_before(case, name).or_else(|| than_ever(case, name)));
    let idle: Vec<Anomaly> = idle.collect();
    if !idle.is_empty() {
        return idle;
    }
    if let Some(slower) = than_peers(case) {
        return vec![slower];
    }
    below_roofline(case)
}

/// What an instance is called: one that was idle is said to have been.
fn called(case: &Case<'_>, instance: &str) -> String {
    if is_measured(case, instance) {
        format!("`{instance}`")
    } else {
        format!("`{instance}`, idle beside what was measured,")
    }
}

fn is_measured(case: &Case<'_>, instance: &str) -> bool {
    case.job.instances.iter().any(|it| it.name == instance)
}

fn is_slower(slow: f64, fast: f64, times: f64) -> bool {
    slow > times * fast && slow - fast > MATTERS_MS
}

/// Slower at one end of the measurement than at the other.
fn than_before(case: &Case<'_>, instance: &str) -> Option<Anomaly> {
    let (before, after) = case.canaries.of(instance);
    let (before, after) = (before?, after?);
    let (slow, fast) = (before.max(after), before.min(after));
    is_slower(slow, fast, THAN_BEFORE).then(|| {
        let message = format!(
            "{} took {before:.1} ms for a token before the measurement and {after:.1} ms after it",
            called(case, instance)
        );
        let evidence = json!({"before_ms": round(before), "after_ms": round(after)});
        spoken(case, instance, message, evidence)
    })
}

/// Slower than it has been.
fn than_ever(case: &Case<'_>, instance: &str) -> Option<Anomaly> {
    let (before, after) = case.canaries.of(instance);
    let now = before.into_iter().chain(after).min_by(f64::total_cmp)?;
    let mut history = case.canaries.history.get(instance)?.clone();
    history.sort_by(f64::total_cmp);
    let usual = quantile(&history, 0.5).filter(|_| history.len() >= FEWEST)?;
    is_slower(now, usual, THAN_EVER).then(|| {
        let message = format!(
            "{} takes {now:.1} ms for a token where it took {usual:.1} ms in earlier measurements",
            called(case, instance)
        );
        let evidence =
            json!({"now_ms": round(now), "usual_ms": round(usual), "earlier": history.len()});
        spoken(case, instance, message, evidence)
    })
}

fn than_peers(case: &Case<'_>) -> Option<Anomaly> {
    let shown = case.job.instances.iter().filter_map(|it| {
        let (before, after) = case.canaries.of(&it.name);
        let best = before.into_iter().chain(after).min_by(f64::total_cmp)?;
        Some((it.name.as_str(), best))
    });
    let mut shown: Vec<(&str, f64)> = shown.collect();
    shown.sort_by(|a, b| a.1.total_cmp(&b.1));
    let ((fast, at), (slow, took)) = (*shown.first()?, *shown.last()?);
    let alike = case.spec_of(fast).is_some() && case.spec_of(fast) == case.spec_of(slow);
    (alike && is_slower(took, at, THAN_BEFORE)).then(|| {
        let finding = Finding {
            message: format!(
                "alone, `{slow}` takes {took:.1} ms for a token and `{fast}` {at:.1} ms, \
                 though both are declared alike"
            ),
            evidence: json!({"slow_ms": round(took), "fast_ms": round(at)}),
            cause: "the machines differ, or one of them is in a slow state".to_owned(),
            hint: cure(case, slow),
        };
        RULE.speak(Severity::Warning, finding).of_replica(slow)
    })
}

/// Far below what the memory allows, which by itself is no fault: small models on fast memory wait for
/// other things.
fn below_roofline(case: &Case<'_>) -> Vec<Anomaly> {
    let bounds = rooflines(case.conditions, case.provenance);
    let known = bounds
        .iter()
        .filter_map(|(name, it)| Some((name, it.known()?)));
    let slow = known.filter_map(|(name, roofline)| {
        let (before, after) = case.canaries.of(name);
        let ms = before.into_iter().chain(after).min_by(f64::total_cmp)?;
        let share = 1000.0 / ms / roofline.tok_s_user;
        (share < OF_ROOFLINE).then(|| {
            let finding = Finding {
                message: format!(
                    "alone, `{name}` runs at {:.1} tok/s, {:.0} % of what its memory allows",
                    1000.0 / ms,
                    share * 100.0
                ),
                evidence: json!({
                    "canary_ms": round(ms),
                    "at_most_tok_s": round(roofline.tok_s_user),
                    "share": round(share),
                }),
                cause:
                    "its steps wait for more than memory: launches without graphs, traffic between \
                        GPUs, a clock that is held down, or memory that is slower than is said"
                        .to_owned(),
                hint: cure(case, name),
            };
            RULE.speak(Severity::Info, finding).of_replica(name)
        })
    });
    slow.collect()
}

fn spoken(
    case: &Case<'_>,
    instance: &str,
    message: String,
    evidence: serde_json::Value,
) -> Anomaly {
    let short = short(case);
    let cause = match short.first() {
        Some((who, share)) => format!(
            "{who} was short of CPU: tasks waited for one {:.0} % of the time",
            share * 100.0
        ),
        None => {
            "the machine is in a slow state: heat, power, or a clock that is held down".to_owned()
        }
    };
    let finding = Finding {
        message,
        evidence,
        cause,
        hint: cure(case, instance),
    };
    let severity = if short.is_empty() && is_measured(case, instance) {
        Severity::Error
    } else {
        Severity::Warning
    };
    RULE.speak(severity, finding).of_replica(instance)
}

/// What to do, with what the driver says where it says something.
fn cure(case: &Case<'_>, instance: &str) -> String {
    let conditions = case.conditions;
    let node = conditions
        .after
        .values()
        .find(|node| node.servers.contains_key(instance));
    let gpus = node.iter().flat_map(|node| &node.gpus);
    let told: Vec<String> = gpus.filter_map(told_of).collect();
    let told = match told.as_slice() {
        [] => String::new(),
        told => format!(" ({})", told.join("; ")),
    };
    format!(
        "let the machine cool{told}; where it stays slow, take it off its power for a minute: \
         a restart alone does not clear a GB10's slow state"
    )
}

fn told_of(gpu: &GpuConditions) -> Option<String> {
    let clock = gpu.clock_mhz.as_deref()?;
    let most = gpu.clock_max_mhz.as_deref().unwrap_or("?");
    let heat = gpu.temperature_c.as_deref().unwrap_or("?");
    let power = gpu.power_w.as_deref().unwrap_or("?");
    Some(format!("clock {clock} of {most} MHz, {heat} °C, {power} W"))
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, batch, scene};
    use crate::results::{Canary, CpuPressure, Pressure, Severity};

    fn shown(a: f64, b: f64) -> Vec<Canary> {
        let one = |name: &str, itl_p50_ms| Canary {
            instance: name.to_owned(),
            ttft_ms: 100.0,
            itl_p50_ms,
            text_sha256: None,
        };
        vec![one("a", a), one("b", b)]
    }

    fn measured(before: [f64; 2], after: [f64; 2]) -> Scene {
        let mut scene = scene(batch([1000.0; 4], [1000.0; 4]));
        scene.canaries.before = shown(before[0], before[1]);
        scene.canaries.after = shown(after[0], after[1]);
        let instance = |name: &str| serde_json::json!({"name": name, "spec": {"args": []}});
        scene.provenance["instances"] = serde_json::json!([instance("a"), instance("b")]);
        scene
    }

    fn said(scene: &Scene) -> Vec<(Severity, String)> {
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A26");
        anomalies.map(|it| (it.severity, it.message)).collect()
    }

    #[test]
    fn equal_canaries_say_nothing() {
        assert!(said(&measured([68.0, 70.0], [71.0, 69.0])).is_empty());
        // Twice as long, and yet next to nothing.
        assert!(said(&measured([1.0, 1.0], [2.5, 1.0])).is_empty());
    }

    #[test]
    fn who_became_slow_makes_it_invalid() {
        let found = said(&measured([68.0, 70.0], [110.0, 70.0]));
        assert_eq!(
            found,
            [(
                Severity::Error,
                "`a` took 68.0 ms for a token before the measurement and 110.0 ms after it"
                    .to_owned()
            )]
        );
    }

    #[test]
    fn a_neighbour_that_became_slow_is_warned_of() {
        let mut scene = measured([68.0, 70.0], [68.0, 70.0]);
        let idle = |ms| {
            let mut canary = shown(ms, ms).remove(0);
            canary.instance = "c".to_owned();
            vec![canary]
        };
        scene.canaries.idle.before = idle(68.0);
        scene.canaries.idle.after = idle(69.0);
        assert!(said(&scene).is_empty());
        scene.canaries.idle.after = idle(110.0);
        let text = "`c`, idle beside what was measured, took 68.0 ms for a token before the measurement \
                    and 110.0 ms after it";
        assert_eq!(said(&scene), [(Severity::Warning, text.to_owned())]);
        // What was measured comes first.
        scene.canaries.after = shown(110.0, 70.0);
        let found = said(&scene);
        assert!(
            found.len() == 1 && found[0].0 == Severity::Error,
            "{found:?}"
        );
    }

    #[test]
    fn who_is_far_below_what_memory_allows_is_noted() {
        let mut scene = measured([68.0, 70.0], [71.0, 69.0]);
        let config = serde_json::json!({"model_type": "llama", "tie_word_embeddings": true});
        for instance in scene.provenance["instances"].as_array_mut().unwrap() {
            instance["memory_bandwidth"] = "273 GB/s".into();
            instance["config"] = config.clone();
        }
        let server = crate::plan::ServerConditions {
            named: vec!["Model loading took 14.9890 GiB memory and 9 seconds".to_owned()],
            ..crate::plan::ServerConditions::default()
        };
        let node = crate::plan::NodeConditions {
            servers: [("a".to_owned(), server)].into(),
            ..crate::plan::NodeConditions::default()
        };
        scene.conditions.before = [("spark-01".parse().unwrap(), node)].into();
        assert!(said(&scene).is_empty(), "86 % is as it should be");
        scene.canaries.before = shown(150.0, 150.0);
        scene.canaries.after = shown(151.0, 150.0);
        let text = "alone, `a` runs at 6.7 tok/s, 39 % of what its memory allows";
        assert_eq!(said(&scene), [(Severity::Info, text.to_owned())]);
    }

    #[test]
    fn who_is_slower_than_ever_makes_it_invalid() {
        let mut scene = measured([110.0, 70.0], [112.0, 70.0]);
        scene
            .canaries
            .history
            .insert("a".to_owned(), vec![68.0, 69.0, 110.0, 67.0]);
        assert_eq!(said(&scene)[0].0, Severity::Error);
        // Too little is no history; that both differ is still told.
        scene.canaries.history.insert("a".to_owned(), vec![68.0; 3]);
        assert_eq!(said(&scene)[0].0, Severity::Warning);
    }

    #[test]
    fn a_peer_is_slower_where_both_are_declared_alike() {
        let mut scene = measured([68.0, 100.0], [68.0, 101.0]);
        assert_eq!(said(&scene)[0].0, Severity::Warning);
        scene.provenance["instances"][0]["spec"] = serde_json::json!({"args": ["--x"]});
        assert!(said(&scene).is_empty());
    }

    #[test]
    fn short_cpus_are_the_likelier_cause() {
        let mut scene = measured([68.0, 70.0], [110.0, 70.0]);
        scene.cpu_pressure = Some(CpuPressure {
            client: Some(Pressure { some_share: 0.9 }),
            ..CpuPressure::default()
        });
        assert_eq!(said(&scene)[0].0, Severity::Warning);
    }
}
