//! `replica logs`: the newest log of one thing.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::workspace::Workspace;
use crate::node::{Command, Line, quote_path};
use crate::plan::Address;
use crate::resource::{Folder, Place};
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
    let (file, wanted) = match args.what.as_slice() {
        [file, wanted] => (Some(PathBuf::from(file)), wanted),
        [wanted] => (None, wanted),
        _ => {
            return Err(Error::Usage(
                "say what to show: `replica logs instance.a`".to_owned(),
            ));
        }
    };
    let workspace = Workspace::open(global, file.as_deref(), &screen).await?;
    let catalogue = workspace.catalogue();
    let resources = catalogue.resources();
    let seen = workspace.look(&resources).await;
    let folder = Folder::of(workspace.topology().name.as_str());
    let mut logged: Vec<(Address, u64)> = Vec::new();
    for node in seen.nodes.keys() {
        let Some(answers) = seen.of(node) else {
            continue;
        };
        for (thing, generation) in Place::read(&folder, answers).logged() {
            let address = format!("{node}/{thing}").parse();
            logged.extend(address.ok().map(|address: Address| (address, generation)));
        }
    }
    let matches = |address: &Address| {
        [address.to_string(), address.local()].contains(wanted)
            || address.name.as_ref() == Some(wanted)
    };
    let Some((address, generation)) = logged.iter().find(|(address, _)| matches(address)) else {
        let known: Vec<_> = logged
            .iter()
            .map(|(address, _)| address.to_string())
            .collect();
        let hint = if known.is_empty() {
            "nothing of this topology has a log yet".to_owned()
        } else {
            format!("there are logs of {}", list(&known))
        };
        return Err(Error::refused(
            format!("there is no log of `{wanted}`"),
            hint,
        ));
    };
    let node = address
        .node
        .as_ref()
        .and_then(|node| workspace.fleet.node(node).ok());
    let Some(node) = node else {
        return Err(Error::refused(
            format!("{address} cannot be reached"),
            "try again later",
        ));
    };
    let follow = if args.follow { "-F" } else { "" };
    let log = quote_path(&folder.log(address, *generation));
    let script = format!("exec tail -n {} {follow} {log} 2>/dev/null", args.lines);
    let (sender, mut lines) = mpsc::channel(64);
    let command = Command::script(script);
    let reading = node.stream(&command, sender);
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
    Ok(Exit::Done)
}
