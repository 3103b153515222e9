//! `replica fmt`: manifests as they would be written, with their comments.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::manifest::{self, Formatted, formatted};
use crate::view::Screen;
use crate::view::fmt::{FmtDocument, FmtFile, diff, render};

/// Write manifests in one form, with their comments
///
/// Two spaces for each level, the keys of the top level in the order of the schema, comments where what they
/// belong to stands; quotes, line breaks within values and block scalars stay as they are. What is read of a
/// file is the same before and after, or the file is left as it is. The names of those that were written
/// otherwise are printed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The manifests; `-` is the standard input, which goes to the standard output [default: topology.yaml]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing, and exit 2 where a file would be written otherwise
    #[arg(long)]
    check: bool,
    /// Write nothing, and show what would be written otherwise
    #[arg(long)]
    diff: bool,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    let screen = global.screen();
    let files = match &args.files[..] {
        [] => vec![manifest::find(None)?],
        files => files.to_vec(),
    };
    // All are read before any is written: a mistake in one leaves the others as they are.
    let all: Vec<Formatted> = files
        .iter()
        .map(|file| formatted(file))
        .collect::<Result<_, _>>()?;
    let mut done = Vec::new();
    for (path, file) in files.iter().zip(&all) {
        if let Some(why) = file.left {
            screen.warning(&format!("{} is left as it is: {why}", file.name));
        }
        if args.diff && !screen.is_json() {
            screen.result(&diff(file, screen.out()))?;
        }
        done.push(FmtFile {
            file: file.name.clone(),
            differs: file.differs(),
            written: !args.check && !args.diff && write(&screen, path, file)?,
            left: file.left.map(str::to_owned),
        });
    }
    let is_told = args.diff || (files.iter().any(|it| is_stdin(it)) && !args.check);
    if screen.is_json() {
        screen.document(&FmtDocument::new(done))?;
    } else if !is_told {
        screen.result(&render(&done))?;
    }
    Ok(exit(args, &all))
}

fn exit(args: &Args, all: &[Formatted]) -> Exit {
    if all.iter().any(|file| file.left.is_some()) {
        Exit::Failed
    } else if args.check && all.iter().any(Formatted::differs) {
        Exit::Pending
    } else {
        Exit::Done
    }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file anew where that changes it; what came through the standard input goes on.
fn write(screen: &Screen, path: &Path, file: &Formatted) -> Result<bool, Error> {
    if is_stdin(path) {
        if !screen.is_json() {
            screen.result(&file.after)?;
        }
        return Ok(false);
    }
    if !file.differs() {
        return Ok(false);
    }
    replace(path, &file.after).map_err(|source| Error::Here {
        what: format!("{} cannot be written", path.display()),
        source,
    })?;
    Ok(true)
}

/// Puts a file in the place of the one that a path leads to, whole, and for the same readers.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let permissions = fs::metadata(&path)?.permissions();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::File::create_new(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, &path));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}
