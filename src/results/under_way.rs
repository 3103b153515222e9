//! Which measurements of a topology are under way, so that none is believed that another disturbed.
//!
//! Each has a note beside the results, `<results>/<topology>/.measuring-<run>`, from before its first
//! request until after its last, and its process holds the note locked: a note that nobody holds is
//! of a process that is gone, whatever became of it. Who begins writes itself into the note of
//! everybody who is at it, so that the first to end learns of the other too, and no clock is asked.
//!
//! Measurements that keep their results in different folders do not see each other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::facts::Run;
use crate::plan::{Failure, Job};

const NOTE: &str = ".measuring-";

/// A measurement, as its note tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measuring {
    /// The run's name.
    pub run: String,
    /// The benchmark's name.
    pub benchmark: String,
    /// The process that measures.
    pub pid: u32,
    /// When it began.
    pub started: jiff::Timestamp,
}

/// The note of a measurement that is under way; it goes away with it.
#[derive(Debug)]
pub(crate) struct UnderWay {
    path: PathBuf,
    /// Holds the lock, for as long as this is there.
    _note: File,
    /// Who was at it when the requests that count began.
    beside: Vec<Measuring>,
    /// Who had begun before those requests.
    before: usize,
}

impl UnderWay {
    /// Begins: what is sent from now on disturbs others.
    pub(crate) fn begin(job: &Job, run: &Run) -> Result<Self, Failure> {
        let folder = job.results.join(&job.topology);
        let me = Measuring {
            run: run.id.clone(),
            benchmark: job.name.clone(),
            pid: std::process::id(),
            started: run.started,
        };
        Self::noted(&folder, &me)
            .map_err(|error| Failure::new(format!("cannot write to {}: {error}", folder.display())))
    }

    fn noted(folder: &Path, me: &Measuring) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{NOTE}{}", me.run));
        // It is locked before it has its name, or it could be taken for one that nobody holds.
        let draft = folder.join(format!(".draft-{}", me.run));
        let mut note = File::create(&draft)?;
        // Where files cannot be locked, nobody is held to be at it, and nothing is noticed.
        let _ = note.lock();
        note.write_all(&line(me)?)?;
        fs::rename(&draft, &path)?;
        // Two that begin at one moment both have their notes before either looks around.
        for (other, _) in others(&path)? {
            tell(&other, me)?;
        }
        Ok(Self {
            path,
            _note: note,
            beside: Vec::new(),
            before: 0,
        })
    }

    /// The requests that count begin: who has come and gone does not matter any more.
    pub(crate) fn measure(&mut self) {
        self.before = self.joined().len();
        let beside = others(&self.path).unwrap_or_default();
        self.beside = beside.into_iter().map(|(_, other)| other).collect();
    }

    /// Ends, and returns who else was at it while the requests that count were sent.
    pub(crate) fn end(self) -> Vec<Measuring> {
        let mut others = self.beside.clone();
        for other in self.joined().into_iter().skip(self.before) {
            if !others.contains(&other) {
                others.push(other);
            }
        }
        others
    }

    /// Who has begun since this has.
    fn joined(&self) -> Vec<Measuring> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().skip(1).filter_map(read).collect()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn line(of: &Measuring) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(of)?;
    line.push(b'\n');
    Ok(line)
}

fn read(line: &str) -> Option<Measuring> {
    serde_json::from_str(line).ok()
}

/// The notes beside this one that somebody holds; those that nobody holds are removed.
fn others(own: &Path) -> io::Result<Vec<(PathBuf, Measuring)>> {
    let folder = own.parent().unwrap_or(own);
    let mut held = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path == own || !name.starts_with(NOTE) {
            continue;
        }
        if is_held(&path) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            held.extend(
                text.lines()
                    .next()
                    .and_then(read)
                    .map(|other| (path, other)),
            );
        } else {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(held)
}

/// Whether a topology is measured from this machine now; `folder` is that of its results.
pub fn is_measured(folder: &Path) -> bool {
    let notes = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_note = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(NOTE)
    };
    let mut notes = notes.map(|entry| entry.path()).filter(is_note);
    notes.any(|note| is_held(&note))
}

fn is_held(note: &Path) -> bool {
    // Shared, so that two that look at one moment do not take each other for its holder.
    File::open(note).is_ok_and(|note| note.try_lock_shared().is_err())
}

/// Writes itself into the note of another; one that has ended meanwhile need not know.
fn tell(other: &Path, me: &Measuring) -> io::Result<()> {
    match OpenOptions::new().append(true).open(other) {
        Ok(mut note) => note.write_all(&line(me)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measuring(run: &str) -> Measuring {
        Measuring {
            run: run.to_owned(),
            benchmark: format!("benchmark-{run}"),
            pid: 4711,
            started: "2026-02-06T08:39:45.112Z".parse().unwrap(),
        }
    }

    fn begin(folder: &Path, run: &str) -> UnderWay {
        UnderWay::noted(folder, &measuring(run)).unwrap()
    }

    fn notes(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn both_of_two_know_of_each_other_whoever_ends_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = begin(folder.path(), "1");
        one.measure();
        let mut two = begin(folder.path(), "2");
        two.measure();
        assert_eq!(one.end(), [measuring("2")]);
        assert_eq!(two.end(), [measuring("1")]);
        assert_eq!(notes(folder.path()), 0);
    }

    #[test]
    fn it_is_known_whether_somebody_measures() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_measured(&folder.path().join("not made yet")));
        let one = begin(folder.path(), "1");
        assert!(is_measured(folder.path()));
        drop(one);
        fs::write(folder.path().join(".measuring-0"), "left behind").unwrap();
        assert!(!is_measured(folder.path()));
    }

    #[test]
    fn one_that_came_and_went_while_others_were_measured_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = begin(folder.path(), "1");
        one.measure();
        drop(begin(folder.path(), "2"));
        assert_eq!(one.end(), [measuring("2")]);
    }

    #[test]
    fn one_that_was_gone_before_the_requests_that_count_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let before = begin(folder.path(), "1");
        let mut two = begin(folder.path(), "2");
        drop(begin(folder.path(), "3"));
        drop(before);
        two.measure();
        assert_eq!(two.end(), []);
    }

    #[test]
    fn a_note_that_nobody_holds_is_of_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let dead = folder.path().join(".measuring-0");
        fs::write(&dead, line(&measuring("0")).unwrap()).unwrap();
        let mut one = begin(folder.path(), "1");
        assert!(!dead.exists());
        one.measure();
        assert_eq!(one.end(), []);
    }
}
