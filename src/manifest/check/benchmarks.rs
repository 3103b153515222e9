//! What is measured.

use std::path::Path;

use super::super::problem::Problem;
use super::super::suggest::shown;
use super::Checker;
use super::proxy::no_time;
use crate::resource::benchmark::{BenchmarkDeclaration, Prompts};
use crate::results::can_be_saved;
use crate::shape::{Course, Load, LoadPart, Shape};

/// A benchmark has one thing to ask: the proxy, or the only instance.
pub(super) fn have_something_to_measure(seen: &Checker<'_>) -> Vec<Problem> {
    if seen.document.benchmarks.is_empty() || seen.is_given(&["proxy"]) {
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
            "declare a `proxy:`; it may be on the node of one of them",
        ),
    };
    let problem = seen.report_key(&["benchmarks"], title);
    problem
        .map(|problem| problem.hint(hint))
        .into_iter()
        .collect()
}

/// A benchmark sends requests that ask for tokens.
pub(super) fn ask_something(seen: &Checker<'_>) -> Vec<Problem> {
    let mut out = Vec::new();
    for (name, benchmark) in &seen.document.benchmarks {
        let name = name.as_str();
        out.extend(no_prompts(seen, name, benchmark));
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
        out.extend(no_time(
            seen,
            &["benchmarks", name, "timeout"],
            benchmark.timeout,
        ));
    }
    out
}

fn no_prompts(seen: &Checker<'_>, name: &str, benchmark: &BenchmarkDeclaration) -> Vec<Problem> {
    let Prompts::Inline(prompts) = &benchmark.prompts;
    let path = ["benchmarks", name, "prompts", "inline"];
    if prompts.is_empty() {
        let problem = seen.report(&path, format!("benchmark `{name}` has no prompts"));
        let hint =
            "request number i sends prompt number i, from the beginning again after the last";
        return problem
            .map(|problem| problem.hint(hint))
            .into_iter()
            .collect();
    }
    let blank = prompts
        .iter()
        .enumerate()
        .filter(|(_, prompt)| prompt.trim().is_empty());
    blank
        .filter_map(|(index, _)| {
            let item = index.to_string();
            let path = [&path[..], &[&item]].concat();
            seen.report(&path, format!("prompt {} of `{name}` is empty", index + 1))
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

fn not_relative(seen: &Checker<'_>, path: &[&str], file: &Path) -> Option<Problem> {
    let text = file.to_string_lossy();
    let title = if text.is_empty() || text.ends_with('/') {
        format!("`{}` is not the name of a file", shown(&text))
    } else if file.is_absolute() || text.starts_with('~') {
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
