//! `replica logs`: the newest log of each thing, and what comes to it.

mod choice;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::workspace::Workspace;
use crate::converge::{Desired as _, assess};
use crate::manifest;
use crate::name::NodeName;
use crate::node::{Line, Node, NodeError};
use crate::plan::Address;
use crate::resource::{LogReading, LogsWanted, NodeFiles, Observation, Read, StateFolder};
use crate::view::logs::{LoggedLine, render};
use crate::view::words::columns;
use crate::view::{Screen, command};

use choice::{Known, by_node};
use window::{Dated, Since, Tail, Window};

/// Show the logs of instances and of the proxy: all, or those named
///
/// The first word is the manifest where it ends in .yaml, .yml or .json, is `-`, or names a file;
/// all others are addresses: `here/instance.a`, `instance.a`, or `a` alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then what to show [default: all]
    #[arg(num_args = 0.., value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
    /// Go on as the logs grow, and into the next start of what is replaced
    #[arg(short, long)]
    follow: bool,
    /// Show so many of the last lines of each, or `all` [default: 200, or all with --since]
    #[arg(short = 'n', long, alias = "lines", value_name = "LINES")]
    tail: Option<Tail>,
    /// Show what was written since then: `10m`, `1h30m`, `2026-11-26T15:04:29Z`
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<Since>,
}

/// What is shown where nothing else is said.
const TAIL: u32 = 200;

impl Args {
    fn tail(&self) -> Tail {
        self.tail.unwrap_or(match self.since {
            Some(_) => Tail::All,
            None => Tail::Last(TAIL),
        })
    }

    /// What the nodes are asked for of these things.
    fn wanted(&self, things: Vec<String>) -> LogsWanted {
        let tail = match (self.since, self.tail()) {
            // What is the last of it is known when it is known since when.
            (Some(_), _) | (None, Tail::All) => None,
            (None, Tail::Last(lines)) => Some(lines),
        };
        LogsWanted {
            things,
            tail,
            follow: self.follow,
        }
    }
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, words) = manifest_word::split(&args.what);
    let workspace = open(global, file.as_deref(), words, &screen).await?;
    let observed = workspace.observe().await;
    let known = known(&workspace, &observed);
    let chosen = known.choose(words).map_err(|error| match &file {
        Some(_) => error,
        None => error.also(format!(
            "`{}` is no file, which would be a manifest",
            words[0]
        )),
    })?;
    let silent = observed.unreachable();
    for (node, failure) in &silent {
        screen.warning(&format!("{node} is unreachable: {}", failure.message));
    }
    if words.is_empty() && known.logged.is_empty() && !args.follow && silent.is_empty() {
        return Err(Error::refused(
            format!("nothing of `{}` has a log yet", workspace.topology().name),
            format!(
                "`{}` starts what is declared",
                command("apply", &workspace.file())
            ),
        ));
    }
    let reader = Reader {
        screen,
        folder: StateFolder::of(workspace.topology().name.as_str()),
        named: (words.len() != 1 || chosen.len() > 1).then(|| widest(&known.logged)),
    };
    let wanted = if words.is_empty() {
        let nodes = observed.answered().map(|(node, _)| node.clone());
        nodes.map(|node| (node, Vec::new())).collect()
    } else {
        by_node(&chosen)
    };
    let is_whole = reader.show_all(&workspace, args, wanted).await?;
    Ok(if is_whole && (silent.is_empty() || !words.is_empty()) {
        Exit::Done
    } else {
        Exit::Unreachable
    })
}

/// Opens the manifest. Where there is none, a word that was meant to name it may be why.
async fn open(
    global: &Global,
    file: Option<&Path>,
    words: &[String],
    screen: &Screen,
) -> Result<Workspace, Error> {
    if let (None, Some(word), Err(error)) = (file, words.first(), manifest::find(None)) {
        return Err(error
            .hinted(format!(
                "`{word}` was taken for an address: there is no such file"
            ))
            .into());
    }
    Workspace::open_alone(global, file, screen).await
}

/// What has left logs on the nodes that answered, and what is declared to serve.
fn known(workspace: &Workspace, observed: &Observation) -> Known {
    let folder = StateFolder::of(workspace.topology().name.as_str());
    let mut logged = BTreeSet::new();
    for (node, facts) in observed.answered() {
        for thing in NodeFiles::read(&folder, facts).logged().keys() {
            let address = format!("{node}/{thing}").parse();
            logged.extend(address.ok());
        }
    }
    let stands = assess(&workspace.as_declared().resources(), observed).into_iter();
    let serving = stands.filter(|stand| stand.service.is_some());
    Known {
        logged,
        declared: serving.map(|stand| stand.address().clone()).collect(),
    }
}

fn widest(addresses: &BTreeSet<Address>) -> usize {
    let widths = addresses
        .iter()
        .map(|address| columns(&address.to_string()));
    widths.max().unwrap_or(0)
}

/// Reads logs on nodes and shows them.
#[derive(Clone)]
struct Reader {
    screen: Screen,
    folder: StateFolder,
    /// Where lines are named by their address, how many columns the widest takes.
    named: Option<usize>,
}

impl Reader {
    /// Shows what is wanted of each node: one node after the other; all at once, where what grows is
    /// shown as it comes. Returns whether all could be read to its end.
    async fn show_all(
        self,
        workspace: &Workspace,
        args: &Args,
        wanted: BTreeMap<NodeName, Vec<String>>,
    ) -> Result<bool, Error> {
        let mut reading = JoinSet::new();
        let mut is_whole = true;
        for (name, things) in wanted {
            let Ok(node) = workspace.fleet.node(&name).cloned() else {
                is_whole = false;
                continue;
            };
            let wanted = args.wanted(things);
            let window = Window::new(args.since, args.tail(), Timestamp::now());
            let reader = self.clone();
            reading.spawn(async move { reader.show(&node, &wanted, window).await });
            if !args.follow {
                is_whole &= self.ended(&mut reading).await?;
            }
        }
        while !reading.is_empty() {
            is_whole &= self.ended(&mut reading).await?;
        }
        Ok(is_whole)
    }

    /// Waits for the end of one node's logs. Where nobody reads any more, all end.
    async fn ended(&self, reading: &mut JoinSet<Result<bool, NodeError>>) -> Result<bool, Error> {
        match reading.join_next().await {
            Some(Ok(Ok(true))) | None => Ok(true),
            Some(Ok(Ok(false))) => {
                reading.abort_all();
                Ok(true)
            }
            Some(Ok(Err(error))) => {
                self.screen.warning(&error.to_string());
                Ok(false)
            }
            Some(Err(error)) if error.is_cancelled() => Ok(true),
            Some(Err(error)) => Err(std::io::Error::from(error).into()),
        }
    }

    /// Shows the logs of one node as they come, and returns whether they were read to their end.
    async fn show(
        &self,
        node: &Node,
        wanted: &LogsWanted,
        mut window: Window,
    ) -> Result<bool, NodeError> {
        let (sender, mut lines) = mpsc::channel(64);
        let command = wanted.command(&self.folder);
        let showing = async move {
            let mut reading = LogReading::default();
            while let Some(line) = lines.recv().await {
                let Line::Out(line) = line else { continue };
                let read = reading.take(&line).into_iter();
                if !self.print(node, read.flat_map(|read| window.take(read))) {
                    return false;
                }
            }
            let rest = reading.rest().filter_map(|line| window.line(line));
            let rest: Vec<Dated> = rest.collect();
            let held = window.take(Read::All);
            self.print(node, rest.into_iter().chain(held))
        };
        let (read, is_heard) = tokio::join!(node.stream(&command, sender), showing);
        read.map(|_| is_heard)
    }

    /// Shows lines, and returns whether somebody reads them.
    fn print(&self, node: &Node, lines: impl IntoIterator<Item = Dated>) -> bool {
        lines.into_iter().all(|(line, time)| {
            let Ok(address) = format!("{}/{}", node.name(), line.thing).parse::<Address>() else {
                return true;
            };
            let printed = if self.screen.is_json() {
                let name = node.name().clone();
                let logged = LoggedLine::new(address, name, line.generation, &line.text);
                self.screen.document_line(&LoggedLine { time, ..logged })
            } else {
                let named = self.named.map(|width| (&address, width));
                self.screen
                    .piece(&render(&line.text, named, self.screen.out()))
            };
            printed.unwrap_or(false)
        })
    }
}
