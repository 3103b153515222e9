//! The escapes of ASCII in a text of JSON (`\u0072`). By one a word can be written so that a search for
//! the word passes it over; encoders escape what is not ASCII, and what would be HTML (`\u003c`).

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// How many characters of JSON can stand for one.
pub(super) const LONGEST: usize = 6;

/// A text is looked through in blocks of so many bytes.
const BLOCK: usize = 1024;

static BEGINNING: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r"\u00"));

/// The characters of ASCII that a text has escaped: a bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Escapes(u128);

impl Escapes {
    /// Those of a text. It is searched once, at the speed of memory, for whoever looks for a word.
    pub(super) fn of(text: &[u8]) -> Self {
        let Some(first) = BEGINNING.find(text) else {
            return Self::default();
        };
        // Where letters with accents are escaped, there are many that are not ASCII: whole blocks of them are
        // passed over at once.
        let starts = (first..text.len()).step_by(BLOCK);
        let blocks = starts.map(|at| &text[at..text.len().min(at + BLOCK + LONGEST - 1)]);
        let blocks = blocks.filter(|block| may_have_some(block));
        let bytes = blocks.flat_map(|block| block.windows(LONGEST).filter_map(escaped));
        Self(bytes.fold(0, |escaped, byte| escaped | 1 << byte))
    }

    /// Whether a character of this word is among them.
    pub(super) fn can_spell(self, word: &str) -> bool {
        let mut ascii = word.bytes().filter(u8::is_ascii);
        self.0 != 0 && ascii.any(|byte| self.0 & 1 << byte != 0)
    }
}

/// Whether one may stand in a block. Each of its bytes is looked at in the same way, without a branch, so that
/// one instruction looks at many.
fn may_have_some(block: &[u8]) -> bool {
    let least = |least: u8, it| least.min(difference(it));
    block.windows(5).fold(u8::MAX, least) == 0
}

/// In what these differ from `\u00` and a digit below 8. The backslash is left to who looks closer: hardly a
/// text has the rest of it without one, and each byte that is looked at costs a fifth.
fn difference(it: &[u8]) -> u8 {
    (it[1] ^ b'u') | (it[2] ^ b'0') | (it[3] ^ b'0') | ((it[4] & 0xf8) ^ b'0')
}

/// The character of ASCII that these stand for.
fn escaped(characters: &[u8]) -> Option<u8> {
    let digits = characters.strip_prefix(br"\u00")?;
    hex_byte(Some(digits)).filter(u8::is_ascii)
}

/// A text of JSON with its escapes of ASCII undone.
pub(super) fn undone(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let byte = rest
            .strip_prefix(br"\u00")
            .and_then(|digits| hex_byte(digits.get(..2)));
        match (byte, rest) {
            (Some(byte), _) => {
                plain.push(byte);
                rest = &rest[LONGEST..];
            }
            (None, [b'\\', b'/', ..]) => rest = after,
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn hex_byte(digits: Option<&[u8]>) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let &[high, low] = digits? else { return None };
    u8::try_from(value(high)? * 16 + value(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_can_be_spelled_of_what_is_escaped() {
        for (text, word, can) in [
            (r"\u0072eplica", "replica", true),
            (r"\u0052eplica", "replica", false),
            (r"caf\u00e9 \u003cb\u003e \u4e2d", "replica", false),
            (r"\u00", "replica", false),
            (r"\u007Z \u007", "z", false),
            ("replica", "replica", false),
            (r"x\u006Ey\u006e", "n", true),
            (r"\u00e9 u006e /u006e", "n", false),
        ] {
            assert_eq!(Escapes::of(text.as_bytes()).can_spell(word), can, "{text}");
        }
    }

    #[test]
    fn none_is_passed_over_wherever_it_stands() {
        for before in (0..8).chain(BLOCK - 12..BLOCK + 12) {
            for after in ["", "x", "\\u00e9"] {
                let text = format!(r"\u00e9{}\u0072{after}", "x".repeat(before));
                let escapes = Escapes::of(text.as_bytes());
                assert_eq!(escapes, Escapes(1 << b'r'), "{before} {after}");
            }
        }
    }

    #[test]
    fn escapes_are_undone() {
        let text = br"a\u0062\/\u00\n\u4e2d";
        assert_eq!(undone(text), br"ab/\u00\n\u4e2d");
    }
}
