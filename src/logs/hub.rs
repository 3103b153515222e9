//! What a fetch from the hub, or a copy from a folder, says: how far it is, and why it failed.

use super::{LogSign, written};
use crate::plan::Failure;

/// Reads a line of the tool, or of the script.
pub(super) fn read(line: &str) -> Option<LogSign> {
    if let Some(come) = line.strip_prefix("fetched ") {
        return written(come).map(|count| LogSign::Part(count.into()));
    }
    if let Some(taken) = line.strip_prefix("taking ") {
        return Some(LogSign::Part(taken.into()));
    }
    if let Some(outcome) = line.strip_prefix("outcome: ") {
        return Some(LogSign::Outcome(outcome.to_owned()));
    }
    if line.starts_with("waiting for ") {
        return Some(LogSign::Part(line.into()));
    }
    cause(line)
}

const LICENCE: &str =
    "accept the licence on the model's page at the hub, and declare `token: {from_env: HF_TOKEN}`";
const REVISION: &str = "see the model's `revision`: the repository has no such commit";
const THERE: &str = "see the model's `repo`; a private one needs `token: {from_env: HF_TOKEN}`";
const SPACE: &str = "free space on the disk of the node's cache, and apply again";
const REACH: &str = "the hub cannot be reached from the node: see its network, and `endpoint`";

/// What stands in a line that tells a cause, and what to do about it: the words of
/// `huggingface_hub` 0.36 and of 2.4, which say the same differently. The first that fits counts.
const SIGNS: &[(&str, &str)] = &[
    (
        "neither hf nor",
        "install huggingface_hub into the environment of the engine",
    ),
    ("cause: ", "see the model's `directory` on the node"),
    ("GatedRepo", LICENCE),
    ("Access denied", LICENCE),
    ("requires approval", LICENCE),
    ("401 Client Error", LICENCE),
    ("Invalid user token", LICENCE),
    ("RevisionNotFound", REVISION),
    ("Revision Not Found", REVISION),
    ("Revision not found", REVISION),
    ("Invalid rev id", REVISION),
    ("RepositoryNotFound", THERE),
    ("Repository Not Found", THERE),
    ("not found.", THERE),
    ("No space left on device", SPACE),
    ("Not enough free disk space", SPACE),
    ("Connection refused", REACH),
    ("Name or service not known", REACH),
    ("Failed to resolve", REACH),
    ("LocalEntryNotFoundError", REACH),
    (
        "Consistency check failed",
        "apply again: what was fetched had another size",
    ),
];

/// Reads the cause of a failure, where a line tells one.
fn cause(line: &str) -> Option<LogSign> {
    if line.starts_with("If you are trying") {
        // Advice that it gives with every sort of refusal.
        return None;
    }
    let (_, hint) = SIGNS.iter().find(|(sign, _)| line.contains(sign))?;
    let message = line.trim().trim_start_matches("cause: ");
    Some(LogSign::Cause(Failure::new(message).hinted(*hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Count, Part};

    #[test]
    fn what_the_tool_says_tells_what_to_do() {
        for (line, want) in [
            (
                "huggingface_hub.errors.GatedRepoError: 403 Client Error.",
                "licence",
            ),
            (
                "Error: Access denied. Model 'o/m' requires approval.",
                "licence",
            ),
            (
                "huggingface_hub.errors.RevisionNotFoundError: 404 Client Error.",
                "revision",
            ),
            (
                "Repository Not Found for url: http://h/api/models/o/m.",
                "`repo`",
            ),
            ("OSError: [Errno 28] No space left on device", "free space"),
        ] {
            match read(line) {
                Some(LogSign::Cause(cause)) => {
                    let hint = cause.hint.unwrap();
                    assert!(hint.contains(want), "{line}: {hint}");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
        assert_eq!(
            read("fetched 12 MB"),
            Some(LogSign::Part(Part::from(Count::Written(12_000_000))))
        );
        assert_eq!(
            read("outcome: 12 MB in the cache"),
            Some(LogSign::Outcome("12 MB in the cache".to_owned()))
        );
        assert_eq!(read("/home/n/.cache/huggingface/hub/x"), None);
    }
}
