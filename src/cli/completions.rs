//! `replica completions`: what a shell needs to complete the command line.

use clap_complete::Shell;

use super::Global;
use super::error::Error;
use super::exit::Exit;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    if global.json {
        let text = "completions are a script for a shell and no document: leave --json out";
        return Err(Error::Usage(text.to_owned()));
    }
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "replica", &mut script);
    global.screen().result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
