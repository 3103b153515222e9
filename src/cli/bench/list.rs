//! `replica bench list`: what was measured, and when.

use std::collections::HashMap;

use super::chosen::Place;
use super::label;
use crate::cli::Global;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::manifest_word;
use crate::manifest;
use crate::results::StoredResult;
use crate::view::bench::{ListDocument, list};
use crate::view::words::count;

/// List the results that there are, the newest first; asks no node
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then the benchmark [default: all]
    #[arg(num_args = 0..=2, value_names = ["FILE", "BENCHMARK"])]
    what: Vec<String>,
    /// Only the newest N of each benchmark
    #[arg(short = 'n', long = "last", value_name = "N")]
    last: Option<usize>,
    /// Only those with this tag; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = label::tag)]
    tags: Vec<(String, String)>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, names) = manifest_word::split(&args.what);
    let ([] | [_]) = names else {
        return Err(Error::Usage(
            "name one benchmark, or none for all".to_owned(),
        ));
    };
    let manifest = manifest::load_alone(&manifest::find(file.as_deref())?, global.variables())?;
    let place = Place::of(global, &manifest);
    let mut stored = place.stored();
    stored
        .results
        .retain(|it| is_wanted(it, names.first(), &args.tags));
    if let Some(last) = args.last {
        let mut seen: HashMap<String, usize> = HashMap::new();
        stored.results.retain(|it| {
            let number = seen.entry(it.result.job.name.clone()).or_default();
            *number += 1;
            *number <= last
        });
    }
    if !stored.damaged.is_empty() {
        let damaged = count(stored.damaged.len(), "file");
        let first = stored.damaged[0].display();
        screen.warning(&format!("{damaged} cannot be read as results: {first}"));
    }
    if screen.is_json() {
        screen.document(&ListDocument::new(place.topology(), &stored.results))?;
    } else {
        screen.result(&list(place.topology(), &stored.results, screen.out()))?;
    }
    Ok(Exit::Done)
}

fn is_wanted(stored: &StoredResult, name: Option<&String>, tags: &[(String, String)]) -> bool {
    let result = &stored.result;
    let is_tagged = |(key, value): &(String, String)| result.tags.get(key) == Some(value);
    name.is_none_or(|name| result.job.name == *name) && tags.iter().all(is_tagged)
}
