//! A manifest's file: found, read, and understood.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::arms::experiment;
use super::check::check;
use super::document::Document;
use super::marks::Marks;
use super::problem::{ManifestError, Problem, Source};
use super::remark::{Remark, remarks};
use super::short::written_out;
use super::suggest::{listed, nearest};
use super::variables::Variables;
use super::{parse, typed};
use crate::compare::Experiment;
use crate::hex::hex;
use crate::resource::Topology;

/// The manifest of the current folder.
const DEFAULT: &str = "topology.yaml";
/// What stands for the standard input.
const STDIN: &str = "-";
/// No topology is near this size; a file that is, is another file.
const MOST_BYTES: usize = 1 << 20;

/// A manifest that is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What it means.
    pub topology: Topology,
    /// The file, as it was named.
    pub path: PathBuf,
    /// The folder of the file: what its relative paths are relative to.
    pub folder: PathBuf,
    /// The digest of the file's bytes, and of the variables in it, in hex.
    pub sha256: String,
    /// What was filled in, by the names of variables.
    pub variables: BTreeMap<String, String>,
    /// What is odd in it, in the order of its text.
    pub remarks: Vec<Remark>,
    /// What it compares, where it does.
    pub experiment: Option<Experiment>,
}

/// What a text means, and what is odd in it.
#[derive(Debug)]
pub(super) struct Understood {
    pub(super) topology: Topology,
    pub(super) remarks: Vec<Remark>,
    pub(super) experiment: Option<Experiment>,
}

/// The manifest that a command is about: the given one, or `topology.yaml` of the current
/// folder.
///
/// # Errors
///
/// Fails when there is no such file, and says how to begin.
pub fn find(given: Option<&Path>) -> Result<PathBuf, ManifestError> {
    let path = given.unwrap_or(Path::new(DEFAULT));
    if path == Path::new(STDIN) {
        return Ok(path.to_owned());
    }
    // A pipe is as good as a file.
    let problem = match fs::metadata(path) {
        Ok(found) if found.is_dir() => folder(path),
        Ok(_) => return Ok(path.to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => unreadable(path, &error),
        Err(_) if given.is_some() => absent(path),
        Err(_) => Problem::new(format!("there is no `{DEFAULT}` in this folder")).hint(at_hand()),
    };
    Err(ManifestError::unread(path.display().to_string(), problem))
}

/// Reads a manifest, and looks at the files that it names: it is to be measured by.
///
/// # Errors
///
/// Fails with every mistake that the manifest has, not only the first.
pub fn load(path: &Path, variables: Variables) -> Result<Manifest, ManifestError> {
    load_file(path, Some(path), variables)
}

/// Reads a manifest alone: what runs can be looked at and ended though a file of it is missing.
///
/// # Errors
///
/// Fails with every mistake that the manifest has, not only the first.
pub fn load_alone(path: &Path, variables: Variables) -> Result<Manifest, ManifestError> {
    load_file(path, None, variables)
}

fn load_file(
    path: &Path,
    with_files: Option<&Path>,
    variables: Variables,
) -> Result<Manifest, ManifestError> {
    let read = ReadFile::at(path, absent)?;
    let Understood {
        topology,
        remarks,
        experiment,
    } = understand(&read.name, &read.bytes, with_files, &variables)?;
    let variables = variables.into_taken();
    Ok(Manifest {
        topology,
        experiment,
        path: path.to_owned(),
        sha256: read.sha256_with(&variables),
        variables,
        folder: read.folder,
        remarks,
    })
}

/// A file as it was read.
pub(super) struct ReadFile {
    /// What its reader calls it.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// What its relative paths are relative to.
    pub(super) folder: PathBuf,
}

impl ReadFile {
    /// Reads a file; `absent` tells of one that is not there.
    pub(super) fn at(path: &Path, absent: fn(&Path) -> Problem) -> Result<Self, ManifestError> {
        let bytes = bytes_of(path).map_err(|error| {
            let problem = match error.kind() {
                ErrorKind::NotFound => absent(path),
                ErrorKind::IsADirectory => folder(path),
                _ => unreadable(path, &error),
            };
            ManifestError::unread(path.display().to_string(), problem)
        })?;
        let name = if path == Path::new(STDIN) {
            "the standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self {
            name,
            bytes,
            folder,
        })
    }

    /// The digest of its bytes, in hex.
    pub(super) fn sha256(&self) -> String {
        self.sha256_with(&BTreeMap::new())
    }

    /// The digest of its bytes, and of what was filled in, in hex.
    fn sha256_with(&self, variables: &BTreeMap<String, String>) -> String {
        let mut digest = Sha256::new_with_prefix(&self.bytes);
        for (name, value) in variables {
            // No text has such a byte between others: a manifest that says the same is another.
            digest.update(format!("\0{name}={value}"));
        }
        hex(&digest.finalize())
    }
}

/// Reads a manifest that is no file.
///
/// # Errors
///
/// Fails with every mistake that the manifest has, not only the first.
pub fn read(text: &str) -> Result<Topology, ManifestError> {
    Ok(understand("the manifest", text.as_bytes(), None, &Variables::default())?.topology)
}

/// What a file holds, or what comes through a pipe; of more than a manifest can have, the beginning.
fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let most = MOST_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new(STDIN) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads what a file holds; `name` is what its reader calls it, and `file` the file itself where
/// those that it names are to be looked at.
pub(super) fn understand(
    name: &str,
    bytes: &[u8],
    file: Option<&Path>,
    variables: &Variables,
) -> Result<Understood, ManifestError> {
    let source = decode(name, bytes)?;
    let mut problems = Vec::new();
    let mut marks = Marks::default();
    let mut understood = None;
    match parse::parse(&source.text, &mut marks, &mut problems) {
        Some(root) if root.is_nothing() => problems.push(empty_manifest()),
        Some(root) => {
            let root = root.without(is_extension);
            let root = variables.filled(&root, &mut marks, &mut problems);
            let root = written_out(&root);
            let document = typed::read::<Document>(&root, &mut marks, &mut problems);
            understood = document.and_then(|document| {
                let topology = check(&document, &root, &marks, file, &mut problems);
                // What is wrong with the arms is told beside what is wrong with the rest.
                let experiment = experiment(&document, &root, &mut problems);
                let topology = topology?;
                let remarks = remarks(&document, &topology, &root, &marks, &source.text);
                Some(Understood {
                    topology,
                    remarks,
                    experiment,
                })
            });
        }
        None if problems.is_empty() => problems.push(empty_manifest()),
        None => {}
    }
    match understood {
        Some(understood) if problems.is_empty() => Ok(understood),
        _ => Err(ManifestError::new(source, problems)),
    }
}

pub(super) fn decode(name: &str, bytes: &[u8]) -> Result<Source, ManifestError> {
    let name = name.to_owned();
    if bytes.len() > MOST_BYTES {
        let problem = Problem::new(format!(
            "`{name}` is too long: a manifest has at most {MOST_BYTES} bytes"
        ))
        .hint("is this the file that you meant?");
        return Err(ManifestError::unread(name, problem));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(Source {
            name,
            text: text.to_owned(),
        }),
        Err(error) => Err(not_utf8(name, bytes, error.valid_up_to())),
    }
}

fn not_utf8(name: String, bytes: &[u8], at: usize) -> ManifestError {
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let text = String::from_utf8_lossy(bytes).into_owned();
    let replaced = char::REPLACEMENT_CHARACTER.len_utf8();
    let title = format!(
        "not UTF-8: byte {} of the file is 0x{:02x}",
        at + 1,
        bytes[at]
    );
    let problem = Problem::new(title).at(at..at + replaced).hint(if utf16 {
        "this is UTF-16; save the file as UTF-8"
    } else {
        "save the file as UTF-8"
    });
    ManifestError::new(Source { name, text }, vec![problem])
}

/// Whether a key of the root is somebody's own, as in compose files: a place for anchors.
pub(super) fn is_extension(key: &str) -> bool {
    key.starts_with("x-")
}

/// How a manifest is begun by whoever has none.
const BEGIN: &str = "`replica init` writes one; it begins with `topology: NAME` and `nodes:`, and \
                     `replica schema` prints all that can be in it";

/// Says that a manifest has nothing in it.
pub(super) fn empty_manifest() -> Problem {
    empty("manifest", BEGIN)
}

/// Says that a file of this sort has nothing in it, and how one is begun.
pub(super) fn empty(what: &str, begin: &str) -> Problem {
    Problem::new(format!("the {what} is empty"))
        .at(0..0)
        .hint(begin)
}

/// Says that there is no such file.
pub(super) fn no_file(path: &Path) -> Problem {
    Problem::new(format!("there is no file `{}`", path.display()))
}

/// Says that there is no such manifest, and which there are.
pub(super) fn absent(path: &Path) -> Problem {
    let problem = no_file(path);
    let known = manifests_near();
    let name = path.display().to_string();
    match nearest(&name, known.iter().map(String::as_str)) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem.hint(at_hand()),
    }
}

/// Which manifests there are to be named, or how one is begun.
fn at_hand() -> String {
    let known = manifests_near();
    match known.as_slice() {
        [] => format!("name the manifest; {BEGIN}"),
        known => {
            let known = known.iter().take(MOST_NAMED);
            format!(
                "name the manifest, which is the first argument: {}",
                listed(known.map(String::as_str))
            )
        }
    }
}

/// So many are named; of more, nobody reads all.
const MOST_NAMED: usize = 8;

/// The manifests of this folder, and of the folder in it where they often are.
fn manifests_near() -> Vec<String> {
    let is_manifest = |path: &PathBuf| {
        let ends = path.extension().and_then(|end| end.to_str());
        ends.is_some_and(|end| matches!(end, "yaml" | "yml")) && declares_a_topology(path)
    };
    let mut near = Vec::new();
    for folder in ["", "manifests"] {
        let listed = fs::read_dir(if folder.is_empty() { "." } else { folder });
        let files = listed.into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = files
            .map(|entry| Path::new(folder).join(entry.file_name()))
            .filter(is_manifest)
            .collect();
        found.sort();
        near.extend(found.iter().map(|path| path.display().to_string()));
    }
    near
}

fn declares_a_topology(path: &Path) -> bool {
    // A pipe would wait for somebody to write.
    let is_file = path.metadata().is_ok_and(|found| found.is_file());
    let text = is_file.then(|| bytes_of(path).ok()).flatten();
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
    text.lines().any(|line| line.starts_with("topology:"))
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(format!("`{}` cannot be read: {error}", path.display()))
}

fn folder(path: &Path) -> Problem {
    let inside = path.join(DEFAULT);
    let problem = Problem::new(format!("`{}` is a folder, not a manifest", path.display()));
    if inside.is_file() {
        problem.hint(format!("did you mean `{}`?", inside.display()))
    } else {
        problem.hint("name a file in it")
    }
}
