//! What may speak against numbers that are measured here, and what never may.

use serde_json::Value;

use super::laptop::{Laptop, pending};

/// The rules that judge how long something took, and may find it wanting where servers, proxy and client
/// share a few busy cores: no gain of many at once, one replica slower than another, a slow first request,
/// a client that comes too late, a server slower than it was. What any other rule holds against a result
/// (who answered, how many tokens, what was kept, fetched or done for others) no busy machine explains.
const OF_TIME: [&str; 5] = ["A3", "A4", "A6", "A11", "A26"];

/// Expects that a rule may hold this against a result.
pub(super) fn is_of_time(rule: &str, said: &dyn std::fmt::Debug) {
    assert!(OF_TIME.contains(&rule), "{rule}: {said:#?}");
}

/// The benchmarks of an apply whose results cannot be believed, each for how long something took.
pub(super) fn refused(applied: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut refused = Vec::new();
    for result in list(&applied["benchmarks"]) {
        let anomalies = list(&result["points"]).into_iter();
        let mut errors: Vec<_> = anomalies.flat_map(|it| list(&it["anomalies"])).collect();
        errors.retain(|it| it["severity"] == "error" && it["subject"] == "result");
        for error in &errors {
            is_of_time(error["id"].as_str().unwrap_or_default(), error);
        }
        assert_eq!(result["valid"], errors.is_empty(), "{result:#}");
        if !errors.is_empty() {
            refused.extend(result["job"]["name"].as_str().map(str::to_owned));
        }
    }
    refused
}

/// Expects that there is nothing to do but to measure these again.
pub(super) fn is_converged_but_for(laptop: &Laptop, refused: &[String]) {
    let again = refused
        .iter()
        .map(|name| format!("create benchmark.{name}"));
    let again: Vec<_> = again.collect();
    assert_eq!(pending(&laptop.plan()), again);
    let code = if again.is_empty() { 0 } else { 2 };
    laptop.replica("plan --detailed-exitcode").exits(code);
}
