//! `replica completions`: what a shell needs to complete the command line.

use clap_complete::Shell;
use clap_complete::env::Shells;

use super::Global;
use super::completing::VARIABLE;
use super::error::Error;
use super::exit::Exit;

/// Print completions for a shell
///
/// They ask this program while you type, and know the manifests here, their addresses and benchmarks. Have the
/// shell read them when it starts, so that they fit the program: `source <(replica completions bash)`.
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
    let shell = args.shell.to_string();
    let mut script = Vec::new();
    Shells::builtins()
        .completer(&shell)
        .ok_or_else(|| Error::Usage(format!("nothing completes words in {shell}")))?
        .write_registration(VARIABLE, "replica", "replica", "replica", &mut script)
        .map_err(|source| Error::Here {
            what: "the completions could not be written".to_owned(),
            source,
        })?;
    global.screen().result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
