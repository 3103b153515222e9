//! Copying a model from one node to another: a program at both ends, which are gone afterwards.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::hex::hex;
use crate::logs::LogSign;
use crate::node::{Command, Line, Node, quote_path};
use crate::plan::effect::{Copy, Upload};
use crate::plan::{Count, Failure, Phase};
use crate::transfer::{self, Fetch, Listing, Moved, Offer, Said};

use super::OnPhase;
use super::remove::{Emptied, remove};
use super::run_script::locked;
use super::supervised::{ScriptEnd, Supervised};
use super::upload::upload;

/// How long neither end may be heard of.
const PATIENCE: Duration = Duration::from_secs(60);

const DOING: &str = "copying";

/// Copies a model. What one copy brought is there for the next one, where it ended too early.
///
/// # Errors
///
/// When either end cannot run the program, when the one that has the model goes away, when there is
/// no room, and when what arrives is not what it is called.
pub async fn copy(
    from: &Node,
    to: &Node,
    copy: &Copy,
    emptied: Emptied,
    progress: OnPhase<'_>,
) -> Result<String, Failure> {
    progress(Phase::new(DOING).at("bringing the program to both nodes"));
    let (sender, receiver) = (&copy.sender, &copy.receiver);
    let ready = tokio::try_join!(upload(from, sender), upload(to, receiver));
    let copied = match ready {
        Ok(_) => between(from, to, copy, progress).await,
        Err(failure) => Err(failure),
    };
    let brought = |it: &Upload| [it.target.clone(), it.note()];
    let (sender, receiver) = (brought(sender), brought(receiver));
    let removed = tokio::try_join!(
        remove(from, &sender, emptied),
        remove(to, &receiver, emptied)
    );
    let copied = copied?;
    removed?;
    Ok(copied)
}

async fn between(
    from: &Node,
    to: &Node,
    copy: &Copy,
    progress: OnPhase<'_>,
) -> Result<String, Failure> {
    let token = token()?;
    let offer = Offer {
        repo: Some(copy.source.clone()),
        revision: copy.revision.clone(),
        listen: copy.listen.clone(),
        token: token.clone(),
        trusted: copy.trusted,
    };
    let command = told("copy-offer", &copy.sender, &offer, |script| script)?;
    let (lines, mut said) = mpsc::channel(16);
    // Dropped, it ends the other end.
    let mut sending = JoinSet::new();
    let sender = from.clone();
    sending.spawn(async move { sender.stream(&command, lines).await });
    let offered = timeout(PATIENCE, offered(&mut said)).await;
    let (port, listing) = offered.unwrap_or_else(|_| {
        Err(Failure::new(format!(
            "nothing was heard of what `{}` offers",
            copy.from
        )))
    })?;
    let size = listing.files.iter().map(|file| file.size).sum();
    let fetch = Fetch {
        repo: copy.target.clone(),
        host: copy.dial.clone(),
        port,
        token,
        trusted: copy.trusted,
        names_main: copy.revision.is_none(),
        listing,
    };
    let command = told("copy-fetch", &copy.receiver, &fetch, |script| {
        locked(&copy.lock, &script)
    })?;
    let watched = Supervised {
        doing: DOING,
        patience: PATIENCE,
        read,
    };
    match watched.run(to, &command, progress).await? {
        ScriptEnd::Done(_) => Ok(format!("{} from {}", bytes(size), copy.from)),
        ScriptEnd::Failed(mut failure) | ScriptEnd::Stalled(mut failure) => {
            failure.log.retain(|line| Said::read(line).is_none());
            Err(failure)
        }
    }
}

/// Waits for what is offered, and where.
async fn offered(lines: &mut mpsc::Receiver<Line>) -> Result<(u16, Listing), Failure> {
    let mut port = None;
    let mut log = Vec::new();
    while let Some(Line::Out(line) | Line::Err(line)) = lines.recv().await {
        match (Said::read(&line), port) {
            (Some(Said::Port(told)), _) => port = Some(told),
            (Some(Said::Listing(listing)), Some(port)) => return Ok((port, listing)),
            (Some(Said::Failed(error)), _) => return Err(error.into()),
            (Some(_), _) => {}
            (None, _) => log.push(line),
        }
    }
    Err(Failure::new("the node that has the model cannot offer it").logged(log))
}

/// The command that runs a program and tells it something on its standard input: in no
/// process list, as a token is in it.
pub(super) fn told(
    word: &str,
    program: &Upload,
    what: &impl Serialize,
    wrapped: impl FnOnce(String) -> String,
) -> Result<Command, Failure> {
    let text = serde_json::to_string(what).map_err(|error| Failure::new(error.to_string()))?;
    let script = format!(
        "printf '%s\\n' \"$r_told\" | {} {word}",
        quote_path(&program.target)
    );
    Ok(Command::script(wrapped(script)).with_secret("r_told", &text))
}

/// What nobody can guess.
pub(super) fn token() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Failure::new(format!("there is no randomness here: {error}")))?;
    Ok(hex(&bytes))
}

fn read(line: &str) -> Option<LogSign> {
    if line.starts_with("waiting for ") {
        return Some(LogSign::Part(line.into()));
    }
    match Said::read(line)? {
        Said::Moved(moved) => Some(LogSign::Part(Count::from(moved).into())),
        Said::Failed(error) => Some(LogSign::Cause(error.into())),
        Said::Port(_) | Said::Listing(_) | Said::Measured(_) => None,
    }
}

impl From<Moved> for Count {
    fn from(moved: Moved) -> Self {
        let Moved {
            done,
            of,
            per_second,
        } = moved;
        Self::Copied {
            done,
            of,
            per_second,
        }
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

impl From<transfer::Error> for Failure {
    fn from(error: transfer::Error) -> Self {
        let failure = if error.is_bug {
            Self::bug(error.message)
        } else {
            Self::new(error.message)
        };
        Self {
            hint: error.hint,
            ..failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Part;

    #[test]
    fn how_far_it_is_comes_in_numbers() {
        let moved = Said::Moved(Moved {
            done: 1_200_000_000,
            of: 16_060_000_000,
            per_second: 830_000_000,
        });
        assert_eq!(
            read(&moved.to_string()),
            Some(LogSign::Part(Part::from(Count::Copied {
                done: 1_200_000_000,
                of: 16_060_000_000,
                per_second: 830_000_000,
            })))
        );
        assert_eq!(read("talk"), None);
    }
}
