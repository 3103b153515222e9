//! Lines out of pieces.

use super::outcome::Line;
use super::running::Piece;

/// The two unfinished lines of a script.
#[derive(Debug, Default)]
pub(super) struct Lines {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Lines {
    /// Takes a piece and returns the lines that it completes.
    pub(super) fn take(&mut self, piece: &Piece) -> Vec<Line> {
        match piece {
            Piece::Out(bytes) => split(&mut self.out, bytes, Line::Out),
            Piece::Err(bytes) => split(&mut self.err, bytes, Line::Err),
        }
    }

    /// What stands at the end without a line end.
    pub(super) fn rest(&mut self) -> Vec<Line> {
        let mut rest = Vec::new();
        if !self.out.is_empty() {
            rest.push(Line::Out(text(&std::mem::take(&mut self.out))));
        }
        if !self.err.is_empty() {
            rest.push(Line::Err(text(&std::mem::take(&mut self.err))));
        }
        rest
    }
}

fn split(open: &mut Vec<u8>, bytes: &[u8], line: fn(String) -> Line) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        open.extend_from_slice(&rest[..at]);
        lines.push(line(text(open)));
        open.clear();
        rest = &rest[at + 1..];
    }
    open.extend_from_slice(rest);
    lines
}

fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_pieces_are_cut() {
        let all = "one\n\ntwo\r\nthree ä\nrest";
        for cut in 1..all.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in all.as_bytes().chunks(cut) {
                seen.extend(lines.take(&Piece::Out(Bytes::copy_from_slice(piece))));
            }
            seen.extend(lines.rest());
            let want = ["one", "", "two", "three ä", "rest"];
            assert_eq!(seen, want.map(|l| Line::Out(l.to_owned())));
        }
    }
}
