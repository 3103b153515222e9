//! The files that a manifest names: what is read must be there, and nothing is overwritten.

use std::path::{Component, Path, PathBuf};

use super::super::problem::Problem;
use super::super::suggest::shown;
use super::benchmarks::is_relative;
use super::{Checker, resolve};
use crate::prompts::Reading;
use crate::rehearsal::FittedProfile;
use crate::resource::benchmark::BenchmarkDeclaration;
use crate::results::{check_baseline, is_pointer};
use crate::shape::Course;

/// A baseline is there and is one before anything is measured for it; or a benchmark writes it.
pub(super) fn baselines_can_be_read(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(manifest) = seen.file else {
        return Vec::new();
    };
    let is_written = |file: &Path| {
        let mut benchmarks = seen.document.benchmarks.values();
        benchmarks.any(|other| other.save.as_deref() == Some(file))
    };
    // A first measurement has nothing to be held against, and is what the next one is held against.
    let is_measured = |manifest: &Path, path: &Path| {
        let mut benchmarks = seen.document.benchmarks.keys();
        let topology = seen.document.name.as_str();
        let results = beside(manifest, Path::new("results")).join(topology);
        let is_of = |name| path.parent() == Some(&results.join(name));
        is_pointer(path) && benchmarks.any(|name| is_of(name.as_str()))
    };
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        // Of what is not named relative to the manifest that alone is told.
        let Some(file) = benchmark.baseline.as_deref().filter(|it| is_relative(it)) else {
            continue;
        };
        let path = beside(manifest, file);
        if (is_written(file) || is_measured(manifest, &path)) && !path.exists() {
            continue;
        }
        let at = ["benchmarks", name.as_str(), "baseline"];
        if !path.is_file() {
            let title = format!("there is no file `{}`", shown(&file.to_string_lossy()));
            out.extend(seen.report(&at, title).map(|problem| {
                problem.hint(
                    "a baseline lies beside the manifest; leave the key out to compare nothing",
                )
            }));
        } else if let Err(failure) = check_baseline(&path) {
            let problem = seen.report(&at, failure.message);
            out.extend(problem.map(|problem| match failure.hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            }));
        }
    }
    out
}

/// A trace is there and is one before anything is changed to replay it.
pub(super) fn traces_can_be_read(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(manifest) = seen.file else {
        return Vec::new();
    };
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let Ok(mut course) = Course::try_from(benchmark.load.clone()) else {
            continue;
        };
        let trace = benchmark.load.trace.as_deref();
        if trace.is_some_and(|file| !is_relative(file)) {
            continue;
        }
        if let Err(why) = course.read(folder) {
            let problem = seen.report(&["benchmarks", name.as_str(), "load", "trace"], why.message);
            out.extend(problem.map(|problem| problem.hint(why.hint)));
        }
    }
    out
}

/// A profile is there and is one, wherever anything is predicted by it.
pub(super) fn profiles_can_be_read(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(manifest) = seen.file else {
        return Vec::new();
    };
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let engines = seen.document.engines.iter();
    let unread = engines.filter_map(|(name, engine)| {
        let why = FittedProfile::read(folder, engine.profile.as_deref()?).err()?;
        let problem = seen.report(&["engines", name.as_str(), "profile"], why)?;
        Some(problem.hint("`replica profile RESULT... --out FILE` writes one"))
    });
    unread.collect()
}

/// Prompts are there and are prompts before anything is changed to ask them, and a server has room
/// for them.
pub(super) fn prompts_can_be_asked(seen: &Checker<'_>) -> Vec<Problem> {
    let shortest = shortest_context(seen);
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let Ok(source) = benchmark.prompts.meant() else {
            continue;
        };
        let folder = seen.file.map(|it| it.parent().unwrap_or(Path::new("")));
        let is_read = |file: &Path| folder.is_some() && is_relative(file);
        if source.file().is_some_and(|file| !is_read(file)) {
            continue;
        }
        let asks = source.read(&Reading {
            folder: folder.unwrap_or(Path::new("")),
            api: benchmark.api,
            max_tokens: benchmark.max_tokens,
        });
        let at = ["benchmarks", name.as_str(), "prompts", source.key()];
        let (title, hint) = match asks {
            Err(why) => (why.message, why.hint),
            Ok(asks) => match shortest.as_ref().zip(asks.longest()) {
                Some(((_, context), longest)) if longest <= *context => continue,
                Some(((instance, context), longest)) => (
                    format!(
                        "a prompt and its answer have up to {longest} tokens, and `{instance}` takes \
                         {context}"
                    ),
                    "ask shorter ones, or raise its `max_model_len`".to_owned(),
                ),
                None => continue,
            },
        };
        out.extend(seen.report(&at, title).map(|problem| problem.hint(hint)));
    }
    out
}

/// The server that says that it takes the fewest tokens of a prompt and its answer together.
fn shortest_context(seen: &Checker<'_>) -> Option<(String, u32)> {
    let topology = resolve::topology(seen)?;
    let told = topology.instances.iter().filter_map(|(name, server)| {
        let tokens = server.args.whole("max_model_len")?;
        Some((name.to_string(), u32::try_from(tokens).ok()?))
    });
    told.min_by_key(|(_, tokens)| *tokens)
}

/// What is saved takes the place of nothing that the manifest is made of, and of no other result.
pub(super) fn saves_overwrite_nothing(seen: &Checker<'_>) -> Vec<Problem> {
    let Some(manifest) = seen.file else {
        return Vec::new();
    };
    let mut out = Vec::new();
    let mut saved: Vec<(PathBuf, &str, &BenchmarkDeclaration)> = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let Some(file) = benchmark.save.as_deref() else {
            continue;
        };
        let path = beside(manifest, file);
        let at = ["benchmarks", name.as_str(), "save"];
        if path == plain(manifest) {
            let problem = seen.report(&at, "the result would overwrite this manifest");
            out.extend(problem.map(|problem| problem.hint("save it under another name")));
        }
        let loses = |other: &&(PathBuf, &str, &BenchmarkDeclaration)| {
            other.0 == path && is_of_one_class(other.2, benchmark)
        };
        if let Some((_, first, _)) = saved.iter().find(loses) {
            let title = format!("`{name}` would overwrite what `{first}` saves");
            let place = seen.place(&["benchmarks", first, "save"]);
            out.extend(seen.report(&at, title).zip(place).map(|(problem, place)| {
                problem
                    .also(place, format!("`{first}` is saved here"))
                    .hint("that file holds one request alone and one batch: save one of them elsewhere")
            }));
        }
        saved.push((path, name.as_str(), benchmark));
    }
    out
}

fn is_of_one_class(one: &BenchmarkDeclaration, other: &BenchmarkDeclaration) -> bool {
    let is_alone = |it: &BenchmarkDeclaration| {
        let course = Course::try_from(it.load.clone()).ok()?;
        Some(course.only()?.class().is_alone())
    };
    is_alone(one)
        .zip(is_alone(other))
        .is_some_and(|(a, b)| a == b)
}

/// A file as seen from the manifest's folder.
fn beside(manifest: &Path, file: &Path) -> PathBuf {
    plain(&manifest.parent().unwrap_or(Path::new("")).join(file))
}

/// A path without `.`, and without what `..` takes back: as far as that is told without looking.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
