//! What a declared benchmark asks, whomever it is asked of.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::declared::{Measurement, is_default};
use super::{Files, WarmupDeclaration};
use crate::plan::{Endpoint, Job};
use crate::prompts::Asks;
use crate::shape::Course;

/// What it asks, and when, once its files are read.
pub(super) struct Asked {
    pub(super) prompts: Asks,
    pub(super) load: Course,
}

impl Asked {
    /// The part of the job that the declaration tells. Whom it is asked of is not in it.
    pub(super) fn job(self, declared: &Measurement, files: &Files) -> Job {
        let relative = |path: &std::path::PathBuf| files.manifest.join(path);
        Job {
            max_tokens: self.prompts.longest_answer(),
            prompts: self.prompts,
            api: declared.api,
            sampling: declared.sampling.clone(),
            cache: declared.cache,
            keep: declared.keep,
            load: self.load,
            repeats: declared.repeats,
            // What was not warmed would be warmed by it.
            canary: match declared.warmup.per_instance {
                0 => 0,
                _ => declared.canary,
            },
            warmup: declared.warmup.per_instance,
            warm_when: declared.warmup.warm_when(),
            slo: declared.slo,
            fail_if: declared.fail_if.clone(),
            timeout_s: declared.timeout.get(),
            baseline: declared.baseline.as_ref().map(relative),
            save: declared.save.as_ref().map(relative),
            results: files.results.clone(),
            manifest: files.origin.clone(),
            name: String::new(),
            topology: String::new(),
            fingerprint: String::new(),
            endpoint: Endpoint {
                authority: String::new(),
                is_proxy: false,
                policy: None,
            },
            instances: Vec::new(),
            idle: Vec::new(),
            idle_placed: Vec::new(),
            placed: Vec::new(),
            model: String::new(),
            api_keys: BTreeMap::new(),
            from: None,
            provenance: Value::Null,
            tags: BTreeMap::new(),
            notes: Vec::new(),
        }
    }
}

/// What the result of it depends on, but for whom it is asked of.
pub(super) fn terms(declared: &Measurement, load: &Course, asks: Option<&Asks>) -> Value {
    let mut job = json!({
        "prompts": declared.prompts,
        "load": load,
        "max_tokens": declared.max_tokens,
        "warmup": declared.warmup.per_instance,
    });
    // What is not said is not in it, so that results of before stay those of the same job.
    if let Some(repeats) = declared.repeats {
        job["repeats"] = repeats.into();
    }
    if !is_default(&declared.api) {
        job["api"] = json!(declared.api);
    }
    if !is_default(&declared.sampling) {
        job["sampling"] = json!(declared.sampling);
    }
    if !is_default(&declared.cache) {
        job["cache"] = json!(declared.cache);
    }
    // What is in a file is not in the manifest.
    if let (Some(_), Some(asks)) = (declared.source.file(), asks) {
        job["prompts"]["content"] = asks.sha256().into();
    }
    if let Some(slo) = &declared.slo {
        job["slo"] = json!(slo);
    }
    if !declared.fail_if.is_empty() {
        job["fail_if"] = json!(declared.fail_if);
    }
    let warmup = declared.warmup;
    if warmup != WarmupDeclaration::requests(warmup.per_instance) {
        job["warm_when"] = json!(warmup.warm_when());
    }
    job
}
