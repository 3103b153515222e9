//! The manifests that come with `replica` are good, and the schema is the one that is kept.

use std::path::{Path, PathBuf};

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
