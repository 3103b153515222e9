//! What is measured.

use std::path::Path;

use super::super::problem::Problem;
use super::super::suggest::shown;
use super::Checker;
use super::proxy::no_time;
use crate::prompts::{InvalidPrompts, PromptsPart};
use crate::resource::benchmark::{BenchmarkDeclaration, Way, name_at};
use crate::results::can_be_saved;
use crate::shape::{Course, Load, LoadPart, Shape};

/// A benchmark has one thing to ask: the proxy, or the only instance.
pub(super) fn have_something_to_measure(seen: &Checker<'_>) -> Vec<Problem> {
    let mut benchmarks = seen.document.benchmarks.values();
    let is_named = |it: &BenchmarkDeclaration| matches!(it.endpoint, Way::Instance(_));
    if benchmarks.all(is_named) || seen.is_given(&["proxy"]) {
        return Vec::new();
    }
    let (title, hint) = match seen.names("instances").len() {
        0 => (
            "there is nothing to measure: no instance and no proxy",
            "declare an instance",
        ),
        1 => return Vec::new(),
        _ => (
            "which instance is measured? there are several, and no proxy before them",
            "declare a `proxy:`, which may be on the node of one of them; or name one, \
             `endpoint: {instance: NAME}`",
        ),
    };
    let problem = seen.report_key(&["benchmarks"], title);
    problem
        .map(|problem| problem.hint(hint))
        .into_iter()
        .collect()
}

/// Whom a benchmark that stands alone is asked of, the command says.
pub(super) fn say_nothing_of_whom(seen: &Checker<'_>) -> Vec<Problem> {
    let names = seen.document.benchmarks.keys();
    let paths = names.map(|name| ["benchmarks", name.as_str(), "endpoint"]);
    let given = paths.filter(|path| seen.is_given(path));
    let reported = given.filter_map(|path| {
        let problem = seen.report_key(&path, "a job does not say whom it is asked of")?;
        Some(problem.hint("remove the key: `--url` says it"))
    });
    reported.collect()
}

/// Each instance is measured beside a proxy, and its results are called as no other benchmark is.
pub(super) fn targets_are_told_apart(seen: &Checker<'_>) -> Vec<Problem> {
    let document = seen.document;
    let mut out = Vec::new();
    for (name, benchmark) in &document.benchmarks {
        if benchmark.endpoint != Way::EachInstance {
            continue;
        }
        let at = ["benchmarks", name.as_str(), "endpoint"];
        if !seen.is_given(&["proxy"]) {
            let problem = seen.report(&at, "there is no proxy that instances could stand beside");
            let hint = "declare a `proxy:`, or leave the key out to measure the only instance";
            out.extend(problem.map(|problem| problem.hint(hint)));
        }
        for instance in document.instances.keys() {
            let title = match name_at(name, instance) {
                Err(_) => format!("`{name}.{instance}` is too long for the name of a result"),
                Ok(apart) if document.benchmarks.contains_key(&apart) => {
                    format!("`{apart}` is both a benchmark and what `{instance}` alone is called")
                }
                Ok(_) => continue,
            };
            let problem = seen.report(&at, title);
            out.extend(problem.map(|problem| problem.hint("give the benchmark another name")));
        }
    }
    out
}

/// A benchmark sends requests that ask for tokens.
pub(super) fn ask_something(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let name = name.as_str();
        out.extend(no_prompts(seen, name, benchmark));
        out.extend(no_sampling(seen, name, benchmark));
        out.extend(no_load(seen, name, &benchmark.load));
        if benchmark.max_tokens == 0 {
            let problem = seen.report(
                &["benchmarks", name, "max_tokens"],
                "`max_tokens` must be 1 or more",
            );
            out.extend(
                problem.map(|problem| problem.hint("an answer of no tokens cannot be timed")),
            );
        }
        if benchmark.repeats == Some(0) {
            let problem = seen.report(
                &["benchmarks", name, "repeats"],
                "`repeats` must be 1 or more",
            );
            let hint = "it is how often the load is driven; without it, short ones are repeated";
            out.extend(problem.map(|problem| problem.hint(hint)));
        }
        if benchmark.warmup.max < benchmark.warmup.per_instance {
            let at = ["benchmarks", name, "warmup", "max"];
            let title = "`max` is less than `per_instance`";
            let problem = seen.report(&at, title);
            let hint = "it is the most requests until two in a row take as long as each other";
            out.extend(problem.map(|problem| problem.hint(hint)));
        }
        out.extend(no_time(
            seen,
            &["benchmarks", name, "timeout"],
            benchmark.timeout,
        ));
    }
    out
}

fn no_prompts(seen: &Checker<'_>, name: &str, benchmark: &BenchmarkDeclaration) -> Vec<Problem> {
    let source = match benchmark.prompts.meant() {
        Ok(source) => source,
        Err(wrong) => {
            let wrong = wrong.into_iter();
            return wrong.filter_map(|it| invalid(seen, name, it)).collect();
        }
    };
    if source.suits(benchmark.api) {
        return Vec::new();
    }
    let problem = seen.report(
        &["benchmarks", name, "api"],
        "token ids are prompts of completions, and not of a chat",
    );
    let hint = "write `api: completions`, or ask texts";
    problem
        .map(|problem| problem.hint(hint))
        .into_iter()
        .collect()
}

/// What is wrong with prompts, where they stand.
fn invalid(seen: &Checker<'_>, name: &str, invalid: InvalidPrompts) -> Option<Problem> {
    let path = ["benchmarks", name, "prompts"];
    let at = |keys: &[String]| -> Vec<String> {
        let path = path.iter().map(|step| (*step).to_owned());
        path.chain(keys.iter().cloned()).collect()
    };
    let problem = match &invalid.part {
        // A key that is not read any more may have said it.
        PromptsPart::Whole if seen.has_passed_over(&path) => return None,
        PromptsPart::Whole => seen.report(&path, invalid.message),
        PromptsPart::Key(keys) => seen.report_key(&borrowed(&at(keys)), invalid.message),
        PromptsPart::Value(keys) => seen.report(&borrowed(&at(keys)), invalid.message),
    };
    Some(problem?.hint(invalid.hint))
}

fn borrowed(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// How tokens are chosen is told as vLLM takes it.
fn no_sampling(seen: &Checker<'_>, name: &str, benchmark: &BenchmarkDeclaration) -> Vec<Problem> {
    let refused = benchmark.sampling.refused().into_iter();
    refused
        .filter_map(|(key, takes)| {
            let path = ["benchmarks", name, "sampling", key];
            let problem = seen.report(&path, format!("`{key}` takes {takes}"))?;
            Some(problem.hint("vLLM would refuse every request"))
        })
        .collect()
}

fn no_load(seen: &Checker<'_>, name: &str, load: &Load) -> Option<Problem> {
    let invalid = Course::try_from(load.clone()).err()?;
    let path = ["benchmarks", name, "load"];
    let at = |key| [&path[..], &[key]].concat();
    let problem = match invalid.part {
        // A key that is not read any more may have said it.
        LoadPart::Whole if seen.has_passed_over(&path) => return None,
        LoadPart::Whole => seen.report(&path, invalid.message),
        LoadPart::Key(key) => seen.report_key(&at(key), invalid.message),
        LoadPart::Value(key) => seen.report(&at(key), invalid.message),
    };
    Some(problem?.hint(invalid.hint))
}

/// The file that `save:` writes has a place for one request alone and for a batch.
pub(super) fn save_what_the_file_has_a_place_for(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let course = Course::try_from(benchmark.load.clone());
        let has_place = |load: &Shape| can_be_saved(load.class());
        let fits = course.map_or(true, |course| course.only().is_some_and(has_place));
        if benchmark.save.is_some() && !fits {
            let path = ["benchmarks", name.as_str(), "save"];
            let problem = seen.report(&path, "that file has no place for such a load");
            out.extend(problem.map(|problem| {
                problem.hint(
                    "it holds one request alone and a batch, as in `{sequential: 1}` and `{batch: 8}`; \
                     the whole result is kept in any case",
                )
            }));
        }
    }
    out
}

/// Files are named relative to the manifest, so that it means the same on every machine.
pub(super) fn files_are_beside_the_manifest(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let at = |key| ["benchmarks", name.as_str(), key];
        for (key, file) in [("baseline", &benchmark.baseline), ("save", &benchmark.save)] {
            out.extend(
                file.as_deref()
                    .and_then(|file| not_relative(seen, &at(key), file)),
            );
        }
        let path = ["benchmarks", name.as_str(), "load", "trace"];
        let trace = benchmark.load.trace.as_deref();
        out.extend(trace.and_then(|file| not_relative(seen, &path, file)));
        let prompts = &benchmark.prompts;
        for (key, file) in [
            ("file", &prompts.file),
            ("jsonl", &prompts.jsonl),
            ("sharegpt", &prompts.sharegpt),
            ("trace", &prompts.trace),
        ] {
            let path = ["benchmarks", name.as_str(), "prompts", key];
            out.extend(
                file.as_deref()
                    .and_then(|file| not_relative(seen, &path, file)),
            );
        }
        let overwritten = benchmark.save.is_some() && benchmark.save == benchmark.baseline;
        out.extend(
            overwritten
                .then(|| {
                    let baseline = seen.place(&at("baseline"))?;
                    let problem =
                        seen.report(&at("save"), "the result would overwrite its own baseline")?;
                    Some(
                        problem
                            .also(baseline, "compared with this file")
                            .hint("save it under another name"),
                    )
                })
                .flatten(),
        );
    }
    out
}

/// Whether a file is named as seen from the manifest's folder.
pub(super) fn is_relative(file: &Path) -> bool {
    !file.is_absolute() && !file.to_string_lossy().starts_with('~')
}

fn not_relative(seen: &Checker<'_>, path: &[&str], file: &Path) -> Option<Problem> {
    let text = file.to_string_lossy();
    let title = if text.is_empty() || text.ends_with('/') {
        format!("`{}` is not the name of a file", shown(&text))
    } else if !is_relative(file) {
        format!("`{}` is not relative to the manifest", shown(&text))
    } else {
        return None;
    };
    let name = file.file_name().map_or(
        "baseline_metrics.json".into(),
        std::ffi::OsStr::to_string_lossy,
    );
    let problem = seen.report(path, title)?;
    Some(problem.hint(format!(
        "write it as seen from the manifest's folder, as in `{}`",
        shown(&name)
    )))
}
