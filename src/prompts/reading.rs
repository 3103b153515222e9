//! Files of prompts, read whole.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::Reading;
use super::form::Unreadable;

/// The bytes of a file that lies relative to the folder.
pub(super) fn bytes(file: &Path, reading: &Reading<'_>) -> Result<Vec<u8>, Unreadable> {
    let path = reading.folder.join(file);
    let name = file.display();
    let beside = "a file of prompts is named as seen from the manifest's folder";
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Unreadable::new(
            format!("there is no file `{name}`"),
            beside,
        )),
        Err(error) if path.is_dir() => Err(Unreadable::new(
            format!("`{name}` is a folder: {error}"),
            beside,
        )),
        Err(error) => Err(Unreadable::new(
            format!("`{name}` cannot be read: {error}"),
            beside,
        )),
    }
}

/// The lines of a text file that are not blank, each with its number from 1.
pub(super) fn lines<'a>(file: &Path, bytes: &'a [u8]) -> Result<Vec<(usize, &'a str)>, Unreadable> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        Unreadable::new(
            format!("line {line} of `{}` is not UTF-8", file.display()),
            "save the file as UTF-8",
        )
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let lines: Vec<_> = numbered
        .filter(|(_, line)| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return Err(Unreadable::new(
            format!("`{}` has no prompts", file.display()),
            "write a prompt a line",
        ));
    }
    Ok(lines)
}
