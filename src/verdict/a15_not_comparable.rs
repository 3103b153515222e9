//! A15: a baseline that was measured under other conditions, or does not say under which.

use serde_json::{Value, json};

use super::{Case, Finding, Rule};
use crate::results::{
    Anomaly, Baseline, Claim, DEFINITIONS, JobFacts, Origin, Point, differ, is_simulated,
};
use crate::shape::Class;

pub(super) const RULE: Rule = Rule {
    id: "A15",
    name: "not comparable",
    check,
};

/// As large a share of failures as bears no word.
const FEW: f64 = 0.01;

fn check(case: &Case<'_>) -> Vec<Anomaly> {
    let baseline = case.baseline.into_iter();
    let found: Vec<String> = baseline.flat_map(|it| differences(case, it)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    vec![RULE.speak_of_baseline(Finding {
        message: format!("the baseline is not comparable: {}", found.join("; ")),
        evidence: json!({"differences": found}),
        cause: "it comes from another set-up, or its file keeps too little of it".to_owned(),
        hint: "measure the baseline with `bench`, on a topology of one instance".to_owned(),
    })]
}

/// What keeps a baseline from being compared, a fragment each.
fn differences(case: &Case<'_>, baseline: &Baseline) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(other_engines(case, baseline));
    if let Some(theirs) = &baseline.model {
        if *theirs != case.job.model && !mentions(case.provenance, theirs) {
            let ours = &case.job.model;
            found.push(format!("its model is `{theirs}`, ours `{ours}`"));
        }
    } else {
        found.push("it names no model".to_owned());
    }
    match &baseline.origin {
        Origin::Notebook { served } => {
            if !served {
                found.push("it was measured within the process, ours over HTTP".to_owned());
            }
            found.push("it does not say how its latencies are defined".to_owned());
        }
        Origin::Vllm { .. } => {
            found.extend(other_load(case.claim(), case.point));
            found.extend(other_terms_of_vllm(case, &baseline.origin));
        }
        Origin::Ours {
            job: theirs, valid, ..
        } => {
            found.extend(other_terms(case, theirs, *valid));
            found.extend(other_place(case.job, theirs));
            found.extend(other_load(case.claim(), case.point));
            found.extend(other_requests(case.job, theirs));
        }
    }
    found.extend(other_sizes(case, baseline));
    found
}

/// What a simulated engine does says nothing of a real one, nor the other way round.
fn other_engines(case: &Case<'_>, baseline: &Baseline) -> Option<String> {
    let said = match (baseline.simulated, is_simulated(case.provenance)) {
        (true, false) => "its engines were simulated, ours are real",
        (false, true) => "its engines were real, ours are simulated",
        _ => return None,
    };
    Some(said.to_owned())
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(said) => said == text,
        Value::Array(list) => list.iter().any(|item| mentions(item, text)),
        Value::Object(map) => map.values().any(|item| mentions(item, text)),
        _ => false,
    }
}

/// What the definitions before these measured, where it is something else: a load of one round came
/// to the same.
fn is_like_now(case: &Case<'_>, definitions: &str) -> bool {
    let knew_no_rounds = definitions == "replica.metrics/1";
    definitions == DEFINITIONS || (knew_no_rounds && case.point.summary.rounds.is_none())
}

fn other_terms(case: &Case<'_>, theirs: &JobFacts, valid: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !valid {
        found.push("it was itself found invalid".to_owned());
    }
    let unknown = [theirs.instances.is_empty(), case.is_of_unknown()];
    if let [true, false] | [false, true] = unknown {
        let whose = if unknown[0] { "its" } else { "our" };
        found.push(format!("nothing is proved of {whose} servers"));
    }
    if !is_like_now(case, &theirs.definitions) {
        let theirs = &theirs.definitions;
        found.push(format!(
            "its definitions are `{theirs}`, ours `{DEFINITIONS}`"
        ));
    }
    found
}

/// What `vllm bench serve` tells of its conditions; its prompts it does not keep, so that their
/// length must do.
fn other_terms_of_vllm(case: &Case<'_>, theirs: &Origin) -> Vec<String> {
    let Origin::Vllm {
        is_chat,
        failed_share,
        input_each,
        output_each,
        rate,
    } = theirs
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if let Some(rate) = rate {
        let ours = case.point.load.label();
        found.push(format!("its load is `{rate} requests/s`, ours `{ours}`"));
    }
    if *is_chat {
        found.push("its TTFT ends with the message that only names the role".to_owned());
    }
    if *failed_share > FEW {
        found.push(format!(
            "{:.0}% of its requests failed",
            failed_share * 100.0
        ));
    }
    let summary = &case.point.summary;
    let input = summary.metrics.input_tokens.map(|it| it as f64);
    let ours = input.map(|it| it / summary.counts.ok.max(1) as f64);
    if let Some((theirs, ours)) = input_each.zip(ours).filter(|(t, o)| differ(*t, *o)) {
        found.push(format!(
            "its prompts have about {theirs:.0} tokens, ours {ours:.0}"
        ));
    }
    let asked = case.job.max_tokens;
    if differ(*output_each, asked.into()) {
        found.push(format!(
            "its answers have about {output_each:.0} tokens, ours {asked}"
        ));
    }
    found
}

fn other_load(claim: Option<&Claim>, point: &Point) -> Option<String> {
    let theirs = claim?.load.as_ref().filter(|load| **load != point.load)?;
    let (theirs, ours) = (theirs.label(), point.load.label());
    Some(format!("its load is `{theirs}`, ours `{ours}`"))
}

/// What is sent from elsewhere goes through another network, and its latencies hold that.
fn other_place(ours: &JobFacts, theirs: &JobFacts) -> Option<String> {
    let (t, o) = (theirs.place(), ours.place());
    (t != o).then(|| format!("its requests came from {t}, ours from {o}"))
}

fn other_requests(ours: &JobFacts, theirs: &JobFacts) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.max_tokens != ours.max_tokens {
        let (t, o) = (theirs.max_tokens, ours.max_tokens);
        found.push(format!("its answers have {t} tokens, ours {o}"));
    }
    if theirs.prompts.sha256 != ours.prompts.sha256 {
        found.push("its prompts are others".to_owned());
    }
    found
}

/// What a claim of the same class says of its size and of the length of its answers.
fn other_sizes(case: &Case<'_>, baseline: &Baseline) -> Vec<String> {
    let figures = case.claim().map(|claim| claim.figures).unwrap_or_default();
    let mut found = Vec::new();
    let length = match case.point.load.class() {
        Class::Alone => figures.single.map(|single| Some(single.tokens_by_speed())),
        Class::Together { requests } => figures.batch.map(|batch| {
            let ours = f64::from(requests);
            let theirs = batch.size;
            found.extend(
                differ(theirs, ours)
                    .then(|| format!("its batch has {theirs} requests, ours {ours}")),
            );
            Some(batch.tokens / theirs)
        }),
        // No notebook has one; of ours, the requests were compared.
        Class::Closed { .. } | Class::Open { .. } => figures.steady.map(|_| None),
    };
    let Some(length) = length else {
        found.push("it has no number for this load".to_owned());
        return found;
    };
    let asked = case.job.max_tokens;
    let is_notebook = matches!(baseline.origin, Origin::Notebook { .. });
    let other = length.filter(|length| is_notebook && differ(*length, asked.into()));
    found.extend(
        other.map(|length| format!("its answers have about {length:.0} tokens, ours {asked}")),
    );
    found
}

#[cfg(test)]
mod tests {
    use crate::results::{Subject, read_baseline};
    use crate::verdict::scene::{batch, scene, seed};

    #[test]
    fn simulated_engines_and_real_ones_are_never_held_together() {
        let said = |theirs: bool, ours: bool| {
            let mut scene = scene(batch([100.0; 4], [100.0; 4]));
            let mut baseline = seed("replicated_metrics.json");
            baseline.simulated = theirs;
            scene.baseline = Some(baseline);
            let engine = if ours { "simulate" } else { "venv" };
            scene.provenance["instances"] =
                serde_json::json!([{"spec": {"engine": {engine: "fast"}}}]);
            let anomalies = scene.judge().into_iter();
            let of_baseline = anomalies.filter(|it| it.subject == Subject::Baseline);
            let mut a15 = of_baseline.filter(|it| it.id == "A15");
            a15.next().map(|it| it.message).unwrap_or_default()
        };
        let real = "its engines were real, ours are simulated";
        let simulated = "its engines were simulated, ours are real";
        assert!(said(false, true).contains(real));
        assert!(said(true, false).contains(simulated));
        for same in [said(false, false), said(true, true)] {
            assert!(!same.contains("engines were"), "{same}");
        }
    }

    /// What `vllm bench serve` would have written of the same eight requests, but for these keys.
    fn said_of_vllm(other: &serde_json::Value) -> Option<String> {
        let mut theirs = serde_json::json!({
            "backend": "openai", "model_id": "meta-llama/Llama-3.1-8B-Instruct", "num_prompts": 8,
            "request_rate": "inf", "max_concurrency": null, "completed": 8, "failed": 0,
            "total_input_tokens": 80, "total_output_tokens": 800, "output_throughput": 120.0,
            "mean_ttft_ms": 100.0, "median_ttft_ms": 100.0, "mean_tpot_ms": 65.0, "median_tpot_ms": 65.0,
        });
        for (key, value) in other.as_object().unwrap() {
            theirs[key] = value.clone();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), theirs.to_string()).unwrap();
        let mut scene = scene(batch([6500.0; 4], [6500.0; 4]));
        scene.baseline = Some(read_baseline(file.path()).unwrap());
        let anomalies = scene.judge().into_iter();
        let mut of_baseline = anomalies.filter(|it| it.subject == Subject::Baseline);
        of_baseline
            .next()
            .map(|it| format!("{}: {}", it.id, it.message))
    }

    #[test]
    fn a_result_of_vllms_own_is_comparable_where_all_that_it_tells_is_alike() {
        use serde_json::json;
        assert_eq!(said_of_vllm(&json!({})), None);
        let cases = [
            (json!({"model_id": "other"}), "its model is `other`"),
            (json!({"backend": "openai-chat"}), "only names the role"),
            (
                json!({"max_concurrency": 4}),
                "its load is `concurrency 4 x 8`, ours `batch 8`",
            ),
            (
                json!({"request_rate": 2.5}),
                "its load is `2.5 requests/s`, ours `batch 8`",
            ),
            (
                json!({"total_input_tokens": 2048}),
                "its prompts have about 256 tokens, ours 10",
            ),
            (
                json!({"total_output_tokens": 400}),
                "its answers have about 50 tokens, ours 100",
            ),
            (json!({"failed": 2}), "20% of its requests failed"),
            (json!({"simulated": true}), "simulated"),
        ];
        for (other, expected) in cases {
            let said = said_of_vllm(&other).unwrap_or_default();
            assert!(said.starts_with("A15") && said.contains(expected), "{said}");
        }
    }
}
