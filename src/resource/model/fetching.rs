//! Fetching a model from the hub: by the tool that comes with vLLM, on the node that lacks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::ModelDeclaration;
use super::cached::{Cached, LISTING, folder};
use super::whole::Shortfall;
use crate::node::{quote, quote_path};
use crate::plan::effect::{LogReader, RunScript};
use crate::resource::environment::EnvValue;

/// How long nothing may come before it counts as stalled.
const PATIENCE: Duration = Duration::from_secs(120);

/// The work that fetches what a cache lacks of a model.
pub(super) fn work(
    declared: &ModelDeclaration,
    found: &Cached,
    shortfalls: &[Shortfall],
    venv: &str,
) -> RunScript {
    let damaged: Vec<_> = shortfalls
        .iter()
        .filter_map(|s| s.damaged.as_deref())
        .collect();
    let mut script = format!("r_venv={}\n", quote_path(venv));
    for (name, value) in [
        ("r_cache", found.cache.as_str()),
        ("r_repo", &folder(declared)),
        ("r_name", &declared.repo),
        (
            "r_revision",
            declared.revision.as_deref().unwrap_or_default(),
        ),
        (
            "r_endpoint",
            declared.endpoint.as_deref().unwrap_or_default(),
        ),
        ("r_origin", declared.hub()),
        ("r_damaged", &damaged.join("\n")),
    ] {
        let _ = writeln!(script, "{name}={}", quote(value));
    }
    script.push('\n');
    for part in [LISTING, NOTE, include_str!("fetch.sh")] {
        script.push_str(part);
    }
    let secret = match &declared.token {
        Some(EnvValue::FromEnv(source)) => Some(("HF_TOKEN".to_owned(), source.clone())),
        _ => None,
    };
    RunScript {
        doing: "fetching".to_owned(),
        script,
        secrets: secret.into_iter().collect::<BTreeMap<_, _>>(),
        lock: lock(declared, found),
        patience: PATIENCE,
        attempts: 2,
        log_reader: LogReader::Hub,
    }
}

/// The work that takes a model from a folder of the node.
pub(super) fn import(
    declared: &ModelDeclaration,
    found: &Cached,
    folder_with_it: &str,
) -> RunScript {
    let mut script = format!("r_from={}\n", quote_path(folder_with_it));
    for (name, value) in [
        ("r_cache", found.cache.as_str()),
        ("r_repo", &folder(declared)),
        (
            "r_revision",
            declared.revision.as_deref().unwrap_or_default(),
        ),
        ("r_origin", folder_with_it),
    ] {
        let _ = writeln!(script, "{name}={}", quote(value));
    }
    script.push('\n');
    for part in [LISTING, NOTE, include_str!("import.sh")] {
        script.push_str(part);
    }
    RunScript {
        doing: "copying".to_owned(),
        script,
        secrets: BTreeMap::new(),
        lock: lock(declared, found),
        // A file is read three times, and one may be large.
        patience: 5 * PATIENCE,
        attempts: 1,
        log_reader: LogReader::Hub,
    }
}

/// Notes what came of a fetch that went well: where that is no whole model, the next one would bring
/// no other.
const NOTE: &str = include_str!("note.sh");

/// The file of [`NOTE`].
pub(super) fn note(declared: &ModelDeclaration, found: &Cached) -> String {
    let (cache, folder, revision) = (&found.cache, folder(declared), &found.revision);
    format!("{cache}/.locks/{folder}/replica.{revision}.fetched")
}

/// The file whose lock keeps those apart that change one model in one cache.
pub(super) fn lock(declared: &ModelDeclaration, found: &Cached) -> String {
    format!("{}/.locks/{}/replica.lock", found.cache, folder(declared))
}
