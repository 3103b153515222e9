//! A job: one benchmark in a file of its own, written as it stands under its name in a manifest.
//!
//! It is read as if it stood there, so that every mistake of it is found, placed and worded as one of a
//! manifest.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::check::check_job;
use super::document::Document;
use super::file::{ReadFile, decode, empty, is_extension, no_file};
use super::marks::Marks;
use super::problem::{ManifestError, Problem};
use super::scalar::Scalar;
use super::tree::{Entry, Node, Value};
use super::{parse, typed};
use crate::name::{BenchmarkName, TopologyName};
use crate::resource::benchmark::Measurement;

/// How a job is begun by whoever has none.
const BEGIN: &str = "a job holds what stands under a benchmark's name, as in \
                     `prompts: {inline: [Hello]}` and `load: {batch: 8}`";

/// The keys of a manifest that no benchmark has.
const OF_A_MANIFEST: [&str; 8] = [
    "topology",
    "nodes",
    "engines",
    "models",
    "instances",
    "proxy",
    "slos",
    "benchmarks",
];

/// A job's file that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFile {
    /// What is measured.
    pub measurement: Measurement,
    /// The file, as it was named.
    pub path: PathBuf,
    /// The folder of the file: what its relative paths are relative to.
    pub folder: PathBuf,
    /// The digest of the file's bytes, in hex.
    pub sha256: String,
}

/// Reads a job, and looks at the files that it names. Its results are those of a benchmark of this name,
/// of such a topology.
///
/// # Errors
///
/// Fails with every mistake that it has, not only the first.
pub fn load_job(
    path: &Path,
    topology: &TopologyName,
    name: &BenchmarkName,
) -> Result<JobFile, ManifestError> {
    let of_a_job = |error: ManifestError| error.of_a_job(&format!("`benchmarks.{name}`"));
    let read = ReadFile::at(path, |path| no_file(path).hint(BEGIN)).map_err(of_a_job)?;
    let measurement = understood(&read, path, topology, name).map_err(of_a_job)?;
    Ok(JobFile {
        measurement,
        path: path.to_owned(),
        sha256: read.sha256(),
        folder: read.folder,
    })
}

fn understood(
    read: &ReadFile,
    path: &Path,
    topology: &TopologyName,
    name: &BenchmarkName,
) -> Result<Measurement, ManifestError> {
    let source = decode(&read.name, &read.bytes)?;
    let mut problems = Vec::new();
    let mut marks = Marks::default();
    let mut measurement = None;
    match parse::parse(&source.text, &mut marks, &mut problems) {
        Some(root) if root.is_nothing() => problems.push(empty("job", BEGIN)),
        Some(root) => {
            let root = root.without(is_extension);
            if let Some(problem) = is_something_else(&root) {
                return Err(ManifestError::new(source, vec![problem]));
            }
            let root = under(topology, name, root);
            let document = typed::read::<Document>(&root, &mut marks, &mut problems);
            if let Some(document) = document {
                check_job(&document, &root, &marks, path, &mut problems);
                let declared = document.benchmarks.get(name);
                measurement = declared.and_then(|it| it.meant(&document.slos).ok());
            }
        }
        None if problems.is_empty() => problems.push(empty("job", BEGIN)),
        None => {}
    }
    match measurement {
        Some(measurement) if problems.is_empty() => Ok(measurement),
        _ => Err(ManifestError::new(source, problems)),
    }
}

/// The manifest that a job would stand in alone. What is not of its text begins where it does.
fn under(topology: &TopologyName, name: &BenchmarkName, job: Rc<Node>) -> Rc<Node> {
    let span = job.span.clone();
    let (weight, depth) = (job.weight, job.depth);
    // The numbers of the text's own values go up from 1.
    let mut ids = (0..).map(|back| usize::MAX - back);
    let mut id = || ids.next().unwrap_or_default();
    let mut node = |value| {
        Rc::new(Node {
            id: id(),
            span: span.clone(),
            value,
            weight,
            depth,
        })
    };
    let named = node(Value::Scalar(Scalar::plain(topology.to_string())));
    let nodes = node(Value::Map(Vec::new()));
    let entry = |id: usize, key: &str, value: Rc<Node>| Entry {
        id,
        key: key.to_owned(),
        span: span.clone(),
        value,
    };
    let first = usize::MAX / 2;
    let benchmarks = node(Value::Map(vec![entry(first, name.as_str(), job)]));
    node(Value::Map(vec![
        entry(first + 1, "topology", named),
        entry(first + 2, "nodes", nodes),
        entry(first + 3, "benchmarks", benchmarks),
    ]))
}

/// What a file is that is no job, and was most likely meant to be one.
fn is_something_else(root: &Node) -> Option<Problem> {
    let entries = root.entries();
    let of_a_manifest = |entry: &&Entry| OF_A_MANIFEST.contains(&entry.key.as_str());
    if let Some(entry) = entries.iter().find(of_a_manifest) {
        let problem = Problem::new("this is a manifest, and no job").at(entry.span.clone());
        return Some(problem.hint(BEGIN).hint(
            "what a manifest declares is measured by `replica bench FILE`, without `--url`",
        ));
    }
    let [only] = entries else { return None };
    let has = |key: &str| only.value.entries().iter().any(|it| it.key == key);
    (has("prompts") || has("load")).then(|| {
        Problem::new("a job has no name before it")
            .at(only.span.clone())
            .hint(format!(
                "remove the line `{}:`, and begin the others where it begins",
                only.key
            ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a job with this text.
    fn said(text: &str) -> String {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("job.yaml");
        std::fs::write(&path, text).unwrap();
        let (topology, name) = ("h-1".parse().unwrap(), "night".parse().unwrap());
        match load_job(&path, &topology, &name) {
            Ok(job) => format!("{}", job.measurement.max_tokens),
            Err(error) => error
                .to_string()
                .replace(&path.display().to_string(), "job.yaml"),
        }
    }

    #[test]
    fn a_job_is_what_stands_under_a_benchmarks_name() {
        let text = "x-mine: &p {inline: [Hello]}\nprompts: *p\nload: {batch: 8}\nmax_tokens: 7\n";
        assert_eq!(said(text), "7");
    }

    #[test]
    fn every_mistake_is_told_at_its_place_and_in_words_about_a_job() {
        let said = said(
            "prompts: {inline: []}\nlode: {batch: 8}\nmax_tokens: ten\nbaseline: /b.json\nslo: chat\n",
        );
        for expected in [
            "there are no prompts",
            "job.yaml:1:11",
            "unknown key `lode`",
            "job.yaml:2:1",
            "`max_tokens` must be a whole number",
            "job.yaml:3:13",
            "`/b.json` is not relative to the job",
            "there is no slo `chat`",
            "a job has no `slos:`: write the objective itself",
            "errors in job.yaml; nothing was changed",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        assert!(
            !said.contains("manifest") && !said.contains("night"),
            "{said}"
        );
    }

    #[test]
    fn what_is_no_job_is_told_from_one() {
        for (text, expected) in [
            ("", "the job is empty"),
            ("topology: t\nnodes: {}\n", "this is a manifest, and no job"),
            (
                "night:\n  prompts: {inline: [a]}\n",
                "remove the line `night:`",
            ),
            ("[1, 2]", "must be"),
        ] {
            assert!(said(text).contains(expected), "{text}: {}", said(text));
        }
    }
}
