//! Which results are meant by the words of a command line. No node is asked.

use std::path::{Path, PathBuf};

use crate::cli::Global;
use crate::cli::error::Error;
use crate::cli::manifest_word;
use crate::cli::workspace::results_folder;
use crate::compare::Store;
use crate::manifest::{self, Manifest};
use crate::name::BenchmarkName;
use crate::plan::Failure;
use crate::results::{
    BenchResult, StoredResult, StoredResults, is_result, newest_result, read_result, stored_results,
};
use crate::view::words::list;
use crate::view::{command, pasteable};

/// The results that are meant.
pub(in crate::cli) struct Chosen {
    /// In the order in which they were named, or the manifest declares them.
    pub(in crate::cli) results: Vec<StoredResult>,
    /// Whether they were named.
    pub(in crate::cli) are_named: bool,
    /// The folder of what is made of them.
    pub(in crate::cli) folder: PathBuf,
    /// Where the comparisons of their topology lie, unless results were named.
    pub(in crate::cli) compared: Option<Store>,
    /// The manifest, as the user named it.
    manifest: Option<String>,
}

impl Chosen {
    /// The name of their topology; of several, all names.
    pub(in crate::cli) fn topology(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for stored in &self.results {
            let name = stored.result.job.topology.as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    }

    /// What makes the commands in a hint such as can be pasted.
    pub(in crate::cli) fn hints(&self) -> impl Fn(&str) -> String + use<> {
        let manifest = self.manifest.clone();
        move |hint| match &manifest {
            Some(manifest) => pasteable(hint, manifest).into_owned(),
            None => hint.to_owned(),
        }
    }
}

/// The results that `[FILE] [BENCHMARK | RESULT.json]...` means: the newest of each benchmark where
/// none is named. A result is told from a manifest by what it says of itself.
pub(in crate::cli) fn chosen(global: &Global, words: &[String]) -> Result<Chosen, Error> {
    choose(global, words, Unnamed::Newest)
}

/// The same, for what shows comparisons too: the results of their blocks are told with them, and are
/// left out here, unless they are named.
pub(in crate::cli) fn reported(global: &Global, words: &[String]) -> Result<Chosen, Error> {
    choose(global, words, Unnamed::BesideComparisons)
}

/// Which results are meant where none is named.
#[derive(Debug, Clone, Copy)]
enum Unnamed {
    /// The newest of each benchmark.
    Newest,
    /// Those that no comparison tells of.
    BesideComparisons,
}

/// The results that are meant, by what is meant where none is named.
fn choose(global: &Global, words: &[String], unnamed: Unnamed) -> Result<Chosen, Error> {
    let first_is_result = words.first().is_some_and(|word| is_result(Path::new(word)));
    let (file, names) = if first_is_result {
        (None, words)
    } else {
        manifest_word::split(words)
    };
    let are_files = !names.is_empty() && names.iter().all(|word| is_result(Path::new(word)));
    if are_files && file.is_none() {
        let results = names
            .iter()
            .map(|name| read(name))
            .collect::<Result<Vec<_>, _>>()?;
        let folder = results.first().and_then(|it| it.path.parent());
        return Ok(Chosen {
            folder: folder.map(Path::to_owned).unwrap_or_default(),
            results,
            are_named: true,
            compared: None,
            manifest: None,
        });
    }
    let manifest = manifest::load_alone(&manifest::find(file.as_deref())?, global.variables())?;
    let place = Place::of(global, &manifest);
    let results = match names {
        [] => match unnamed {
            Unnamed::Newest => place.all()?,
            Unnamed::BesideComparisons => place.beside_comparisons()?,
        },
        names => names
            .iter()
            .map(|name| place.named(name))
            .collect::<Result<_, _>>()?,
    };
    Ok(Chosen {
        folder: place.results.join(place.topology()),
        results,
        are_named: !names.is_empty(),
        compared: names.is_empty().then(|| place.compared()),
        manifest: Some(place.file()),
    })
}

/// A manifest and where its results lie.
pub(super) struct Place<'a> {
    manifest: &'a Manifest,
    results: PathBuf,
}

impl<'a> Place<'a> {
    pub(super) fn of(global: &Global, manifest: &'a Manifest) -> Self {
        Self {
            manifest,
            results: results_folder(global, manifest),
        }
    }

    pub(super) fn topology(&self) -> &'a str {
        self.manifest.topology.name.as_str()
    }

    fn file(&self) -> String {
        self.manifest.path.display().to_string()
    }

    /// The benchmarks, in the order of the manifest.
    fn declared(&self) -> impl Iterator<Item = &'a str> {
        let benchmarks = self.manifest.topology.benchmarks.keys();
        benchmarks.map(BenchmarkName::as_str)
    }

    /// All results that there are: of what is declared first, in its order, the newest first.
    pub(super) fn stored(&self) -> StoredResults {
        let mut stored = stored_results(&self.results, self.topology());
        let place = |it: &StoredResult| {
            let name = it.result.job.name.as_str();
            self.declared().position(|declared| declared == name)
        };
        // Those that nobody declares any more keep their order, behind.
        let places = |it: &StoredResult| place(it).unwrap_or(usize::MAX);
        stored.results.sort_by_key(places);
        stored
    }

    /// The newest result of each benchmark.
    fn all(&self) -> Result<Vec<StoredResult>, Error> {
        let stored = self.stored().results;
        let newest: Vec<_> = stored.into_iter().filter(StoredResult::is_newest).collect();
        if newest.is_empty() {
            return Err(Error::refused(
                format!("there is no result of `{}` yet", self.topology()),
                format!("`{}` measures", command("apply", &self.file())),
            ));
        }
        Ok(newest)
    }

    fn compared(&self) -> Store {
        Store::of(&self.results, self.topology())
    }

    /// The newest result of each benchmark that was measured for its own sake, where there are comparisons
    /// to show; else the newest of each.
    fn beside_comparisons(&self) -> Result<Vec<StoredResult>, Error> {
        if self.compared().standing().is_empty() {
            return self.all();
        }
        let mut stored = self.stored().results;
        stored.retain(|it| !is_of_comparison(&it.result));
        // The newest stands first.
        stored.dedup_by(|later, first| later.result.job.name == first.result.job.name);
        Ok(stored)
    }

    /// The result that a word means: a file, or the newest of a benchmark.
    fn named(&self, word: &str) -> Result<StoredResult, Error> {
        if is_result(Path::new(word)) {
            return read(word);
        }
        let newest = newest_result(&self.results, self.topology(), word);
        newest.ok_or_else(|| self.none_of(word))
    }

    fn none_of(&self, word: &str) -> Error {
        if self.declared().any(|name| name == word) {
            let measure = command(&format!("bench {word}"), &self.file());
            return Error::refused(
                format!("there is no result of `{word}` yet"),
                format!("`{measure}` measures"),
            );
        }
        let stored = self.stored().results;
        let newest = stored.iter().filter(|it| it.is_newest());
        let names: Vec<_> = newest
            .map(|it| format!("`{}`", it.result.job.name))
            .collect();
        let hint = if names.is_empty() {
            format!("there is none of `{}` yet", self.topology())
        } else {
            format!("there is one of {}", list(&names))
        };
        Error::refused(
            format!("there is no result of `{word}`, and no such file"),
            hint,
        )
    }
}

/// Whether a result is of a block of a comparison, or of a value that was tried for one: as `compare` tags
/// them.
fn is_of_comparison(result: &BenchResult) -> bool {
    let has = |tag: &str| result.tags.contains_key(tag);
    has("arm") && (has("compare") || has("tune"))
}

fn read(file: &str) -> Result<StoredResult, Error> {
    read_result(Path::new(file)).map_err(refused)
}

/// What a room could not do, as a command says it.
pub(in crate::cli) fn refused(failure: Failure) -> Error {
    Error::Refused {
        message: failure.to_string(),
        hint: failure.hint,
    }
}
