//! `replica wait`: until what is to serve does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Global;
use super::error::Error;
use super::exit::Exit;
use super::manifest_word;
use super::selection::all_that_serve;
use super::workspace::Workspace;
use crate::plan::{Address, Readiness, Stand};
use crate::quantity::Seconds;
use crate::view::wait::{WaitReport, render};

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(1);

/// Wait until servers and the proxy are ready, and change nothing
///
/// The first word is the manifest where it ends in .yaml, .yml or .json, is `-`, or names a file;
/// all others are addresses: `here/instance.a`, `instance.a`, or `a` alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifest [default: topology.yaml], then what to wait for [default: all that serves]
    #[arg(value_names = ["FILE", "ADDRESS"])]
    what: Vec<String>,
    /// Give up after so long: `30s`, `10m`
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Seconds,
}

pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let (file, words) = manifest_word::split(&args.what);
    let end = Instant::now() + args.timeout.duration();
    let mut told = BTreeMap::new();
    loop {
        // Opened anew each time: a node that was away may be back.
        let workspace = Workspace::open_alone(global, file.as_deref(), &screen).await?;
        let wish = workspace.without_benchmarks();
        let stands = all_that_serve(&workspace, &wish, words).await?;
        let waiting: BTreeMap<Address, String> = stands.iter().filter_map(why_not).collect();
        let is_over = waiting.is_empty() || Instant::now() + PAUSE > end;
        if !is_over {
            for (address, why) in &waiting {
                if told.get(address) != Some(why) {
                    screen.note(&format!("waiting for {address}: {why}"));
                }
            }
            told = waiting;
            sleep(PAUSE).await;
            continue;
        }
        let report = WaitReport::new(stands, waiting);
        if screen.is_json() {
            screen.document(&report)?;
        } else {
            screen.result(&render(&report, screen.out()))?;
        }
        return Ok(if report.is_ready() {
            Exit::Done
        } else {
            Exit::Failed
        });
    }
}

/// Why something does not serve, where it does not.
fn why_not(stand: &Stand) -> Option<(Address, String)> {
    let why = match &stand.service.as_ref()?.readiness {
        Readiness::Ready => return None,
        Readiness::NotReady(why) => why.clone(),
    };
    Some((stand.address().clone(), why))
}
