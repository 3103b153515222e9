//! `cargo bless`: takes what comes out now for what should come out.
//!
//! Three sorts of expectation are kept: texts in files of their own (the twins of the invalid
//! manifests, the cases of the rooms, the schema), which their tests write anew under
//! `REPLICA_UPDATE`; snapshots in files, which insta writes; and snapshots in the source, which
//! insta only notes: those are put into the source here. Nothing but cargo is needed.
//!
//! `cargo bless view::` runs, and blesses, only the tests with such a name. What changed is for
//! `git diff` to show and for a human to believe.

mod bless {
    pub(crate) mod inline;
    pub(crate) mod pending;
}

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use bless::pending;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where insta notes what it would put into the source.
const PENDING: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/pending");

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    match blessed(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            say("something failed that is no expectation; it stands above");
            ExitCode::FAILURE
        }
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "it is a program of its own")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Runs what keeps expectations, and takes them over; tells whether all else was as it should be.
fn blessed(wanted: &[String]) -> Result<bool, String> {
    // Notes of an earlier run tell of lines that have moved since.
    if Path::new(PENDING).exists() {
        fs::remove_dir_all(PENDING).map_err(|error| format!("{PENDING}: {error}"))?;
    }
    let mut well = true;
    for arguments in runs(wanted) {
        well &= run(&arguments)?;
    }
    let accepted = pending::accept_all(Path::new(PENDING), Path::new(ROOT))?;
    for place in &accepted {
        say(&format!("blessed {place}"));
    }
    say("look at what changed with `git diff` before you believe it");
    Ok(well)
}

/// The tests that keep expectations, or those of them that were asked for.
fn runs(wanted: &[String]) -> Vec<Vec<&str>> {
    let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
    if wanted.is_empty() {
        return vec![
            vec!["--lib"],
            [&["--test", "suite", "--"], pending::KEEPERS].concat(),
        ];
    }
    vec![[&["--lib", "--test", "suite", "--"], wanted.as_slice()].concat()]
}

fn run(arguments: &[&str]) -> Result<bool, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--locked", "--quiet", "--no-fail-fast"])
        .args(arguments)
        .current_dir(ROOT)
        .env("REPLICA_UPDATE", "1")
        .env("INSTA_UPDATE", "always")
        // Every assertion of a test is to be seen, not only the first that differs.
        .env("INSTA_FORCE_PASS", "1")
        .env("INSTA_WORKSPACE_ROOT", ROOT)
        .env("INSTA_PENDING_DIR", PENDING)
        .status()
        .map_err(|error| format!("cargo cannot be run: {error}"))?;
    Ok(status.success())
}
