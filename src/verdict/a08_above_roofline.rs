//! A8: tokens that come sooner than the weights can be read that they take. Nobody serves faster
//! than memory is; so the tokens came out of a cache, are of another model, or are not as many as is
//! said, or their times are not those at which they were made.

use serde_json::json;

use super::{Case, Finding, Rule, round};
use crate::results::quantile::Distribution;
use crate::results::{Anomaly, Roofline, Severity, Share, rooflines};

/// How far beyond the bound a rate must be: clocks and stamps are not exact.
const MARGIN: f64 = 1.05;

pub(super) const RULE: Rule = Rule {
    id: "A8",
    name: "above roofline",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let bounds = rooflines(case.conditions, case.provenance);
    let known = bounds
        .iter()
        .filter_map(|(name, it)| Some((name, it.known()?)));
    known
        .filter_map(|(name, roofline)| {
            let share = case.point.summary.by_instance.get(name);
            let measured = share.and_then(|share| beyond(share, roofline));
            let spoken = measured.map(|it| of_requests(name, &it, roofline));
            spoken.or_else(|| of_canary(case, name, roofline))
        })
        .collect()
}

/// What of an instance's answers was too fast.
struct Beyond {
    /// Tokens a second of one stream.
    tok_s: f64,
    /// By which of its times.
    by: &'static str,
}

/// Whole answers are looked at first: what holds tokens back for a while makes the times between them
/// short, and no answer.
fn beyond(share: &Share, roofline: &Roofline) -> Option<Beyond> {
    let at_least = |of: Option<&Distribution>| of.map(|it| it.p50.value).filter(|ms| *ms > 0.0);
    let each = share.tokens as f64 / share.ok.max(1) as f64;
    let whole = at_least(share.e2el.as_ref()).map(|ms| (each * 1000.0 / ms, "e2el"));
    let between = at_least(share.tpot.as_ref()).map(|ms| (1000.0 / ms, "tpot"));
    let rates = whole.into_iter().chain(between);
    let mut too_fast = rates.filter(|(tok_s, _)| *tok_s > MARGIN * roofline.tok_s_user);
    too_fast.next().map(|(tok_s, by)| Beyond { tok_s, by })
}

fn of_requests(name: &str, beyond: &Beyond, roofline: &Roofline) -> Anomaly {
    let Beyond { tok_s, by } = beyond;
    let cause = if *by == "tpot" {
        "tokens were held back on their way and came together, or are counted that are none"
    } else {
        "the answers came out of a cache, the model is another than is said, or more tokens are \
         counted than were made"
    };
    let message = format!(
        "a stream of `{name}` runs at {tok_s:.1} tok/s, and no more than {:.1} can be read out of its \
         memory",
        roofline.tok_s_user
    );
    spoken(name, message, *tok_s, by, cause, roofline)
}

fn of_canary(case: &Case<'_>, name: &str, roofline: &Roofline) -> Option<Anomaly> {
    let (before, after) = case.canaries.of(name);
    let shown = before.into_iter().chain(after);
    let ms = shown.min_by(f64::total_cmp).filter(|ms| *ms > 0.0)?;
    let tok_s = 1000.0 / ms;
    (tok_s > MARGIN * roofline.tok_s_user).then(|| {
        let message = format!(
            "the canary of `{name}` ran at {tok_s:.1} tok/s, and no more than {:.1} can be read out of \
             its memory",
            roofline.tok_s_user
        );
        let cause = "its tokens came together, it is another model than is said, or the memory is \
                     faster than is said";
        spoken(name, message, tok_s, "canary", cause, roofline)
    })
}

fn spoken(
    name: &str,
    message: String,
    tok_s: f64,
    by: &str,
    cause: &str,
    roofline: &Roofline,
) -> Anomaly {
    let finding = Finding {
        message,
        evidence: json!({
            "tok_s": round(tok_s),
            "by": by,
            "at_most_tok_s": round(roofline.tok_s_user),
            "memory_gb_s": roofline.memory_gb_s,
            "memory_of": roofline.memory_of,
            "weights_gib": roofline.weights_gib,
            "read_gb": round(roofline.read_gb),
        }),
        cause: cause.to_owned(),
        hint: format!(
            "read what `{name}` answers (`keep: answers`), and check its model; where the memory is \
             faster, state `memory_bandwidth` for the node"
        ),
    };
    RULE.speak(Severity::Error, finding).of_replica(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scene::{Scene, batch, scene};
    use crate::plan::{NodeConditions, ServerConditions};
    use crate::results::{Canary, Severity};

    /// Answers of a hundred tokens by two instances of an 8B on a GB10, by how long they took.
    fn on_sparks(a: f64, b: f64) -> Scene {
        let mut scene = scene(batch([a; 4], [b; 4]));
        let instance = |name: &str| {
            json!({"name": name, "spec": {"args": {}}, "memory_bandwidth": "273 GB/s",
                "config": {"model_type": "llama", "vocab_size": 128_256, "hidden_size": 4096}})
        };
        scene.provenance = json!({"instances": [instance("a"), instance("b")]});
        for name in ["a", "b"] {
            let server = ServerConditions {
                named: vec!["Model loading took 14.9890 GiB memory and 77.2 seconds".to_owned()],
                ..ServerConditions::default()
            };
            let node = NodeConditions {
                servers: [(name.to_owned(), server)].into(),
                ..NodeConditions::default()
            };
            let on = format!("spark-{name}").parse().unwrap();
            scene.conditions.before.insert(on, node);
        }
        scene
    }

    fn said(scene: &Scene) -> Vec<String> {
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A8");
        anomalies
            .map(|it| {
                assert_eq!(it.severity, Severity::Error);
                format!("{} ({})", it.message, it.evidence["by"].as_str().unwrap())
            })
            .collect()
    }

    /// 68.3 ms a token are 14.6 tok/s of at most 18.1.
    #[test]
    fn what_was_measured_on_a_spark_is_below() {
        assert!(said(&on_sparks(6870.0, 7055.0)).is_empty());
    }

    #[test]
    fn who_is_faster_than_its_memory_is_named() {
        assert_eq!(
            said(&on_sparks(6870.0, 4500.0)),
            [
                "a stream of `b` runs at 22.2 tok/s, and no more than 18.1 can be read out of its \
                 memory (e2el)"
            ]
        );
    }

    /// The first token is held back for half of the time, so that those after it are too near.
    #[test]
    fn tokens_that_came_together_are_told_from_answers_that_came_too_soon() {
        let mut held = on_sparks(6870.0, 6870.0);
        for record in &mut held.records[..4] {
            let half = 3_435_000;
            record.stamps.first = Some(half);
            record.tokens = (0..100).map(|n| (half + n * 34_000, 1)).collect();
        }
        let found = said(&held);
        assert!(
            found[0].starts_with("a stream of `a` runs at 28.8") && found[0].ends_with("(tpot)"),
            "{found:?}"
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_canary_faster_than_memory_is_wrong_too() {
        let mut scene = on_sparks(6870.0, 6870.0);
        let canary = |itl_p50_ms| Canary {
            instance: "a".to_owned(),
            ttft_ms: 100.0,
            itl_p50_ms,
            text_sha256: None,
        };
        scene.canaries.before = vec![canary(67.0)];
        assert!(said(&scene).is_empty());
        scene.canaries.before = vec![canary(30.0)];
        assert!(said(&scene)[0].starts_with("the canary of `a` ran at 33.3"));
    }

    #[test]
    fn where_nothing_is_known_nothing_is_said() {
        let mut scene = on_sparks(100.0, 100.0);
        scene.provenance["instances"][0]["config"] = json!({"model_type": "mixtral"});
        scene.provenance["instances"][1]["spec"]["args"] = json!({"speculative_config": {}});
        assert!(said(&scene).is_empty());
    }
}
