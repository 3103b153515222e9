//! `replica bench show`: results as they were shown when they were measured, or as others read them.

use serde_json::Value;

use super::chosen::{Chosen, chosen, refused};
use crate::cli::Global;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::results::export;
use crate::view::{Screen, bench};

/// Show results, the newest of each benchmark or those named; asks no node
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then benchmarks or files of results [default: all]
    #[arg(value_names = ["FILE", "BENCHMARK | RESULT"], num_args = 0..)]
    what: Vec<String>,
    /// How it is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Tables, for people
    #[default]
    Text,
    /// The result as it is kept: of one that is named the document itself, else a list
    Json,
    /// A row for each load
    Csv,
    /// The keys of `vllm bench serve --save-result`; several loads one a line, as --append-result
    Vllm,
    /// The keys of the notebook's metrics file
    Notebook,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let format = match (global.is_json(), args.format) {
        (true, Format::Text | Format::Json) => Format::Json,
        (true, _) => {
            let why = "--json is --format json: ask for one of them";
            return Err(Error::Usage(why.to_owned()));
        }
        (false, format) => format,
    };
    let chosen = chosen(global, &args.what)?;
    match format {
        Format::Text => text(&screen, &chosen)?,
        Format::Json => json(&screen, &chosen)?,
        Format::Csv => screen.result(&export::csv(&chosen.results))?,
        Format::Vllm => vllm(&screen, &chosen)?,
        Format::Notebook => {
            let notebook = export::notebook(&chosen.results).map_err(refused)?;
            screen.document(&notebook)?;
        }
    }
    Ok(Exit::Done)
}

fn text(screen: &Screen, chosen: &Chosen) -> Result<(), Error> {
    for stored in &chosen.results {
        let result = stored.result.clone().hinting(chosen.hints());
        let table = bench::render(&result, Some(&stored.path), screen.out());
        screen.result(&(table + "\n"))?;
    }
    Ok(())
}

fn json(screen: &Screen, chosen: &Chosen) -> Result<(), Error> {
    match chosen.results.as_slice() {
        [one] if chosen.are_named => screen.document(&one.result)?,
        all => {
            let all: Vec<_> = all.iter().map(|stored| &stored.result).collect();
            screen.document(&all)?;
        }
    }
    Ok(())
}

fn vllm(screen: &Screen, chosen: &Chosen) -> Result<(), Error> {
    let mut documents: Vec<Value> = Vec::new();
    for stored in &chosen.results {
        documents.extend(export::vllm(stored).map_err(refused)?);
    }
    for document in &documents {
        screen.document_line(document)?;
    }
    Ok(())
}
