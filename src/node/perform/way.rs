//! Measuring the ways between two nodes: a program at both ends, which are gone afterwards.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::copy::{token, told};
use super::remove::{Emptied, remove};
use super::upload::upload;
use crate::node::{Command, Line, Node};
use crate::plan::Failure;
use crate::plan::effect::Upload;
use crate::transfer::{Measure, Measured, Offer, Said};

/// How long an end may take for what it does: it is through in three seconds, once it is reached.
const PATIENCE: Duration = Duration::from_secs(60);

/// One end of a way.
#[derive(Debug)]
pub struct WayEnd<'a> {
    /// Its node.
    pub node: &'a Node,
    /// The address on which it listens.
    pub listen: String,
    /// The address by which the other end dials it.
    pub dial: String,
    /// The program that it runs, and has for as long as it is measured.
    pub program: Upload,
}

/// Measures the way from one node to another, and the one back, one after the other.
///
/// # Errors
///
/// When either end cannot run the program, and when one cannot reach the other.
pub async fn measure_ways(
    [one, other]: [&WayEnd<'_>; 2],
    is_trusted: bool,
    emptied: Emptied,
) -> Result<[Measured; 2], Failure> {
    let brought = tokio::try_join!(
        upload(one.node, &one.program),
        upload(other.node, &other.program)
    );
    let measured = match brought {
        Ok(_) => both([one, other], is_trusted).await,
        Err(failure) => Err(failure),
    };
    let paths = |end: &WayEnd<'_>| [end.program.target.clone(), end.program.note()];
    let (of_one, of_other) = (paths(one), paths(other));
    let removed = tokio::try_join!(
        remove(one.node, &of_one, emptied),
        remove(other.node, &of_other, emptied)
    );
    let measured = measured?;
    removed?;
    Ok(measured)
}

async fn both([one, other]: [&WayEnd<'_>; 2], is_trusted: bool) -> Result<[Measured; 2], Failure> {
    let there = one_way(one, other, is_trusted).await?;
    let back = one_way(other, one, is_trusted).await?;
    Ok([there, back])
}

async fn one_way(
    from: &WayEnd<'_>,
    to: &WayEnd<'_>,
    is_trusted: bool,
) -> Result<Measured, Failure> {
    let token = token()?;
    let offer = Offer {
        repo: None,
        revision: None,
        listen: from.listen.clone(),
        token: token.clone(),
        trusted: is_trusted,
    };
    let offering = told("copy-offer", &from.program, &offer, |script| script)?;
    let (mut offering, _ends_it) = runs(from.node, offering);
    let port = heard(&mut offering, |said| match said {
        Said::Port(port) => Some(port),
        _ => None,
    });
    let measure = Measure {
        host: from.dial.clone(),
        port: port.await?,
        token,
        trusted: is_trusted,
    };
    let measuring = told("copy-measure", &to.program, &measure, |script| script)?;
    let (mut measuring, _ends_it_too) = runs(to.node, measuring);
    let measured = heard(&mut measuring, |said| match said {
        Said::Measured(measured) => Some(measured),
        _ => None,
    });
    measured.await
}

/// Runs a command on a node, which ends when either of what this returns is dropped.
fn runs(node: &Node, command: Command) -> (mpsc::Receiver<Line>, JoinSet<()>) {
    let (sender, lines) = mpsc::channel(16);
    let mut running = JoinSet::new();
    let node = node.clone();
    running.spawn(async move {
        // What it did not say is missed by who waits for it.
        let _ = node.stream(&command, sender).await;
    });
    (lines, running)
}

/// Waits for what an end is to say.
async fn heard<T>(
    lines: &mut mpsc::Receiver<Line>,
    wanted: impl Fn(Said) -> Option<T>,
) -> Result<T, Failure> {
    let hearing = async {
        let mut log = Vec::new();
        while let Some(Line::Out(line) | Line::Err(line)) = lines.recv().await {
            match Said::read(&line) {
                Some(Said::Failed(error)) => return Err(error.into()),
                Some(said) => {
                    if let Some(found) = wanted(said) {
                        return Ok(found);
                    }
                }
                None => log.push(line),
            }
        }
        Err(Failure::new("an end of it said nothing").logged(log))
    };
    let silent = || {
        let seconds = PATIENCE.as_secs();
        Err(Failure::new(format!(
            "nothing was heard of it for {seconds} s"
        )))
    };
    timeout(PATIENCE, hearing)
        .await
        .unwrap_or_else(|_| silent())
}
