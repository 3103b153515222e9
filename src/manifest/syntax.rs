//! What the YAML parser says, in words that say what to do.

use serde_yaml::granit_parser::{ErrorKind, ScanError};

use super::problem::Problem;
use super::slips;

/// Puts a syntax error into words.
pub(super) fn problem(error: &ScanError, text: &str, at: usize) -> Problem {
    let at = at.min(text.len());
    if let Some(problem) = slips::explain(error.kind(), text, at) {
        return problem;
    }
    let (title, hint) = words(error.kind(), error);
    // The end of a line, or of the file, is best seen as the last thing that stands before it.
    let place = at..text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
    let problem = Problem::new(title).at(place);
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn words(kind: &ErrorKind, error: &ScanError) -> (String, Option<&'static str>) {
    use ErrorKind as K;
    let (title, hint) = match kind {
        K::TabNotAllowed
        | K::TabInBlockIndentation
        | K::TabInIndentation
        | K::TabAtBlockScalarStart => (
            "a tab stands where YAML wants spaces",
            "indent with spaces: two for each level",
        ),
        K::SimpleKeyExpected | K::ExpectedBlockMappingKey => (
            "this is neither a key nor the rest of a value",
            "write `key: value`, with a space after the colon; quote a value that holds `: ` or ` #`",
        ),
        K::InvalidSimpleKey | K::InvalidIndentation => (
            "this does not fit the lines above it",
            "lines of one map begin in one column; quote a value that holds `: `",
        ),
        K::MappingValueNotAllowed | K::InvalidColonPlacement => (
            "a key cannot stand here",
            "is a space missing after the colon above? quote a value that holds `: `",
        ),
        K::UnclosedQuotedScalar => ("a quote is opened here and never closed", "close it"),
        K::UnclosedFlowCollection { open: '{' } => ("`{` is never closed", "close it with `}`"),
        K::UnclosedFlowCollection { .. } => ("`[` is never closed", "close it with `]`"),
        K::UnexpectedCharacter { .. } => (
            "this character cannot begin a value",
            "put the value in quotes",
        ),
        K::InvalidTrailingSingleQuotedScalar | K::InvalidTrailingDoubleQuotedScalar => (
            "a quoted text ends before this",
            "items are separated by commas; a value that begins with a quote ends with one",
        ),
        K::ExpectedFlowMappingSeparator => (
            "a `,` or a `}` is missing here",
            "entries of `{…}` are separated by commas",
        ),
        K::ExpectedFlowSequenceSeparator => (
            "a `,` or a `]` is missing here",
            "items of `[…]` are separated by commas",
        ),
        _ => return (format!("this is not YAML: {}", error.info()), None),
    };
    (title.to_owned(), Some(hint))
}
