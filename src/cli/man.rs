//! `replica man`: the manual, for `man`.

use std::path::PathBuf;

use clap_mangen::Man;

use super::Global;
use super::error::Error;
use super::exit::Exit;

/// Print the manual page, or write that of every command
///
/// `replica man | man -l -` shows it; `--out ~/.local/share/man/man1` has `man replica-apply` find them all.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    if global.is_json() {
        let text = "a manual page is for `man` and no document: leave --json out";
        return Err(Error::Usage(text.to_owned()));
    }
    let failed = |what: String| move |source| Error::Here { what, source };
    let screen = global.screen();
    if let Some(folder) = &args.out {
        let what = format!("the manual could not be written into {}", folder.display());
        if folder.exists() && !folder.is_dir() {
            return Err(Error::refused(
                format!("`{}` is no folder", folder.display()),
                "name one, which is made where it is not there: `replica man --out ~/.local/share/man/man1`",
            ));
        }
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(super::command(), folder))
            .map_err(failed(what))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    Man::new(super::command())
        .render(&mut page)
        .map_err(failed("the manual could not be written".to_owned()))?;
    screen.result(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
