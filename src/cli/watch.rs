//! `replica watch`: keeps the nodes as the manifest declares, until it is stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use super::Global;
use super::apply::apply;
use super::error::Error;
use super::exit::Exit;
use super::stop::Stop;
use super::workspace::{Wish, Workspace};
use crate::converge::{Budget, NextStart, Selection};
use crate::plan::{Address, Plan};
use crate::quantity::Seconds;
use crate::view::words::{count, duration};
use crate::view::{Format, Screen};

/// Make the nodes as the manifest declares, and mend what comes to differ, until stopped
///
/// It goes by the manifest as it is when it begins, and measures nothing. The locks are held only while
/// something is done.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml]
    file: Option<PathBuf>,
    /// Look this often
    #[arg(long, value_name = "TIME", default_value = "10s")]
    every: Seconds,
    /// Start each server or the proxy at most so often within `--within`; what fails then stays down
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
    restarts: u16,
    /// For how long a start counts
    #[arg(long, value_name = "TIME", default_value = "10m")]
    within: Seconds,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    if global.format() == Format::Document {
        let message = "watch comes to no one document: give --json-events, a line for each event";
        return Err(Error::Usage(message.to_owned()));
    }
    let screen = global.screen();
    let workspace = Workspace::open_alone(global, args.file.as_deref(), &screen).await?;
    let mut stop = Stop::new()?;
    let began = Instant::now();
    let first = async {
        let wish = workspace.without_benchmarks();
        apply(global, &wish, None, &workspace, &screen).await
    };
    if workspace.locked(first).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let mut watch = Watch {
        // Whoever lets it watch has agreed to what that takes.
        global: Global {
            auto_approve: true,
            ..global.clone()
        },
        screen: &screen,
        workspace,
        budget: Budget::new(
            args.restarts.into(),
            args.within.duration(),
            args.every.duration(),
        ),
        said: BTreeSet::new(),
        mended: 0,
    };
    screen.note(&format!(
        "watching: a look every {}; Ctrl-C ends it",
        duration(args.every.duration())
    ));
    let exit = loop {
        if stop.comes_within(args.every).await {
            break Exit::Done;
        }
        if watch.look().await? == Exit::Interrupted {
            break Exit::Interrupted;
        }
    };
    let (mended, took) = (count(watch.mended, "time"), duration(began.elapsed()));
    screen.note(&format!(
        "watched for {took}, and mended something {mended}"
    ));
    Ok(exit)
}

/// What is being watched.
struct Watch<'a> {
    global: Global,
    screen: &'a Screen,
    workspace: Workspace,
    budget: Budget,
    /// What was said of what stays as it is: once each, until it is another.
    said: BTreeSet<String>,
    mended: usize,
}

impl Watch<'_> {
    /// Looks, and mends what may be mended now.
    async fn look(&mut self) -> Result<Exit, Error> {
        // Connected anew: a node that was away may be back.
        self.workspace = self.workspace.again(&self.global).await?;
        let (_, plan) = self
            .workspace
            .plan(&self.workspace.without_benchmarks())
            .await;
        let due = self.due(&plan);
        self.say_once(&plan);
        if due.is_empty() {
            return Ok(Exit::Done);
        }
        let wish = self.wish(&plan, &due);
        let work = async {
            // Somebody else may have been at work until the lock was had.
            if !self.workspace.plan(&wish).await.1.has_work() {
                return Ok(None);
            }
            let done = apply(&self.global, &wish, None, &self.workspace, self.screen).await;
            done.map(Some)
        };
        match self.workspace.locked(work).await {
            Ok(None) => Ok(Exit::Done),
            Ok(Some(exit)) => {
                let now = Instant::now();
                for address in &due {
                    self.budget.begin(address, now);
                }
                self.mended += 1;
                Ok(exit)
            }
            // Somebody else is at work there: what that comes to is looked at.
            Err(error @ Error::Locked { .. }) => {
                self.screen.note(&error.to_string());
                Ok(Exit::Done)
            }
            Err(error) => Err(error),
        }
    }

    /// What is to be done, and may be now.
    fn due(&self, plan: &Plan) -> BTreeSet<Address> {
        let now = Instant::now();
        let acting = plan.changes.iter().filter(|it| it.action.acts());
        let due = acting.filter(|it| self.budget.next_start(&it.address, now) == NextStart::Now);
        due.map(|it| it.address.clone()).collect()
    }

    /// All that is declared, but for what is not due.
    fn wish(&self, plan: &Plan, due: &BTreeSet<Address>) -> Wish<'_> {
        let wish = self.workspace.without_benchmarks();
        let acting = plan.changes.iter().filter(|it| it.action.acts()).count();
        if acting == due.len() {
            return wish;
        }
        wish.only(Selection {
            targets: due.clone(),
            ..Selection::default()
        })
    }

    /// Says what stays as it is, and why, where that is news.
    fn say_once(&mut self, plan: &Plan) {
        let now = Instant::now();
        let mut saying = BTreeSet::new();
        for (node, failure) in &plan.unreachable {
            saying.insert(format!("{node} did not answer: {}", failure.message));
        }
        for change in plan.changes.iter().filter(|it| it.is_obstructed()) {
            let why: Vec<String> = change.why().collect();
            saying.insert(format!("{} is blocked: {}", change.address, why.join("; ")));
        }
        for change in plan.changes.iter().filter(|it| it.action.acts()) {
            if let NextStart::Spent(_) = self.budget.next_start(&change.address, now) {
                let why: Vec<String> = change.why().collect();
                saying.insert(format!(
                    "{} was started as often as it may be, and stays as it is for now: {}",
                    change.address,
                    why.join("; ")
                ));
            }
        }
        for news in saying.difference(&self.said) {
            self.screen.warning(news);
        }
        self.said = saying;
    }
}
