//! The id that a linker gave a binary: a few hundred bytes to read, where a digest reads it all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::hex::hex;

/// A segment that holds notes, and the note in it that is the build id.
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// More than any table of segments, or any segment of notes, takes.
const LONGEST: u64 = 64 * 1024;
/// A shorter id (a linker can be told to take a time or a number) tells too little.
const SHORTEST: usize = 16;

/// The build id of a binary: nothing where it has none, or is no ELF file of 64 bits.
///
/// # Errors
///
/// When the file cannot be read.
pub(super) fn build_id(path: &Path) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    // A file that ends where it promises more is no binary, which is not for us to say.
    Ok(find(&file).ok().flatten())
}

fn find(file: &File) -> io::Result<Option<String>> {
    let header = part(file, 0, 64)?;
    // Little-endian, as both architectures are.
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(None);
    }
    let (size, count) = (u64::from(half(&header, 54)), u64::from(half(&header, 56)));
    if size < 56 || size * count > LONGEST {
        return Ok(None);
    }
    let segments = part(file, long(&header, 32), size * count)?;
    for segment in segments.chunks_exact(size as usize) {
        let (start, length) = (long(segment, 8), long(segment, 32));
        if word(segment, 0) != PT_NOTE || length > LONGEST {
            continue;
        }
        if let Some(id) = in_notes(&part(file, start, length)?) {
            return Ok(Some(hex(id)));
        }
    }
    Ok(None)
}

/// Finds the build id among notes: three words of lengths and kind, a name, a content.
fn in_notes(mut notes: &[u8]) -> Option<&[u8]> {
    while notes.len() >= 12 {
        let (name, content) = (word(notes, 0) as usize, word(notes, 4) as usize);
        let begin = 12 + name.next_multiple_of(4);
        let found = notes.get(begin..begin + content)?;
        if word(notes, 8) == NT_GNU_BUILD_ID && notes[12..].starts_with(b"GNU\0") {
            return (content >= SHORTEST).then_some(found);
        }
        notes = notes.get(begin + content.next_multiple_of(4)..)?;
    }
    None
}

fn part(file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of two segments, of which the second holds these notes.
    fn elf(notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        file[64 + 56] = 4;
        file[64 + 56 + 8] = 64 + 2 * 56;
        file[64 + 56 + 32] = u8::try_from(notes.len()).unwrap();
        file.extend_from_slice(notes);
        file
    }

    fn note(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| [u8::try_from(bytes.len()).unwrap(), 0, 0, 0];
        let mut note = [length(name), length(content), [kind, 0, 0, 0]].concat();
        for part in [name, content] {
            note.extend_from_slice(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    fn read(content: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("binary");
        std::fs::write(&path, content).unwrap();
        build_id(&path).unwrap()
    }

    #[test]
    fn the_id_is_found_among_other_notes() {
        let notes = [note(b"GNU\0", 1, b"abi"), note(b"GNU\0", 3, &[0xab; 20])].concat();
        assert_eq!(read(&elf(&notes)), Some("ab".repeat(20)));
    }

    #[test]
    fn what_has_no_id_has_none() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"#!/bin/sh\n"), None);
        assert_eq!(read(&elf(&note(b"GNU\0", 1, &[0; 20]))), None);
        assert_eq!(read(&elf(&note(b"else", 3, &[0; 20]))), None);
        assert_eq!(read(&elf(&note(b"GNU\0", 3, &[7; 8]))), None, "too short");
        let whole = elf(&note(b"GNU\0", 3, &[7; 20]));
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "cut at {end}");
        }
    }
}
