//! A14: prompts that were to be read by one instance for another, and were not. The one that answers
//! then reads them itself, and what was measured is no split of prefill and decode, whatever the
//! topology says.
//!
//! The proxy tells by whom each prompt was read; whether its keys and values came to who answered, only
//! the engine knows that fetched them. A published comparison once measured a second of waiting for a
//! transfer that nobody had proved to happen.

use serde_json::json;

use super::{Case, Finding, Rule};
use crate::results::{Anomaly, Fetched, Record, Severity};

/// Of the tokens of prompts that were read for another, so many it must have fetched. What does not
/// fill a block may be read again.
const FETCHED: f64 = 0.5;

/// Who is said to have read a prompt that is too short to be read for another, or of which who answers had
/// read so much already that the rest was.
const UNSHARED: [&str; 2] = ["short", "cached"];

pub(super) const RULE: Rule = Rule {
    id: "A14",
    name: "not handed over",
    check,
};

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let is_split = case.job.instances.iter().any(|it| it.role.is_some());
    if !is_split || !case.job.endpoint.is_proxy {
        return Vec::new();
    }
    let by_replica = case.by_replica();
    let handed = |record: &&&Record| {
        let by = record.prefilled_by.as_deref();
        by.is_some_and(|name| case.target(name).is_some())
    };
    // Those that the proxy is told not to split are as they are to be, unless they are all.
    let is_short = |record: &&Record| {
        let by = record.prefilled_by.as_deref();
        by.is_some_and(|by| UNSHARED.contains(&by) && case.target(by).is_none())
    };
    let all = || by_replica.iter().flat_map(|(_, own)| own.iter().copied());
    let short = all().filter(is_short).count();
    let whole = all().filter(|it| !handed(&it)).count() - short;
    let mut found = Vec::new();
    found.extend((whole > 0).then(|| of_whole(case, whole)));
    found.extend((short > 0 && short == all().count()).then(|| of_short(short)));
    for (name, own) in &by_replica {
        let handed: Vec<&Record> = own.iter().filter(handed).copied().collect();
        if !handed.is_empty() {
            found.extend(of_fetched(case, name, &handed));
        }
    }
    found.extend(of_expired(case));
    found
}

/// Requests that one instance did as a whole.
fn of_whole(case: &Case<'_>, whole: usize) -> Anomaly {
    let ok = case.records.iter().filter(|it| it.is_ok()).count();
    let finding = Finding {
        message: format!(
            "{whole} of {ok} requests were served by one instance each, and not split"
        ),
        evidence: json!({"requests": ok, "whole": whole}),
        cause:
            "instances of one role were not ready, or what was asked is not split: several answers \
                to a request, or the log probabilities of its prompt"
                .to_owned(),
        hint: "`replica status` shows the roles and who is ready; `replica logs proxy` tells why"
            .to_owned(),
    };
    RULE.speak(Severity::Error, finding)
}

/// Requests of which none was long enough to be split.
fn of_short(short: usize) -> Anomaly {
    let finding = Finding {
        message: format!(
            "all {short} requests were served by one instance each: their prompts, or what was not read of \
             them already, are shorter than those that are split"
        ),
        evidence: json!({"requests": short, "short": short}),
        cause: "`min_prefill_tokens` of the proxy's `limits`".to_owned(),
        hint: "lower it, ask with longer prompts, or measure this without roles".to_owned(),
    };
    RULE.speak(Severity::Error, finding)
}

/// What an engine fetched of the prompts that were read for it.
fn of_fetched(case: &Case<'_>, name: &str, handed: &[&Record]) -> Option<Anomaly> {
    let counted = case.point.server.get(name)?.delta.fetched;
    let asked: u64 = handed.iter().filter_map(|it| it.n_in).sum();
    let requests = handed.len();
    let evidence = json!({"requests": requests, "prompt_tokens": asked, "fetched": counted});
    let Some(fetched) = counted else {
        let finding = Finding {
            message: format!(
                "whether `{name}` fetched what was computed for its {requests} requests is not known"
            ),
            evidence,
            cause: "it counts no transfers: its version does not, or its page was not to be had"
                .to_owned(),
            hint: "look for `vllm:nixl_xfer_time_seconds_count` at its `/metrics`".to_owned(),
        };
        return Some(RULE.speak(Severity::Warning, finding).of_replica(name));
    };
    let message = shortfall(name, &fetched, requests, asked)?;
    let finding = Finding {
        message,
        evidence,
        cause: "the side channel of the prefill instance cannot be reached from there, or the transport \
                between them failed; the prompts were read again"
            .to_owned(),
        hint: "the connector's own words are in its log: see `replica logs`".to_owned(),
    };
    Some(RULE.speak(Severity::Error, finding).of_replica(name))
}

fn shortfall(name: &str, fetched: &Fetched, requests: usize, asked: u64) -> Option<String> {
    if fetched.transfers == 0 || fetched.tokens == 0 {
        return Some(format!(
            "`{name}` fetched nothing of the {requests} prompts that were read for it"
        ));
    }
    if fetched.failed > 0 {
        let failed = fetched.failed;
        return Some(format!("{failed} transfers to `{name}` failed"));
    }
    let is_short = (fetched.tokens as f64) < asked as f64 * FETCHED;
    is_short.then(|| {
        format!(
            "`{name}` fetched {} of the {asked} prompt tokens that were read for it",
            fetched.tokens
        )
    })
}

/// What was held for others, and forgotten before it was fetched.
fn of_expired(case: &Case<'_>) -> Vec<Anomaly> {
    let servers = case.point.server.iter();
    let expired = servers.filter_map(|(name, counted)| {
        let expired = counted.delta.fetched?.expired;
        (expired > 0).then(|| {
            let finding = Finding {
                message: format!(
                    "`{name}` forgot what it held for {expired} requests before it was fetched"
                ),
                evidence: json!({"expired": expired}),
                cause: "decode instances had no room for what was read for them".to_owned(),
                hint: "lower the load, or lengthen `kv: {lease: …}`: it only hides the wait"
                    .to_owned(),
            };
            RULE.speak(Severity::Warning, finding).of_replica(name)
        })
    });
    expired.collect()
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, request, scene};
    use super::*;
    use crate::results::ServerMetrics;

    /// Four requests that `a` read the prompts of, 10 tokens each, and `b` answered.
    fn split(fetched: Option<Fetched>) -> Scene {
        let of_b = (0..4).map(|index| Record {
            prefilled_by: Some("a".to_owned()),
            ..request(index, "b", 0.0, 20.0, 1000.0)
        });
        let mut scene = scene(of_b.collect());
        scene.job.instances[0].role = Some("prefill".to_owned());
        scene.job.instances[1].role = Some("decode".to_owned());
        let mut server = ServerMetrics::default();
        server.delta.fetched = fetched;
        scene.server.insert("b".to_owned(), server);
        scene
    }

    fn fetched() -> Fetched {
        Fetched {
            transfers: 4,
            bytes: 4000,
            mean_ms: Some(1.0),
            tokens: 40,
            ..Fetched::default()
        }
    }

    fn said(scene: &Scene) -> Vec<(Severity, String)> {
        let anomalies = scene.judge().into_iter().filter(|it| it.id == "A14");
        anomalies.map(|it| (it.severity, it.message)).collect()
    }

    #[test]
    fn what_was_handed_over_is_not_spoken_of() {
        assert!(said(&split(Some(fetched()))).is_empty());
        let alike = scene(vec![request(0, "a", 0.0, 20.0, 1000.0)]);
        assert!(said(&alike).is_empty());
    }

    #[test]
    fn what_was_not_fetched_is_no_split() {
        for (fetched, words) in [
            (
                Fetched {
                    transfers: 0,
                    ..fetched()
                },
                "`b` fetched nothing of the 4 prompts that were read for it",
            ),
            (
                Fetched {
                    tokens: 0,
                    ..fetched()
                },
                "`b` fetched nothing of the 4 prompts that were read for it",
            ),
            (
                Fetched {
                    tokens: 19,
                    ..fetched()
                },
                "`b` fetched 19 of the 40 prompt tokens that were read for it",
            ),
            (
                Fetched {
                    failed: 2,
                    ..fetched()
                },
                "2 transfers to `b` failed",
            ),
        ] {
            assert_eq!(
                said(&split(Some(fetched))),
                [(Severity::Error, words.to_owned())]
            );
        }
    }

    #[test]
    fn what_nobody_counts_is_not_known() {
        let said = said(&split(None));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].0, Severity::Warning);
    }

    #[test]
    fn what_one_instance_does_as_a_whole_is_not_split() {
        let mut scene = split(Some(fetched()));
        scene.records[0].prefilled_by = None;
        let words = "1 of 4 requests were served by one instance each, and not split";
        assert_eq!(said(&scene), [(Severity::Error, words.to_owned())]);
    }

    #[test]
    fn what_is_too_short_to_be_split_is_as_it_is_to_be_unless_all_is() {
        let mut scene = split(Some(fetched()));
        for why in UNSHARED {
            scene.records[0].prefilled_by = Some(why.to_owned());
            assert!(said(&scene).is_empty(), "{why}");
        }
        for record in &mut scene.records {
            record.prefilled_by = Some("short".to_owned());
        }
        let told = said(&scene);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0]
                .1
                .starts_with("all 4 requests were served by one instance each: their prompts"),
            "{told:?}"
        );
    }

    #[test]
    fn what_was_held_and_forgotten_is_told() {
        let mut scene = split(Some(fetched()));
        let mut server = ServerMetrics::default();
        server.delta.fetched = Some(Fetched {
            expired: 3,
            ..Fetched::default()
        });
        scene.server.insert("a".to_owned(), server);
        let words = "`a` forgot what it held for 3 requests before it was fetched";
        assert_eq!(said(&scene), [(Severity::Warning, words.to_owned())]);
    }
}
