//! `replica fmt` writes manifests in one form, and loses nothing of them.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use crate::suite::support::Workdir;

const CROOKED: &str = "nodes:\n    here:   # this one\n        ssh: local\ntopology: t\n";
const STRAIGHT: &str = "topology: t\nnodes:\n  here:     # this one\n    ssh: local\n";

#[test]
fn a_file_is_written_anew_and_named_and_the_rest_is_left() {
    let place = Workdir::empty();
    place.write("a.yaml", CROOKED);
    place.write("b.yaml", STRAIGHT);
    let mode = Permissions::from_mode(0o640);
    fs::set_permissions(place.work().join("a.yaml"), mode.clone()).unwrap();
    symlink("a.yaml", place.work().join("link.yaml")).unwrap();
    let checked = ["fmt", "--check", "a.yaml", "b.yaml"];
    assert_eq!(place.replica(&checked).exits(2).out, "a.yaml\n");
    let shown = place.replica(&["fmt", "--diff", "a.yaml"]).exits(0);
    let _ = shown
        .shows("--- a.yaml\n+++ a.yaml\n@@")
        .shows("-        ssh: local\n");
    assert_eq!(place.read("a.yaml"), CROOKED);
    let said = place
        .replica(&["fmt", "link.yaml", "b.yaml", "--json"])
        .exits(0)
        .json();
    assert_eq!(said["files"][0]["written"], true, "{said}");
    assert_eq!(said["files"][1]["differs"], false, "{said}");
    assert_eq!(place.read("a.yaml"), STRAIGHT);
    let about = fs::symlink_metadata(place.work().join("link.yaml")).unwrap();
    assert!(about.is_symlink());
    let about = fs::metadata(place.work().join("a.yaml")).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, mode.mode());
    assert_eq!(
        place
            .replica(&["fmt", "-check", "a.yaml", "b.yaml"])
            .exits(0)
            .out,
        ""
    );
    assert_eq!(fs::read_dir(place.work()).unwrap().count(), 3);
}

#[test]
fn the_file_of_the_folder_is_meant_and_what_comes_in_goes_out() {
    let place = Workdir::empty();
    place.write("topology.yaml", CROOKED);
    assert_eq!(place.replica(&["fmt"]).exits(0).out, "topology.yaml\n");
    assert_eq!(place.read("topology.yaml"), STRAIGHT);
    let mut command = place.command(&["fmt", "-"]);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = piped.spawn().unwrap();
    let mut input = running.stdin.take().unwrap();
    input.write_all(CROOKED.as_bytes()).unwrap();
    drop(input);
    let output = running.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), STRAIGHT);
}

#[test]
fn what_cannot_be_written_surely_is_left_and_told() {
    let place = Workdir::empty();
    let odd = "topology: t\nx-a:\n    ? b\n    : c\n";
    place.write("odd.yaml", odd);
    for words in [&["fmt", "odd.yaml"][..], &["fmt", "--check", "odd.yaml"]] {
        let _ = place
            .replica(words)
            .exits(1)
            .says("odd.yaml is left as it is: a key of it");
    }
    assert_eq!(place.read("odd.yaml"), odd);
    // Where one is no YAML, none is written.
    place.write("a.yaml", CROOKED);
    place.write("broken.yaml", "a: {b\n");
    let said = place.replica(&["fmt", "a.yaml", "broken.yaml"]).exits(65);
    let _ = said.says("`{` is never closed");
    assert_eq!(place.read("a.yaml"), CROOKED);
}
