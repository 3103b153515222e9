//! Bytes as digests are written.

use std::fmt::Write as _;

/// Bytes in lower-case hex.
///
/// ```
/// assert_eq!(replica::hex::hex(&[0, 0xab]), "00ab");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes every byte.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
