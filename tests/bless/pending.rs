//! What insta noted beside the source: one `.NAME.rs.pending-snap` a file, one JSON a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::inline;

/// The files of the suite that keep expectations.
pub(crate) const KEEPERS: &[&str] = &["suite::deciding::", "suite::rooms::", "suite::serving::"];

/// What stands in a file from now on, by the line of its assertion.
type Texts = BTreeMap<usize, String>;

/// Puts every text that was noted below a folder into the source; returns where, as `file:line`.
pub(crate) fn accept_all(noted: &Path, root: &Path) -> Result<Vec<String>, String> {
    let mut accepted = Vec::new();
    for note in files_below(noted)? {
        let below = note.strip_prefix(noted).unwrap_or(&note);
        let Some(source) = source_of(below) else {
            continue;
        };
        let texts = read(&said(&note, fs::read_to_string(&note))?)
            .map_err(|reason| format!("{}: {reason}", source.display()))?;
        let path = root.join(&source);
        let mut text = said(&path, fs::read_to_string(&path))?;
        // From the end, so that the lines before stay where they are.
        for (line, new) in texts.iter().rev() {
            text = inline::accept(&text, *line, new)
                .map_err(|reason| format!("{}:{line}: {reason}", source.display()))?;
            accepted.push(format!("{}:{line}", source.display()));
        }
        said(&path, fs::write(&path, text))?;
    }
    accepted.sort();
    Ok(accepted)
}

/// `src/view/.field.rs.pending-snap` is a note on `src/view/field.rs`.
fn source_of(note: &Path) -> Option<PathBuf> {
    let name = note.file_name()?.to_str()?;
    let name = name.strip_prefix('.')?.strip_suffix(".pending-snap")?;
    Some(note.with_file_name(name))
}

/// Reads a note. A line that is asserted more than once, each time otherwise, cannot be written.
pub(crate) fn read(note: &str) -> Result<Texts, String> {
    let mut texts = Texts::new();
    for entry in note.lines() {
        let entry: serde_json::Value =
            serde_json::from_str(entry).map_err(|error| error.to_string())?;
        // An entry without a text says that the line is as it should be.
        let (Some(line), Some(text)) = (entry["line"].as_u64(), entry["new"]["snapshot"].as_str())
        else {
            continue;
        };
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        let before = texts.insert(line, text.to_owned());
        if before.is_some_and(|before| before != text) {
            return Err(format!("line {line} is asserted with different texts"));
        }
    }
    Ok(texts)
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.exists() {
            continue;
        }
        for entry in said(&folder, fs::read_dir(&folder))? {
            let path = said(&folder, entry)?.path();
            let list = if path.is_dir() {
                &mut folders
            } else {
                &mut files
            };
            list.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn said<T>(path: &Path, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{}: {error}", path.display()))
}
