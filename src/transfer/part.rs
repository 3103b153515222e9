//! A file that is not whole yet, and knows which of its pieces it has.
//!
//! Behind the bytes of the file stands one byte for each of its pieces: 1 where the piece is there.
//! It is set after the piece was written, so whatever ends the copy, what is said to be there was
//! written; the digest at the end has the last word all the same.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// As much as is asked for at once.
pub(super) const PIECE: u64 = 4 << 20;

/// What the name of such a file ends with, after its digest. The tools of the hub pass it by.
pub(super) const ENDING: &str = "replica.incomplete";

/// A file that is not whole yet.
#[derive(Debug)]
pub(super) struct Part {
    file: fs::File,
    path: PathBuf,
    size: u64,
}

/// How many pieces a file of a size has.
pub(super) fn pieces(size: u64) -> u64 {
    size.div_ceil(PIECE)
}

/// Where a piece begins, and how long it is.
pub(super) fn bounds(piece: u64, size: u64) -> (u64, u64) {
    let from = piece * PIECE;
    (from, PIECE.min(size - from))
}

impl Part {
    /// Opens what an earlier copy left of a file, or begins it: returns which pieces are there.
    /// Its room on the disk is taken at once.
    pub(super) fn open(path: &Path, size: u64) -> io::Result<(Self, Vec<bool>)> {
        let whole = size + pieces(size);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path)?;
        let is_resumed = file.metadata()?.len() == whole;
        if !is_resumed {
            file.set_len(0)?;
        }
        let taken = match fallocate(&file, FallocateFlags::empty(), 0, whole) {
            // Not every file system can, and none can for an empty file.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.set_len(whole),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(()),
        };
        if let Err(error) = taken {
            if !is_resumed {
                // Nothing is in it.
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        let mut marks = vec![0; pieces(size) as usize];
        file.read_exact_at(&mut marks, size)?;
        let part = Self {
            file,
            path: path.to_owned(),
            size,
        };
        Ok((part, marks.iter().map(|mark| *mark == 1).collect()))
    }

    /// Writes into a piece.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    /// Notes that a piece is there.
    pub(super) fn mark(&self, piece: u64) -> io::Result<()> {
        self.file.write_all_at(&[1], self.size + piece)
    }

    /// Reads what was written.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// Puts the file in its place, now that it is whole.
    pub(super) fn place(self, target: &Path) -> io::Result<()> {
        self.file.set_len(self.size)?;
        // Else a power cut could leave the name and not the content.
        self.file.sync_data()?;
        fs::rename(&self.path, target)
    }

    /// Removes the file: what is in it is wrong.
    pub(super) fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_marked_is_known_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let size = 2 * PIECE + 3;
        let (part, marks) = Part::open(&path, size).unwrap();
        assert_eq!(marks, [false; 3]);
        part.write(b"end", 2 * PIECE).unwrap();
        part.mark(2).unwrap();
        drop(part);
        let (part, marks) = Part::open(&path, size).unwrap();
        assert_eq!(marks, [false, false, true]);
        let mut read = [0; 3];
        part.read(&mut read, bounds(2, size).0).unwrap();
        assert_eq!(&read, b"end");
        part.place(&folder.path().join("whole")).unwrap();
        assert_eq!(
            fs::metadata(folder.path().join("whole")).unwrap().len(),
            size
        );
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_size_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        fs::write(&path, [1; 77]).unwrap();
        let (_, marks) = Part::open(&path, 9).unwrap();
        assert_eq!(marks, [false]);
        assert_eq!((pieces(0), pieces(PIECE), pieces(PIECE + 1)), (0, 1, 2));
        assert_eq!(bounds(1, PIECE + 1), (PIECE, 1));
    }
}
