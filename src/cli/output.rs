//! `replica output`: what serves now, for scripts.

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::workspace::Workspace;
use crate::converge::{Converged, Desired as _, assess};
use crate::plan::{Address, Readiness, Service, Stand};
use crate::resource::Observation;
use crate::view::output::{Output, json};
use crate::view::words::list;
use crate::view::{Screen, command};

/// Print where requests go and what the model is called, of what serves now
///
/// Names are `url`, `model`, and the addresses of what serves (`instance.a`, `proxy`), each with its
/// URL. A value that is not there yet is an error.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then the one value to print, as JSON [default: all]
    #[arg(num_args = 0..=2, value_names = ["FILE", "NAME"])]
    what: Vec<String>,
    /// Print the one value as it is, without quotes
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, names) = manifest_word::split(&args.what);
    let name = match names {
        [] if args.raw => Err("--raw prints one value: name it, as in `replica output url --raw`"),
        [] => Ok(None),
        [name] => Ok(Some(name)),
        _ => Err("name one value, or none for all"),
    };
    let name = name.map_err(|why| Error::Usage(why.to_owned()))?;
    let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
    let output = observed(&workspace).await;
    match name {
        None => show_all(&screen, &workspace, &output)?,
        Some(name) => {
            let value = value(&workspace, &output, name)?;
            let text = if args.raw {
                value.to_owned()
            } else {
                json(value)
            };
            screen.result(&(text + "\n"))?;
        }
    }
    Ok(Exit::Done)
}

fn show_all(screen: &Screen, workspace: &Workspace, output: &Output) -> Result<(), Error> {
    output.served().map_err(|why| missing(workspace, why))?;
    for (name, why) in output.missing() {
        screen.warning(&format!("there is no `{name}`: {why}"));
    }
    if screen.is_json() {
        screen.document(output)?;
    } else {
        screen.result(&output.render())?;
    }
    Ok(())
}

/// A value by its name, or what to do where it is not there.
fn value<'a>(workspace: &Workspace, output: &'a Output, name: &str) -> Result<&'a str, Error> {
    output.get(name).map_err(|why| {
        if let Some(why) = why {
            return missing(workspace, &format!("there is no `{name}` yet: {why}"));
        }
        let names: Vec<_> = output.names().map(|it| format!("`{it}`")).collect();
        let hint = format!("there are {}", list(&names));
        Error::refused(format!("there is no output `{name}`"), hint)
    })
}

/// What is declared to serve, as it answers now.
async fn observed(workspace: &Workspace) -> Output {
    let (observed, _) = workspace.plan(&workspace.without_benchmarks()).await;
    Output::new(&services(workspace, &observed))
}

/// What is declared to serve, where everything was just seen to be as declared. Of what is not so,
/// nobody is invited to ask it.
pub(super) fn declared(workspace: &Workspace, converged: &Converged) -> Output {
    if !converged.left.is_made() {
        return Output::default();
    }
    Output::new(&services(workspace, &converged.observed))
}

/// Where what runs can be asked, whether it answers or not.
pub(super) fn addresses(workspace: &Workspace, observed: &Observation) -> Vec<String> {
    let mut running = services(workspace, observed);
    for (_, service) in &mut running {
        if service.url.is_some() {
            service.readiness = Readiness::Ready;
        }
    }
    Output::new(&running).urls().to_vec()
}

fn services(workspace: &Workspace, observed: &Observation) -> Vec<(Address, Service)> {
    let stands = assess(&workspace.without_benchmarks().resources(), observed).into_iter();
    let mut serving: Vec<_> = stands.filter_map(Stand::serving).collect();
    serving.sort_by(|a, b| a.0.cmp(&b.0));
    serving
}

fn missing(workspace: &Workspace, why: &str) -> Error {
    let [status, apply] = ["status", "apply"].map(|it| command(it, &workspace.file()));
    let hint = format!("`{status}` shows what is in the way, `{apply}` starts what is declared");
    Error::refused(why, hint)
}
