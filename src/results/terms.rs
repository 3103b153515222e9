//! What a result depends on, as its readers compare it: value by value, by the manifest's names.

use serde_json::{Map, Value, json};

use super::facts::JobFacts;

/// As much of a digest as tells two apart.
const SHOWN: usize = 12;

/// What a result depends on: what was asked, and of which servers. `topology` is the job's
/// provenance; what it does not tell is left out.
pub fn terms(job: &JobFacts, topology: &Value) -> Map<String, Value> {
    let digest: String = job.prompts.sha256.chars().take(SHOWN).collect();
    let mut terms = Map::new();
    terms.insert("load".to_owned(), json!(job.load));
    terms.insert("max_tokens".to_owned(), job.max_tokens.into());
    if let Some(repeats) = job.repeats {
        terms.insert("repeats".to_owned(), repeats.into());
    }
    terms.insert("warmup".to_owned(), job.warmup.into());
    terms.insert("prompts".to_owned(), digest.into());
    terms.insert("api".to_owned(), json!(job.api));
    terms.insert("sampling".to_owned(), json!(job.sampling));
    terms.insert("cache".to_owned(), json!(job.cache));
    terms.insert("from".to_owned(), job.place().into());
    if let Some(instances) = topology["instances"].as_array() {
        let specs = instances.iter().filter_map(|instance| {
            let name = instance["name"].as_str()?;
            Some((name.to_owned(), instance["spec"].clone()))
        });
        terms.insert("instances".to_owned(), Value::Object(specs.collect()));
    }
    if let Some(proxy) = topology["proxy"].as_object() {
        terms.insert("proxy".to_owned(), Value::Object(proxy.clone()));
    }
    terms
}
