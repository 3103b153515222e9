//! Results that lie in files: found, read whole, and told from other files.
//!
//! A name may be that of a result or of a pointer at one (`latest.json`): both mean the result.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::record::Record;
use super::result::{BenchResult, SCHEMA};
use super::store::{POINTER, POINTER_SCHEMA, Pointer};
use crate::plan::Failure;

/// A result as it lies in its file.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub result: BenchResult,
}

/// The results of a topology that were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredResults {
    /// Those that could be read: by benchmark, in the order of the names, the newest first.
    pub results: Vec<StoredResult>,
    /// The files that lie among them and could not.
    pub damaged: Vec<PathBuf>,
}

impl StoredResult {
    /// Its requests, load by load, where they still lie beside it, whole and undamaged.
    pub fn records(&self) -> Option<Vec<Vec<Record>>> {
        let name = Path::new(&self.result.files.requests).file_name()?;
        let text = fs::read_to_string(self.path.with_file_name(name)).ok()?;
        let lines = text.lines().filter(|line| !line.is_empty());
        let read: Result<Vec<Record>, _> = lines.map(serde_json::from_str).collect();
        by_load(&self.result, read.ok()?)
    }

    /// Whether this is the newest of its benchmark, as the pointer beside it says.
    pub fn is_newest(&self) -> bool {
        let newest = pointed(&self.path.with_file_name(POINTER));
        newest.is_some_and(|newest| newest.file_name() == self.path.file_name())
    }
}

/// Parts the requests of a result by its loads. Where some are missing, or are of none of them, it is
/// not known what the others are worth.
fn by_load(result: &BenchResult, records: Vec<Record>) -> Option<Vec<Vec<Record>>> {
    let mut loads: Vec<Vec<Record>> = vec![Vec::new(); result.points.len()];
    for record in records {
        loads.get_mut(record.point as usize)?.push(record);
    }
    let counts = result.points.iter().map(|point| point.summary.counts.total);
    let are_all = counts.zip(&loads).all(|(n, load)| load.len() == n);
    are_all.then_some(loads)
}

/// Whether a file is a result of ours, or points at one, by what it says of itself.
pub fn is_result(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    let value: Option<Value> = serde_json::from_slice(&bytes).ok();
    value.is_some_and(|value| value["schema"] == SCHEMA || value["schema"] == POINTER_SCHEMA)
}

/// Reads a result, or the one that a pointer names.
///
/// # Errors
///
/// When there is none, or it is damaged.
pub fn read_result(path: &Path) -> Result<StoredResult, Failure> {
    let path = pointed(path).unwrap_or_else(|| path.to_owned());
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(format!("cannot read the result {}: {why}", path.display()))
    };
    let bytes = fs::read(&path).map_err(|error| unreadable(&error))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
    if value["schema"] != SCHEMA {
        let why = format!("it does not say `\"schema\": \"{SCHEMA}\"`");
        return Err(
            unreadable(&why).hinted("a result is a file that `bench` or `apply` has written")
        );
    }
    match serde_json::from_value(value) {
        Ok(result) => Ok(StoredResult { path, result }),
        Err(error) => Err(unreadable(&error)),
    }
}

/// The results of a topology that lie in a folder of results.
pub fn stored_results(results: &Path, topology: &str) -> StoredResults {
    let mut found = StoredResults::default();
    let folders = sorted(&results.join(topology)).into_iter();
    for folder in folders.filter(|folder| !is_no_benchmarks(folder)) {
        let mut files: Vec<PathBuf> = sorted(&folder);
        files.retain(|path| is_named_as_a_result(path));
        // Their names are times.
        files.sort_by_key(|path| Reverse(path.clone()));
        for path in files {
            match read_result(&path) {
                Ok(stored) => found.results.push(stored),
                Err(_) => found.damaged.push(path),
            }
        }
    }
    found
}

/// The newest result of a benchmark: the one that is pointed at.
pub fn newest_result(results: &Path, topology: &str, benchmark: &str) -> Option<StoredResult> {
    let pointer = results.join(topology).join(benchmark).join(POINTER);
    pointed(&pointer).and_then(|path| read_result(&path).ok())
}

/// What a pointer names, where the file is one: a file beside it.
pub(super) fn pointed(path: &Path) -> Option<PathBuf> {
    let pointer: Pointer = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let name = Path::new(&pointer.result).file_name()?;
    (pointer.schema == POINTER_SCHEMA).then(|| path.with_file_name(name))
}

/// Whether a folder is of something else, of which no benchmark can have the name.
fn is_no_benchmarks(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with('_')
}

fn is_named_as_a_result(path: &Path) -> bool {
    let is_json = path.extension().is_some_and(|it| it == "json");
    is_json && path.file_name().is_some_and(|name| name != POINTER)
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::scene::{batch, notebook_run};

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn lines(records: &[Record]) -> String {
        let lines = records.iter().map(|it| serde_json::to_string(it).unwrap());
        lines.map(|line| line + "\n").collect()
    }

    const POINTS: &str = r#"{"schema": "replica.latest/1", "result": "2026-02-06T08-39-45.112Z.json",
        "requests": "r", "valid": false, "fingerprint": "f"}"#;

    #[test]
    fn a_pointer_means_the_result_that_it_names() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("replicated/batch");
        let result = notebook_run();
        let text = serde_json::to_string(&result).unwrap();
        let path = written(&folder, "2026-02-06T08-39-45.112Z.json", &text);
        let pointer = written(&folder, POINTER, POINTS);
        assert_eq!(read_result(&path), read_result(&pointer));
        assert_eq!(read_result(&pointer).unwrap().path, path);
        assert!(is_result(&path) && is_result(&pointer));
        assert!(read_result(&path).unwrap().is_newest());
        let newest = newest_result(place.path(), "replicated", "batch").unwrap();
        assert_eq!(newest.result, result);
        assert_eq!(newest_result(place.path(), "replicated", "none"), None);
    }

    #[test]
    fn the_requests_are_parted_by_their_loads_or_not_told_at_all() {
        let place = tempfile::tempdir().unwrap();
        let mut result = notebook_run();
        let records = batch([7055.0; 4], [30210.0; 4]);
        result.points.push(result.points[0].clone());
        let mut second = records.clone();
        for record in &mut second {
            record.point = 1;
        }
        let text = serde_json::to_string(&result).unwrap();
        let path = written(place.path(), "a.json", &text);
        let stored = read_result(&path).unwrap();
        assert_eq!(stored.records(), None);
        let name = result.files.requests.as_str();
        written(
            place.path(),
            name,
            &lines(&[&records[..], &second].concat()),
        );
        assert_eq!(stored.records(), Some(vec![records.clone(), second]));
        written(place.path(), name, &lines(&records));
        assert_eq!(stored.records(), None);
    }

    #[test]
    fn what_is_no_result_is_told_from_one() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("t/b");
        let other = written(&folder, "z.json", r#"{"schema": "x/1"}"#);
        let damaged = written(&folder, "y.json", "{");
        written(&folder, "y.requests.jsonl", "{}");
        assert!(!is_result(&other) && !is_result(&damaged) && !is_result(place.path()));
        let text = serde_json::to_string(&notebook_run()).unwrap();
        let good = written(&folder, "x.json", &text);
        // A comparison lies among the results, and is none of a benchmark.
        written(
            &place.path().join("t/_compare"),
            "w.json",
            r#"{"schema": "replica.compare/1"}"#,
        );
        let found = stored_results(place.path(), "t");
        assert_eq!(found.damaged, [other.clone(), damaged]);
        assert_eq!(found.results.len(), 1);
        assert_eq!(found.results[0].path, good);
        let why = read_result(&other).unwrap_err().to_string();
        assert!(why.contains("replica.bench/1"), "{why}");
        assert_eq!(
            stored_results(place.path(), "none"),
            StoredResults::default()
        );
    }
}
