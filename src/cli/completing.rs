//! What a shell completes beside the words of the command line itself: manifests, and what they declare.
//!
//! The shell asks this program while somebody types (`COMPLETE=bash replica -- replica drain in`); what an
//! argument is, its placeholder says. A manifest that cannot be read completes nothing, and no node is asked.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _,
};

use super::manifest_word;
use crate::manifest::{self, Manifest, Variables};
use crate::plan::Address;
use crate::resource::{Catalogue, Paths};

/// Under which variable the shell asks.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Answers the shell that asks, and returns whether one did.
///
/// # Errors
///
/// When the shell is none that is known, or its words are none.
pub(super) fn answered(words: &[OsString]) -> Result<bool, clap::Error> {
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(|| completed(super::command()))
        .var(VARIABLE)
        .bin("replica")
        .try_complete(words, folder.as_deref())
}

/// The same command line, whose arguments are completed by what is here.
fn completed(command: Command) -> Command {
    let command = command.mut_args(|arg| match completer(&arg) {
        Some(completer) => arg.add(completer),
        None => arg,
    });
    command.mut_subcommands(completed)
}

/// What completes an argument, by its placeholder.
fn completer(arg: &Arg) -> Option<ArgValueCompleter> {
    let names: Vec<&str> = arg
        .get_value_names()?
        .iter()
        .map(clap::builder::Str::as_str)
        .collect();
    let declared: fn(&Manifest) -> BTreeSet<String> = match names.as_slice() {
        ["FILE"] if arg.is_positional() => return Some(ArgValueCompleter::new(manifests)),
        [.., "ADDRESS"] => addresses,
        [.., "NODE"] => nodes,
        [.., "BENCHMARK" | "BENCHMARK | RESULT"] => benchmarks,
        _ => return None,
    };
    let takes_file = names.first() == Some(&"FILE");
    Some(ArgValueCompleter::new(move |current: &OsStr| {
        let mut found = of_manifest(declared, current);
        if takes_file && file().is_none() {
            found.extend(manifests(current));
        }
        found
    }))
}

fn manifests(current: &OsStr) -> Vec<CompletionCandidate> {
    let files = PathCompleter::any()
        .filter(|path| path.is_dir() || manifest_word::ends_as_manifests_do(path));
    files.complete(current)
}

/// What the manifest that is meant declares, as far as it goes on from what is typed.
fn of_manifest(
    declared: fn(&Manifest) -> BTreeSet<String>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let manifest = manifest::find(file().as_deref())
        .and_then(|file| manifest::load_alone(&file, Variables::default()));
    let declared = manifest.map(|it| declared(&it)).unwrap_or_default();
    let begun = declared.into_iter().filter(|it| it.starts_with(&*typed));
    begun.map(CompletionCandidate::new).collect()
}

/// The manifest that was typed already.
fn file() -> Option<PathBuf> {
    let words = std::env::args_os().skip_while(|word| word != "--");
    // The name of the program is the first of them.
    let typed = words
        .skip(2)
        .map(|word| word.to_string_lossy().into_owned());
    typed
        .into_iter()
        .find_map(|word| manifest_word::split(&[word]).0)
}

/// The addresses of what is on nodes, whole and without the node, which is how most are typed.
fn addresses(manifest: &Manifest) -> BTreeSet<String> {
    let topology = &manifest.topology;
    // Nothing is brought anywhere, and no result is looked for: their names are all that is wanted.
    let paths = Paths {
        manifest: PathBuf::new(),
        origin: None,
        results: PathBuf::new(),
    };
    let all = Catalogue::new(topology, &Arc::default(), &paths).resources();
    let on_nodes = all
        .iter()
        .map(|it| it.address())
        .filter(|it| it.node.is_some());
    on_nodes
        .flat_map(|it: &Address| [it.to_string(), it.local()])
        .collect()
}

fn nodes(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .topology
        .nodes
        .keys()
        .map(ToString::to_string)
        .collect()
}

fn benchmarks(manifest: &Manifest) -> BTreeSet<String> {
    manifest
        .topology
        .benchmarks
        .keys()
        .map(ToString::to_string)
        .collect()
}
