//! `replica bench --url`: any OpenAI-compatible server is measured, without a manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::asked::Asked;
use super::chosen::refused;
use super::{Labels, measured};
use crate::cli::Global;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::origin::origin_of_job;
use crate::cli::run::WatchedRun;
use crate::converge::{Live, decide};
use crate::load;
use crate::manifest;
use crate::name::BenchmarkName;
use crate::node::{ConnectOptions, Fleet, variable};
use crate::plan::{
    Action, Address, Change, Effect, Job, ManifestOrigin, Operation, Operations, Reason,
    ReasonCode, Stand,
};
use crate::resource::Observation;
use crate::resource::benchmark::{Files, KIND, Measurement, UnknownServer};
use crate::view::words::list;

/// What a measurement is called that nobody has named.
const UNNAMED: &str = "bench";

/// Where results lie, where nothing else is said.
const RESULTS: &str = "results";

/// A server, and what is asked of it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Any server, without a manifest")]
pub(super) struct UnknownArgs {
    /// Measure this OpenAI-compatible server, as in `http://127.0.0.1:8000`
    #[arg(long, value_name = "URL")]
    url: Option<UnknownServer>,
    /// Ask for this model [default: the only one that the server names]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Show the server the API key that this variable of the environment holds
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
    /// Call the measurement so [default: the job's file, else `bench`]
    ///
    /// Its results are `results/HOST-PORT/NAME/TIME.json`.
    #[arg(long, value_name = "NAME")]
    name: Option<BenchmarkName>,
    /// Ask what this file holds: one benchmark as it stands under its name in a manifest
    ///
    /// Files that it names are relative to it. What is asked is either in the file or told by the flags
    /// below, and not by both.
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
}

impl UnknownArgs {
    /// Whether anything is said that is about a server without a manifest.
    pub(super) fn is_given(&self) -> bool {
        self.url.is_some() || self.alone().is_some()
    }

    /// The first flag that means nothing without a URL.
    fn alone(&self) -> Option<&'static str> {
        let own = [
            ("--job", self.job.is_some()),
            ("--model", self.model.is_some()),
            ("--api-key-env", self.api_key_env.is_some()),
            ("--name", self.name.is_some()),
        ];
        let own = own.into_iter().find(|(_, is_given)| *is_given);
        own.map(|(flag, _)| flag).or_else(|| self.asked.given())
    }

    /// Whether it stands together, beside a manifest or a benchmark that are named.
    pub(super) fn check(&self, named: &[String]) -> Result<(), Error> {
        let usage = |why: String| Err(Error::Usage(why));
        if let (None, Some(flag)) = (&self.url, self.alone()) {
            return usage(format!(
                "`{flag}` says what is asked of a server, and not of which: add `--url \
                 http://HOST:PORT`; what a manifest declares is asked as it stands there"
            ));
        }
        if let Some(word) = named.first() {
            return usage(format!(
                "`--url` measures a server without a manifest: leave `{word}` out, or `--url`; a \
                 benchmark in a file of its own is `--job FILE`"
            ));
        }
        match (&self.job, self.asked.given()) {
            (Some(_), Some(flag)) => usage(format!(
                "what is asked stands in the file of `--job`: leave `{flag}` out, or `--job`"
            )),
            _ => Ok(()),
        }
    }

    /// What the measurement is called.
    fn name(&self) -> Result<BenchmarkName, Error> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let of_file = self.job.as_deref().filter(|it| *it != Path::new("-"));
        let stem = of_file.and_then(Path::file_stem);
        let name = stem.map_or(UNNAMED.into(), std::ffi::OsStr::to_string_lossy);
        let name = name.parse::<BenchmarkName>();
        name.map_err(|why| Error::Usage(format!("{why}; or name the measurement: `--name NAME`")))
    }
}

/// What is asked, and where that was said.
struct Wanted {
    name: BenchmarkName,
    measurement: Measurement,
    files: Files,
}

pub(super) async fn run(
    global: &Global,
    args: &UnknownArgs,
    labels: &Labels,
) -> Result<Exit, Error> {
    let screen = global.screen();
    let Some(server) = &args.url else {
        return Err(Error::Usage("there is no `--url`".to_owned()));
    };
    let wanted = wanted(global, args, server).await?;
    let key = args.api_key_env.as_deref();
    let model = match &args.model {
        Some(model) => model.clone(),
        None => only_model(server, key).await?,
    };
    let job = server
        .job(
            &wanted.name,
            &wanted.measurement,
            &model,
            key,
            &wanted.files,
        )
        .map_err(refused)?;
    screen.warning(&format!(
        "nothing is proved of {server}: not who answers, nor what it runs"
    ));
    let world = world(&job).await;
    let stand = labels.put_on(stand(job));
    let run = WatchedRun::begin_without_nodes(world, &screen);
    measured(&screen, run, &decide(vec![stand], &Observation::default())).await
}

async fn wanted(
    global: &Global,
    args: &UnknownArgs,
    server: &UnknownServer,
) -> Result<Wanted, Error> {
    let name = args.name()?;
    let files = |folder: &Path, origin: Option<ManifestOrigin>| Files {
        results: global.results.clone().unwrap_or(RESULTS.into()),
        manifest: folder.to_owned(),
        origin,
    };
    let Some(file) = &args.job else {
        return Ok(Wanted {
            name,
            measurement: args.asked.measurement().map_err(Error::Usage)?,
            files: files(Path::new("."), None),
        });
    };
    let job = manifest::load_job(file, &server.name(), &name)?;
    let origin = origin_of_job(&job).await;
    Ok(Wanted {
        name,
        files: files(&job.folder, Some(origin)),
        measurement: job.measurement,
    })
}

/// The only model that a server names.
async fn only_model(server: &UnknownServer, key: Option<&str>) -> Result<String, Error> {
    let mut keys = BTreeMap::new();
    if let Some(name) = key {
        let value = variable(name).ok_or_else(|| no_key(name))?;
        keys.insert(server.authority(), value);
    }
    let models = load::models_at(&server.authority(), &keys).await;
    let mut models = models.map_err(refused)?;
    models.dedup();
    match models.as_slice() {
        [one] => Ok(one.clone()),
        several => {
            let several: Vec<String> = several.iter().map(|it| format!("`{it}`")).collect();
            Err(Error::refused(
                format!("{server} serves several models: {}", list(&several)),
                "say which one is asked for: `--model NAME`",
            ))
        }
    }
}

fn no_key(name: &str) -> Error {
    Error::refused(
        format!("`{name}` of this machine's environment is not set, or empty"),
        format!("`--api-key-env` names the variable that holds the key: export {name}=…"),
    )
}

/// A world without nodes, in which a job can be measured.
async fn world(job: &Job) -> Live {
    let fleet = Fleet::connect(&BTreeMap::new(), &ConnectOptions::default()).await;
    let results = job.results.join(&job.topology);
    Live::new(fleet, results, Arc::new(|_: &Address| {}))
}

fn stand(job: Job) -> Stand {
    let address = Address::nowhere(KIND, &job.name);
    let reason = Reason::new(ReasonCode::Asked, "it was asked for");
    Stand {
        operations: Operations {
            start: vec![Operation::here(Effect::Measure(Box::new(job)))],
            ..Operations::default()
        },
        ..Stand::new(Change::new(&address, Action::Create, vec![reason]))
    }
}
