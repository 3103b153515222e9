//! What is to be expected of a comparison, before anything runs: no node is asked.

use std::path::Path;

use super::super::Global;
use super::super::error::Error;
use super::super::exit::Exit;
use crate::compare::{Experiment, Foretold, foretell};
use crate::manifest;
use crate::view::{Screen, compare as view};

/// Rehearses every arm and shows what is foretold.
pub(super) async fn run(
    global: &Global,
    file: Option<&Path>,
    screen: &Screen,
) -> Result<Exit, Error> {
    let manifest = manifest::load(&manifest::find(file)?, global.variables())?;
    let Some(experiment) = manifest.experiment else {
        return Err(super::compares_nothing(
            &manifest.path.display().to_string(),
        ));
    };
    screen.note("rehearsing every arm in simulated time");
    let foretold = foretold(experiment.clone(), &manifest.folder).await?;
    if screen.is_json() {
        screen.document(&foretold)?;
    } else {
        let name = manifest.topology.name.as_str();
        screen.result(&view::foretold(name, &experiment, &foretold, screen.out()))?;
    }
    Ok(Exit::Done)
}

/// What is foretold, computed where nobody waits for the thread.
async fn foretold(experiment: Experiment, folder: &Path) -> Result<Foretold, Error> {
    let folder = folder.to_owned();
    let foretold = tokio::task::spawn_blocking(move || foretell(&experiment, &folder)).await;
    foretold
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        .map_err(|why| {
            Error::refused(
                format!("this cannot be rehearsed: {why}"),
                "leave `--predict` out to measure it",
            )
        })
}
