//! The rules that no type can hold: each a function, all of them run.
//!
//! A rule speaks of a document in paths (`instances`, `a`, `port`); where they stand in the text
//! the [`Checker`] knows, and it keeps silent about what was reported before.

mod arguments;
mod benchmarks;
mod compare;
mod engines;
mod environment;
mod files;
mod kv;
mod models;
mod nodes;
mod objectives;
mod ports;
mod proxy;
mod references;
mod resolve;
mod senders;
mod serving;

use std::ops::Range;
use std::path::Path;

use super::document::Document;
use super::marks::{Found, Marks, find};
use super::problem::Problem;
use super::tree::Node;
use crate::resource::Topology;
pub(super) use proxy::{NOBODY_WAITS, NOBODY_WAITS_HINT};
use resolve::Engines;

/// A rule: what a document breaks of it.
type Rule = fn(&Checker<'_>) -> Vec<Problem>;

/// The rules for everything else.
const RULES: &[Rule] = &[
    nodes::some_are_declared,
    nodes::each_is_another_machine,
    nodes::unmanaged_is_said_once,
    nodes::addresses_are_addresses,
    nodes::reached_by_the_network_of_the_proxy,
    ports::nobody_shares_one,
    engines::are_of_one_sort,
    engines::versions_are_exact,
    engines::days_are_days,
    engines::paths_and_indexes_are_whole,
    models::are_pinned_to_a_commit,
    models::are_fetched_from_somewhere,
    models::are_in_one_cache_of_a_node,
    arguments::are_spelled_as_vllm_does,
    arguments::switches_are_true_or_false,
    arguments::are_known_to_the_simulator,
    arguments::leave_to_replica_what_is_its,
    serving::all_answer_over_http,
    serving::what_is_measured_completes,
    environment::names_are_names,
    environment::secrets_are_not_written_down,
    environment::caches_are_places_of_the_node,
    proxy::has_backends,
    proxy::weighs_what_is_behind_it,
    proxy::serves_one_model,
    proxy::dials_what_listens,
    proxy::waits_for_a_while,
    proxy::waits_for_places,
    proxy::keeps_enough,
    kv::roles_hand_over,
    kv::each_part_is_done,
    kv::is_said_once,
    kv::holds_for_a_while,
    kv::is_fetched_at_an_address,
    kv::pairs_are_of_one_version,
    kv::nixl_is_part_of_the_engine,
    benchmarks::have_something_to_measure,
    benchmarks::targets_are_told_apart,
    senders::reach_what_they_measure,
    compare::has_arms,
    compare::measures_what_is_declared,
    compare::can_be_decided,
    compare::tunes_one_argument,
    compare::warms_what_it_measures,
];

/// The rules for benchmarks, in a manifest and alone.
const RULES_OF_BENCHMARKS: &[Rule] = &[
    references::names_are_declared,
    senders::are_declared,
    benchmarks::ask_something,
    benchmarks::save_what_the_file_has_a_place_for,
    benchmarks::files_are_beside_the_manifest,
    objectives::objectives_limit_something,
    objectives::conditions_can_be_judged,
    files::baselines_can_be_read,
    files::traces_can_be_read,
    files::profiles_can_be_read,
    files::prompts_can_be_asked,
    files::saves_overwrite_nothing,
];

/// Checks a document that holds nothing but a benchmark, and adds what is broken to `problems`. `file` is
/// the benchmark's own.
pub(super) fn check_job(
    document: &Document,
    root: &Node,
    marks: &Marks,
    file: &Path,
    problems: &mut Vec<Problem>,
) {
    let seen = Checker {
        engines: Engines::new(),
        document,
        root,
        marks,
        file: Some(file),
    };
    problems.extend(benchmarks::say_nothing_of_whom(&seen));
    problems.extend(RULES_OF_BENCHMARKS.iter().flat_map(|rule| rule(&seen)));
}

/// Checks a document against every rule, and adds what is broken to `problems`. What it means is
/// returned where everything that it names was found; it is to be believed when nothing is broken.
/// `file` is the manifest's own, where the files that it names are to be looked at.
pub(super) fn check(
    document: &Document,
    root: &Node,
    marks: &Marks,
    file: Option<&Path>,
    problems: &mut Vec<Problem>,
) -> Option<Topology> {
    let seen = Checker {
        engines: resolve::engines(document),
        document,
        root,
        marks,
        file,
    };
    let rules = RULES.iter().chain(RULES_OF_BENCHMARKS);
    problems.extend(rules.flat_map(|rule| rule(&seen)));
    resolve::topology(&seen)
}

/// A document and the text that it was read from.
struct Checker<'a> {
    document: &'a Document,
    /// What each of its engines means, or why it means nothing.
    engines: Engines<'a>,
    root: &'a Node,
    marks: &'a Marks,
    file: Option<&'a Path>,
}

impl<'a> Checker<'a> {
    /// Begins to report what is wrong with the value at a path; nothing where that was reported
    /// already. What is not there at all is reported where it should be.
    fn report(&self, path: &[&str], title: impl Into<String>) -> Option<Problem> {
        self.place(path).map(|place| Problem::new(title).at(place))
    }

    /// Begins to report what is wrong with a key itself.
    fn report_key(&self, path: &[&str], title: impl Into<String>) -> Option<Problem> {
        self.key(path).map(|place| Problem::new(title).at(place))
    }

    /// The bytes to point at for a path; nothing where something was reported already.
    fn place(&self, path: &[&str]) -> Option<Range<usize>> {
        match find(self.root, self.marks, path) {
            Found::Value { place, .. } | Found::Absent(place) => Some(place),
            Found::Reported => None,
        }
    }

    /// The bytes of the key at a path.
    fn key(&self, path: &[&str]) -> Option<Range<usize>> {
        match find(self.root, self.marks, path) {
            Found::Value { key, place } => Some(key.unwrap_or(place)),
            Found::Absent(place) => Some(place),
            Found::Reported => None,
        }
    }

    /// Whether the text has a value at a path, good or not.
    fn is_given(&self, path: &[&str]) -> bool {
        !matches!(find(self.root, self.marks, path), Found::Absent(_))
    }

    /// Whether the map at a path has a key that nobody reads, which was reported.
    fn has_passed_over(&self, path: &[&str]) -> bool {
        let step_into = |node: &'a Node, step: &&str| {
            let mut entries = node.entries().iter();
            let entry = entries.find(|entry| self.marks.key(entry) == *step)?;
            Some(&*entry.value)
        };
        let map = path.iter().try_fold(self.root, step_into);
        map.is_some_and(|map| map.entries().iter().any(|it| self.marks.is_skipped(it)))
    }

    /// The names that a map of the root declares, also those whose declaration is wrong.
    fn names(&self, kind: &str) -> Vec<&str> {
        let kind = self
            .root
            .entries()
            .iter()
            .find(|entry| self.marks.key(entry) == kind);
        let entries = kind.map_or(&[][..], |entry| entry.value.entries());
        entries.iter().map(|entry| entry.key.as_str()).collect()
    }
}
