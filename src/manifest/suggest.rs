//! The nearest word that would have been right.

use strsim::damerau_levenshtein;

use crate::simulator;
use crate::visible::visible_on_one_line;

/// Words of other tools for what a manifest calls otherwise.
const SYNONYMS: &[(&str, &str)] = &[
    ("arguments", "args"),
    ("flags", "args"),
    ("environment", "env"),
    ("hosts", "nodes"),
    ("machines", "nodes"),
    ("name", "topology"),
    ("project", "topology"),
    ("replicas", "instances"),
    ("servers", "instances"),
    ("services", "instances"),
    ("router", "proxy"),
    ("loadbalancer", "proxy"),
    ("load_balancer", "proxy"),
    ("host", "ssh"),
    ("hostname", "ssh"),
    ("version", "vllm"),
    ("virtualenv", "venv"),
    ("commit", "revision"),
    ("upstreams", "backends"),
    ("strategy", "policy"),
    ("routing", "policy"),
    ("tokens", "max_tokens"),
];

/// The word that a misspelt one was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = normal(word);
    known
        .into_iter()
        .map(|candidate| (damerau_levenshtein(&plain, &normal(candidate)), candidate))
        .filter(|(distance, candidate)| {
            // A third of the letters may differ, as cargo has it; of short names, one.
            *distance <= (plain.len().max(candidate.len()) / 3).max(1)
                && *distance < candidate.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The word that this manifest has for one of another tool.
pub(super) fn synonym<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = normal(word);
    let (_, ours) = SYNONYMS
        .iter()
        .find(|(theirs, ours)| *theirs == plain && known.contains(ours))?;
    known.iter().find(|word| *word == ours).copied()
}

/// Flags that no manifest writes under `args`.
const NO_ARGUMENTS: &[&str] = &[
    "api-key",
    "config",
    "host",
    "model",
    "port",
    "profile",
    "revision",
    "served-model-name",
    "uds",
];

/// The argument of vLLM that a word is, or was most likely meant to be, as a manifest writes it.
pub(super) fn argument_of_vllm(word: &str) -> Option<String> {
    let known: Vec<String> = simulator::known_flags()
        // What the simulator has beyond vLLM, and what replica sets itself.
        .filter(|flag| !flag.starts_with("sim-") && !NO_ARGUMENTS.contains(flag))
        .map(|flag| flag.replace('-', "_"))
        .collect();
    let plain = normal(word.trim_start_matches('-'));
    // A short word is near to too many.
    let near = || nearest(&plain, known.iter().map(String::as_str)).filter(|_| plain.len() > 7);
    let exact = known.iter().map(String::as_str).find(|flag| *flag == plain);
    exact.or_else(near).map(str::to_owned)
}

fn normal(word: &str) -> String {
    // A word of thousands of letters is no misspelling, and comparing it would take seconds.
    word.chars()
        .take(64)
        .collect::<String>()
        .to_lowercase()
        .replace('-', "_")
}

/// Words as a list in backticks: `` `a`, `b` ``.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// A text of the manifest as it may stand in a message: short, and on one line.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MOST {
            out.push('…');
            break;
        }
        out.push(c);
    }
    visible_on_one_line(&out).into_owned()
}

/// The name that a text which is none was most likely meant to be.
pub(super) fn slug(text: &str) -> Option<String> {
    // What a letter of another alphabet would become is not for us to guess.
    if text.chars().any(char::is_alphabetic) && !text.is_ascii() {
        return None;
    }
    let dashed: String = text
        .trim()
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    let trimmed = dashed
        .trim_start_matches(['-', '.', '_'])
        .trim_end_matches('-');
    let good = trimmed.chars().any(|c| c.is_ascii_alphanumeric());
    (good && trimmed != text).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_word_and_a_stranger_does_not() {
        let keys = ["node", "port", "engine", "model", "max_tokens"];
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("max-tokens", keys), Some("max_tokens"));
        assert_eq!(nearest("MODEL", keys), Some("model"));
        assert_eq!(nearest("gpu", keys), None);
        assert_eq!(nearest("b", ["a"]), None);
        assert_eq!(nearest("spark-03", ["spark-01", "other"]), Some("spark-01"));
    }

    #[test]
    fn a_slug_is_a_name() {
        assert_eq!(slug("my topology").as_deref(), Some("my-topology"));
        assert_eq!(slug("-x").as_deref(), Some("x"));
        assert_eq!(slug("ok"), None);
        assert_eq!(slug("///"), None);
        assert_eq!(slug("größe"), None);
    }
}
