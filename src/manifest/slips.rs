//! Slips of writing for which the parser blames a later place: each is found in the text before it,
//! and told with what to write.

use std::ops::Range;

use serde_yaml::granit_parser::ErrorKind;

use super::problem::Problem;
use super::suggest::shown;

/// Finds the slip behind a syntax error at a place of the text, where there is one.
pub(super) fn explain(kind: &ErrorKind, text: &str, at: usize) -> Option<Problem> {
    use ErrorKind as K;
    match kind {
        K::InvalidTrailingSingleQuotedScalar
        | K::InvalidTrailingDoubleQuotedScalar
        | K::ExpectedFlowSequenceSeparator
        | K::ExpectedFlowMappingSeparator => quote_in_quotes(text, at),
        K::MappingValueNotAllowed
        | K::InvalidColonPlacement
        | K::ExpectedDocumentStart
        | K::SimpleKeyExpected
        | K::ExpectedBlockMappingKey
        | K::InvalidSimpleKey
        | K::InvalidIndentation => no_space_after_colon(text, at)
            // A quoted value that goes on is taken for a key, or for the rest of one.
            .or_else(|| quote_in_quotes(text, at)),
        _ => None,
    }
}

/// `'it's me'` ends before the `s`.
fn quote_in_quotes(text: &str, at: usize) -> Option<Problem> {
    let line = line_of(text, at);
    let before = text[line.start..at].trim_end();
    let quote = before
        .chars()
        .next_back()
        .filter(|c| matches!(c, '\'' | '"'))?;
    let closed = line.start + before.len() - 1;
    let opened = line.start + text[line.start..closed].rfind(quote)?;
    let end = end_of_quoted(&text[closed + 1..line.end], quote)? + closed + 1;
    let inner = &text[opened + 1..end];
    let (kind, other) = match quote {
        '"' => ("double", "single"),
        _ => ("single", "double"),
    };
    let doubled = if quote == '"' { "\\\"" } else { "''" };
    let other_quote = if quote == '"' { '\'' } else { '"' };
    let problem = Problem::new(format!("a text in {kind} quotes ends at the quote in it"))
        .at(closed..closed + 1);
    Some(if inner.contains([other_quote, '\\']) {
        problem.hint(format!("write the quote in it as `{doubled}`"))
    } else {
        let whole = shown(&format!("{other_quote}{inner}{other_quote}"));
        problem.hint(format!(
            "put it in {other} quotes: `{whole}`, or write the quote in it as `{doubled}`"
        ))
    })
}

/// Where the quote stands that was meant to be the last: before a comma, a bracket, or the end.
fn end_of_quoted(rest: &str, quote: char) -> Option<usize> {
    let is_last = |(at, _): &(usize, &str)| {
        let after = rest[at + 1..].trim_start();
        after.is_empty() || after.starts_with([',', ']', '}', ':', '#'])
    };
    let (at, _) = rest.match_indices(quote).find(is_last)?;
    // One that opens between makes two texts, and a comma is missing.
    let mut before = rest[..at].match_indices(quote);
    let opens = |(at, _): (usize, &str)| rest[..at].ends_with([' ', ',', '[', '{']);
    let inside = !before.any(opens) && !rest[..at].contains(',');
    inside.then_some(at)
}

/// `topology:x` is a text and no key, which shows where the next key is read.
fn no_space_after_colon(text: &str, at: usize) -> Option<Problem> {
    let line = line_of(text, at);
    let here = keyless(text, line.clone());
    let (place, key, value) = here.or_else(|| keyless(text, content_before(text, line.start)?))?;
    let (key, value) = (shown(key), shown(value));
    let problem = Problem::new(format!("a space is missing after `{key}:`")).at(place);
    Some(problem.hint(format!("write `{key}: {value}`")))
}

/// A line that is a key with its value close to the colon: the two, and where they stand.
fn keyless(text: &str, line: Range<usize>) -> Option<(Range<usize>, &str, &str)> {
    let whole = &text[line.clone()];
    let said = whole.trim_start_matches([' ', '-']);
    let start = line.end - said.len();
    let said = said.trim_end();
    let said = said
        .split_once(" #")
        .map_or(said, |(said, _)| said)
        .trim_end();
    let (key, value) = said.split_once(':')?;
    let is_key = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || "_-.".contains(c));
    // `http://…` and `host:port` in a list are texts, and meant to be.
    let is_value =
        !value.is_empty() && !value.starts_with([' ', '/', ':']) && !value.contains(": ");
    (is_key && is_value).then_some((start..start + said.len(), key, value))
}

/// The nearest line above that says something.
fn content_before(text: &str, start: usize) -> Option<Range<usize>> {
    let mut end = start;
    while end > 0 {
        let line = line_of(text, end - 1);
        let said = text[line.clone()].trim();
        if !said.is_empty() && !said.starts_with('#') {
            return Some(line);
        }
        end = line.start;
    }
    None
}

/// The line that a place is in, without its end.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |it| it + 1);
    let end = text[at..].find('\n').map_or(text.len(), |it| at + it);
    start..end
}

#[cfg(test)]
mod tests {
    use crate::manifest::read;

    /// What is said of a text: where, what, and what to do.
    fn said(text: &str) -> String {
        let error = read(text).expect_err(text);
        let problem = &error.problems()[0];
        let (line, column) = error.position(problem).unwrap();
        let hint = problem.hints().first().map_or("", String::as_str);
        format!("{line}:{column} {}: {hint}", problem.title())
    }

    #[test]
    fn a_quote_in_quotes_is_told_with_what_to_write() {
        let ends = |place: &str, hint: &str| {
            format!("{place} a text in single quotes ends at the quote in it: {hint}")
        };
        let both = |text: &str| {
            format!("put it in double quotes: `\"{text}\"`, or write the quote in it as `''`")
        };
        let me = both("it's me");
        assert_eq!(said("a: ['it's me']"), ends("1:8", &me));
        assert_eq!(said("a: {b: 'it's me', c: d}"), ends("1:11", &me));
        assert_eq!(said("a:\n  - 'it's me'\n"), ends("2:8", &me));
        assert_eq!(said("a: 'it's me'\nb: c"), ends("1:7", &me));
        assert_eq!(
            said("a: 'the users' choice'"),
            ends("1:14", &both("the users' choice"))
        );
        assert_eq!(
            said("a: ['the users' choice']"),
            ends("1:15", &both("the users' choice"))
        );
        assert_eq!(
            said("a: ['what's John's idea']"),
            ends("1:10", &both("what's John's idea"))
        );
        assert_eq!(
            said("a: ['it's \"me\"']"),
            ends("1:8", "write the quote in it as `''`")
        );
        assert_eq!(
            said("a: [\"say \"hi\" now\"]"),
            "1:10 a text in double quotes ends at the quote in it: \
             put it in single quotes: `'say \"hi\" now'`, or write the quote in it as `\\\"`"
        );
        // Two texts, and no comma between them.
        assert!(said("a: ['b' 'c']").contains("items are separated by commas"));
        assert!(said("a: ['b' c, 'd']").contains("separated by commas"));
    }

    #[test]
    fn a_missing_space_is_told_where_it_is_missing() {
        let missing = |place: &str, key: &str, value: &str| {
            format!("{place} a space is missing after `{key}:`: write `{key}: {value}`")
        };
        let topology = missing("1:1", "topology", "x");
        assert_eq!(said("topology:x\nnodes:\n  here: {ssh: local}\n"), topology);
        assert_eq!(
            said("topology:x # mine\n\n# all\nnodes:\n  a: b\n"),
            topology
        );
        let alone = "1:1 a manifest must be a map, as in `key: value`, found the text `topology:x`";
        assert_eq!(
            said("topology:x\n"),
            format!("{alone}: a space is missing after `topology:`")
        );
        let inner = said("topology: x\nnodes:\n  here:\n    ssh:local\n");
        assert!(
            inner.ends_with("a space is missing after `ssh:`"),
            "{inner}"
        );
        assert_eq!(
            said("a:\n  node: here\n  port:8100\n  engine: e\n"),
            missing("3:3", "port", "8100")
        );
        assert_eq!(
            said("a:\n  port:8100\n  node: here\n"),
            missing("2:3", "port", "8100")
        );
        assert!(said("a: http://x: y").contains("a key cannot stand here"));
    }
}
