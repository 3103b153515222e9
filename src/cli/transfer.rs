//! `replica copy-offer` and `replica copy-fetch`: what nodes run while a model goes from one to the
//! other; `replica copy-measure` in the place of the second, where the way between them is measured. Each is told what to do by one line of JSON on the standard input, and says what happens
//! in lines that `apply` reads.

use std::io::{self, BufRead as _, Write as _, stdin, stdout};

use serde::de::DeserializeOwned;

use super::error::Error;
use super::exit::Exit;
use crate::transfer::{self, Said};

/// Offers the files of a model until they are fetched.
pub(super) async fn offer() -> Result<Exit, Error> {
    aside(|| {
        let offering = transfer::offer(&told()?)?;
        say(&Said::Port(offering.port()?));
        if let Some(listing) = offering.listing() {
            say(&Said::Listing(listing.clone()));
        }
        offering.serve()
    })
    .await
}

/// Fetches the files of a model, and says how far it has come.
pub(super) async fn fetch() -> Result<Exit, Error> {
    aside(|| transfer::fetch(&told()?, &|moved| say(&Said::Moved(moved)))).await
}

/// Measures the way to another node.
pub(super) async fn measure() -> Result<Exit, Error> {
    aside(|| {
        say(&Said::Measured(transfer::measure(&told()?)?));
        Ok(())
    })
    .await
}

/// Runs what blocks where that disturbs nobody, and says why it failed.
async fn aside(
    work: impl FnOnce() -> Result<(), transfer::Error> + Send + 'static,
) -> Result<Exit, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|crashed| Err(io::Error::other(crashed).into())) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            say(&Said::Failed(error));
            Ok(Exit::Failed)
        }
    }
}

fn told<T: DeserializeOwned>() -> io::Result<T> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Says something to whoever runs this; who is gone ends it in another way.
fn say(said: &Said) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{said}").and_then(|()| out.flush());
}
