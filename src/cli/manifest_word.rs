//! Commands whose first word may be the manifest, and whose other words are not.

use std::path::{Path, PathBuf};

/// Takes `[FILE] [WORD]...` apart. The first word is the manifest where it says so (`-`, `.yaml`,
/// `.yml`, `.json`) or where there is such a file: no address and no name looks like the former.
pub(super) fn split(words: &[String]) -> (Option<PathBuf>, &[String]) {
    match words.split_first() {
        Some((first, rest)) if is_manifest(first) => (Some(PathBuf::from(first)), rest),
        _ => (None, words),
    }
}

/// Whether a file is called as manifests are.
pub(super) fn ends_as_manifests_do(path: &Path) -> bool {
    let ends = path.extension().and_then(|end| end.to_str());
    ends.is_some_and(|end| matches!(end, "yaml" | "yml" | "json"))
}

fn is_manifest(word: &str) -> bool {
    let path = Path::new(word);
    word == "-"
        || ends_as_manifests_do(path)
        // A folder that is named as an instance is no manifest.
        || path.metadata().is_ok_and(|found| !found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_manifest_where_it_looks_like_one() {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let folder = env!("CARGO_MANIFEST_DIR");
        let cases: [(&[&str], bool); 9] = [
            (&["topology.yaml"], true),
            (&["nowhere/t.yml", "a"], true),
            (&["t.json", "a", "b"], true),
            (&["-", "a"], true),
            (&[own, "a"], true),
            (&[folder], false),
            (&["a"], false),
            (&["here/instance.a", "b.yaml"], false),
            (&[], false),
        ];
        for (words, is_first) in cases {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            let (file, rest) = split(&words);
            assert_eq!(file.is_some(), is_first, "{words:?}");
            assert_eq!(rest.len() + usize::from(is_first), words.len());
        }
    }
}
