//! `replica logs`: the newest log of one thing.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::node::{Command, Line, Node, quote_path};
use crate::plan::Address;
use crate::resource::{NodeFiles, Observation, StateFolder};
use crate::view::Screen;
use crate::view::words::list;

/// Show the log of an instance or of the proxy
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then what to show: `instance.a`, `here/instance.a`,
    /// `a`, `proxy`
    #[arg(required = true, num_args = 1..=2, value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
    /// Go on as the log grows
    #[arg(short, long)]
    follow: bool,
    /// Show so many of the last lines
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: u32,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, wanted) = file_and_thing(&args.what)?;
    let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
    let observed = workspace.observe().await;
    let folder = StateFolder::of(workspace.topology().name.as_str());
    let logs = logs(&folder, &observed);
    let (address, generation) = log_of(wanted, &logs)?;
    let name = address.node.as_ref();
    let Some(node) = name.and_then(|name| workspace.fleet.node(name).ok()) else {
        return Err(Error::refused(
            format!("{address} cannot be reached"),
            "try again later",
        ));
    };
    let follow = if args.follow { "-F" } else { "" };
    let log = quote_path(&folder.log(address, *generation));
    let script = format!("exec tail -n {} {follow} {log} 2>/dev/null", args.lines);
    show(node, &Command::script(script), &screen).await?;
    Ok(Exit::Done)
}

/// Takes `[FILE] ADDRESS` apart.
fn file_and_thing(what: &[String]) -> Result<(Option<PathBuf>, &str), Error> {
    match what {
        [file, thing] => Ok((Some(PathBuf::from(file)), thing)),
        [thing] => Ok((None, thing)),
        _ => Err(Error::Usage(
            "say what to show: `replica logs instance.a`".to_owned(),
        )),
    }
}

/// The newest log of each thing of a topology, on every node that answered.
fn logs(folder: &StateFolder, observed: &Observation) -> Vec<(Address, u64)> {
    let mut logs = Vec::new();
    for (node, facts) in observed.answered() {
        for (thing, generation) in NodeFiles::read(folder, facts).logged() {
            let address = format!("{node}/{thing}").parse();
            logs.extend(address.ok().map(|address| (address, generation)));
        }
    }
    logs
}

/// Finds the log of a thing by its address, with or without the node, or by its bare name.
fn log_of<'a>(wanted: &str, logs: &'a [(Address, u64)]) -> Result<&'a (Address, u64), Error> {
    let is_wanted = |address: &Address| {
        address.to_string() == wanted
            || address.local() == wanted
            || address.name.as_deref() == Some(wanted)
    };
    logs.iter()
        .find(|(address, _)| is_wanted(address))
        .ok_or_else(|| {
            let known: Vec<_> = logs
                .iter()
                .map(|(address, _)| address.to_string())
                .collect();
            let hint = match known.as_slice() {
                [] => "nothing of this topology has a log yet".to_owned(),
                known => format!("there are logs of {}", list(known)),
            };
            Error::refused(format!("there is no log of `{wanted}`"), hint)
        })
}

/// Shows what a command prints on a node, line by line, until it ends.
async fn show(node: &Node, command: &Command, screen: &Screen) -> Result<(), Error> {
    let (sender, mut lines) = mpsc::channel(64);
    let reading = node.stream(command, sender);
    let printing = async {
        while let Some(line) = lines.recv().await {
            let (Line::Out(text) | Line::Err(text)) = line;
            screen.result(&(text + "\n"))?;
        }
        Ok::<_, Error>(())
    };
    let (read, printed) = tokio::join!(reading, printing);
    printed?;
    read.map_err(|error| Error::refused(error.to_string(), "try again"))?;
    Ok(())
}
