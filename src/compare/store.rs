//! Where comparisons lie: `<results>/<topology>/_compare/<UTC time>.json`, beside the benchmarks, none of
//! which can have such a name. The results of their blocks lie where those of benchmarks do.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::outcome::{Outcome, SCHEMA};
use super::texts::{Digests, digests};
use crate::results::{BenchResult, pretty, read_result, replace};

/// The comparisons of a topology.
#[derive(Debug, Clone)]
pub struct Store {
    /// The folder of the topology's results.
    results: PathBuf,
}

impl Store {
    /// Those of this topology, in the folder of results.
    pub fn of(results: &Path, topology: &str) -> Self {
        Self {
            results: results.join(topology),
        }
    }

    /// The file of a comparison.
    pub fn path(&self, outcome: &Outcome) -> PathBuf {
        let time = outcome.started.strftime("%Y-%m-%dT%H-%M-%S%.3fZ");
        self.folder().join(format!("{time}.json"))
    }

    fn folder(&self) -> PathBuf {
        self.results.join("_compare")
    }

    /// Writes what is known by now, whole.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, outcome: &Outcome) -> io::Result<()> {
        fs::create_dir_all(self.folder())?;
        replace(&self.path(outcome), &pretty(outcome)?)
    }

    /// All comparisons that can be read, the newest first.
    pub fn all(&self) -> Vec<Outcome> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        // One that is being written begins with a dot.
        let is_whole = |path: &PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            !name.starts_with('.') && path.extension().is_some_and(|end| end == "json")
        };
        let mut paths: Vec<PathBuf> = paths.filter(is_whole).collect();
        // Their names are times.
        paths.sort();
        let read = |path: &PathBuf| serde_json::from_slice::<Outcome>(&fs::read(path).ok()?).ok();
        let read = paths.iter().rev().filter_map(read);
        read.filter(|outcome| outcome.schema == SCHEMA).collect()
    }

    /// What stands of each comparison: the newest that was measured to its end, and one that was begun
    /// after it; the newest first.
    pub fn standing(&self) -> Vec<Outcome> {
        let (mut begun, mut over) = (BTreeSet::new(), BTreeSet::new());
        let mut all = self.all();
        all.retain(|outcome| {
            let is_newest = begun.insert(outcome.digest.clone());
            let is_newest_end = outcome.is_over() && over.insert(outcome.digest.clone());
            is_newest || is_newest_end
        });
        all
    }

    /// The newest comparison of this digest, where it was not measured to its end.
    pub fn unfinished(&self, digest: &str) -> Option<Outcome> {
        let newest = self
            .all()
            .into_iter()
            .find(|outcome| outcome.digest == digest);
        newest.filter(|outcome| outcome.ended.is_none())
    }

    /// A path of a result as a comparison names it.
    pub fn relative(&self, result: &Path) -> PathBuf {
        result
            .strip_prefix(&self.results)
            .unwrap_or(result)
            .to_owned()
    }

    /// The result that a comparison names so, where it is still there, and the answers of each load.
    pub fn result(&self, named: &Path) -> Option<(BenchResult, Vec<Digests>)> {
        let stored = read_result(&self.results.join(named)).ok()?;
        let records = stored.records().unwrap_or_default();
        let texts = records.iter().map(|load| digests(load)).collect();
        Some((stored.result, texts))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::concluded;
    use super::*;

    #[test]
    fn what_stands_is_the_newest_end_of_each_and_what_was_begun_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path(), "t");
        let write = |digest: &str, minute: u32, is_over: bool| {
            let mut outcome = concluded();
            outcome.digest = digest.to_owned();
            outcome.started = format!("2026-11-28T07:{minute:02}:00Z").parse().unwrap();
            if !is_over {
                outcome.blocks.truncate(3);
            }
            store.write(&outcome).unwrap();
        };
        write("a", 0, true);
        write("a", 1, true);
        write("a", 2, false);
        write("b", 3, false);
        write("b", 4, true);
        let standing = store.standing();
        let told = standing.iter().map(|it| {
            let time = it.started.strftime("%M").to_string();
            (it.digest.as_str(), time, it.is_over())
        });
        let expected = [("b", "04", true), ("a", "02", false), ("a", "01", true)];
        let expected = expected.map(|(digest, time, is_over)| (digest, time.to_owned(), is_over));
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}
