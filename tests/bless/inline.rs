//! A snapshot in the source: the literal after the `@` of an assertion.

/// The source with another text in the literal of the assertion on a line, counted from 1.
pub(crate) fn accept(source: &str, line: usize, text: &str) -> Result<String, &'static str> {
    let start = start_of(source, line).ok_or("the file has no such line")?;
    let (from, to) = literal(&source[start..]).ok_or("no `@\"...\"` stands there")?;
    let assertion = source[start..].lines().next().unwrap_or_default();
    let indentation = &assertion[..assertion.len() - assertion.trim_start().len()];
    Ok(format!(
        "{}{}{}",
        &source[..start + from],
        written(text, indentation),
        &source[start + to..]
    ))
}

fn start_of(source: &str, line: usize) -> Option<usize> {
    let mut starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1));
    starts.nth(line.checked_sub(1)?)
}

/// From where to where the first literal goes that stands behind an `@`, without the `@`.
fn literal(source: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut is_expected = false;
    while let Some(letter) = source[at..].chars().next() {
        if source[at..].starts_with("'\"'") {
            at += 3;
        } else if let Some(length) = length_of_literal(&source[at..]) {
            if is_expected {
                return Some((at, at + length));
            }
            at += length;
        } else {
            at += letter.len_utf8();
        }
        is_expected = letter == '@';
    }
    None
}

/// How long the literal is that a text begins with, if it begins with one.
fn length_of_literal(text: &str) -> Option<usize> {
    let raw = text.strip_prefix('r');
    let hashes = raw.map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
    let opening = usize::from(raw.is_some()) + hashes + 1;
    let body = text[opening - 1..].strip_prefix('"')?;
    let length = match raw {
        Some(_) => body.find(&format!("\"{}", "#".repeat(hashes)))?,
        None => end_of_escaped(body)?,
    };
    Some(opening + length + 1 + hashes)
}

/// Where a literal with escapes has its closing quote.
fn end_of_escaped(body: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in body.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// Writes a text as insta reads it: several lines stand below the opening quote, indented.
fn written(text: &str, indentation: &str) -> String {
    let is_odd = |letter: char| letter.is_control() && !['\n', '\t', '\x1b'].contains(&letter);
    if text.chars().any(is_odd) {
        return format!("{text:?}");
    }
    let raw = text.contains(['\\', '"']);
    let hashes = "#".repeat(hashes_for(text));
    let body = if text.contains('\n') {
        let indented = |line: &str| match line {
            "" => "\n".to_owned(),
            line => format!("\n{indentation}{line}"),
        };
        let lines: String = text.lines().map(indented).collect();
        format!("{lines}\n{indentation}")
    } else {
        text.to_owned()
    };
    let r = if raw { "r" } else { "" };
    format!("{r}{hashes}\"{body}\"{hashes}")
}

/// How many `#` keep a text's own quotes from ending it.
fn hashes_for(text: &str) -> usize {
    let after_quotes = text.split('"').skip(1);
    after_quotes
        .map(|rest| rest.len() - rest.trim_start_matches('#').len() + 1)
        .max()
        .unwrap_or(0)
}
