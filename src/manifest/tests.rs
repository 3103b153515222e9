//! The manifests that come with `replica` are good, and the schema is the one that is kept.

use std::path::{Path, PathBuf};

use super::file::understand;
use super::{load, schema};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(here(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no manifests in {folder}");
    files
}

#[test]
fn every_manifest_of_ours_is_good() {
    for path in yaml_files("manifests") {
        if let Err(error) = load(&path) {
            panic!("{error}");
        }
    }
}

#[test]
fn every_manifest_of_ours_names_its_schema() {
    for path in yaml_files("manifests") {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("# yaml-language-server: $schema=../schemas/topology.json\n"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn the_schema_that_is_kept_is_the_one_of_the_types() {
    let path = here("schemas/topology.json");
    let now = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("REPLICA_UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == now,
        "schemas/topology.json is out of date: run `cargo run -- schema > schemas/topology.json`"
    );
}

/// Compares what is said of a manifest with what stands beside it, or writes it there.
fn compare(path: &Path, said: &str) -> Result<(), String> {
    let kept = path.with_extension("txt");
    if std::env::var_os("REPLICA_UPDATE").is_some() {
        std::fs::write(&kept, said).unwrap();
    }
    let expected = std::fs::read_to_string(&kept).unwrap_or_default();
    if expected == said {
        return Ok(());
    }
    let diff = similar::TextDiff::from_lines(expected.as_str(), said);
    Err(format!("{}:\n{}", path.display(), diff.unified_diff()))
}

#[test]
fn every_mistake_is_told_as_it_is_kept() {
    let mut wrong = Vec::new();
    for path in yaml_files("tests/manifests/invalid") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let Err(error) = understand(name, &bytes) else {
            wrong.push(format!("{name} was taken for good"));
            continue;
        };
        assert_eq!(error.to_string(), error.render(false));
        wrong.extend(compare(&path, &format!("{error}\n")).err());
    }
    assert!(
        wrong.is_empty(),
        "{}\nrun `REPLICA_UPDATE=1 cargo test --lib manifest::` if this is as it should be",
        wrong.join("\n")
    );
}

#[test]
fn what_is_kept_belongs_to_a_manifest() {
    for entry in std::fs::read_dir(here("tests/manifests/invalid")).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            path.with_extension("yaml").is_file(),
            "{} is left over",
            path.display()
        );
    }
}

#[test]
fn nothing_is_said_of_what_is_good() {
    for path in yaml_files("tests/manifests/valid") {
        if let Err(error) = load(&path) {
            panic!("{error}");
        }
    }
}
