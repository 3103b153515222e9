//! The keys of the top level in the order of the schema.

use super::outline::{Begins, Outline};
use crate::manifest::file::is_extension;
use crate::manifest::schema::schema;
use crate::manifest::tree::Node;

/// What begins with a key of the top level, and the comment right above it.
struct Section<'a> {
    rank: usize,
    lines: &'a [&'a str],
    /// Whether an empty line stands before it.
    is_apart: bool,
}

/// The text with its keys in order; nothing where they are in order already, or cannot be told apart by
/// their lines.
pub(super) fn ordered(text: &str, outline: &Outline, root: &Node) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let keys = keys(&lines, outline, root)?;
    if keys.windows(2).all(|pair| pair[0].1 <= pair[1].1) {
        return None;
    }
    let head = head(&lines, outline, keys[0].0);
    let mut begins: Vec<usize> = keys.iter().map(|(at, _)| *at).collect();
    for at in &mut begins {
        while *at > head && is_comment(&lines, outline, *at - 1) {
            *at -= 1;
        }
    }
    let ends = begins.iter().skip(1).copied().chain([lines.len()]);
    let mut sections: Vec<Section<'_>> = Vec::new();
    for ((begin, end), (_, rank)) in begins.iter().copied().zip(ends).zip(&keys) {
        sections.push(Section {
            rank: *rank,
            lines: trimmed(&lines[begin..end]),
            is_apart: begin > 0 && lines[begin - 1].is_empty(),
        });
    }
    sections[0].is_apart = sections.iter().skip(1).any(|it| it.is_apart);
    sections.sort_by_key(|section| section.rank);
    // Another key has come below what the file begins with.
    sections[0].is_apart = true;
    let mut all: Vec<&str> = trimmed(&lines[..head]).to_vec();
    for section in &sections {
        if section.is_apart && !all.is_empty() {
            all.push("");
        }
        all.extend(section.lines);
    }
    Some(all.join("\n") + "\n")
}

/// The line of each key, and its place in the order.
fn keys(lines: &[&str], outline: &Outline, root: &Node) -> Option<Vec<(usize, usize)>> {
    let starts = lines.iter().scan(0, |at, line| {
        let start = *at;
        *at += line.len() + 1;
        Some(start)
    });
    let starts: Vec<usize> = starts.collect();
    let ranks = ranks();
    let mut keys: Vec<(usize, usize)> = Vec::new();
    for entry in root.entries() {
        let at = starts.binary_search(&entry.span.start).ok()?;
        let is_next = keys.last().is_none_or(|(before, _)| *before < at);
        if outline.lines[at].begins != Begins::Anew || !is_next {
            return None;
        }
        keys.push((at, rank(&entry.key, &ranks)?));
    }
    (!keys.is_empty()).then_some(keys)
}

/// The keys that a manifest may have, in order.
fn ranks() -> Vec<String> {
    let schema = schema();
    let keys = schema["properties"].as_object().into_iter().flatten();
    keys.map(|(key, _)| key.clone()).collect()
}

/// What is somebody's own stands behind the name: what it anchors is named further below.
fn rank(key: &str, ranks: &[String]) -> Option<usize> {
    if is_extension(key) {
        return Some(1);
    }
    let at = ranks.iter().position(|known| known == key)?;
    Some(2 * at)
}

/// How many lines stay on top whatever the order: those before the comment of the first key, and the comment
/// that the file begins with.
fn head(lines: &[&str], outline: &Outline, first: usize) -> usize {
    let comment = (0..first).take_while(|at| is_comment(lines, outline, *at));
    let blank = (0..first).rev().find(|at| lines[*at].is_empty());
    comment.count().max(blank.map_or(0, |at| at + 1))
}

fn is_comment(lines: &[&str], outline: &Outline, at: usize) -> bool {
    outline.lines[at].begins == Begins::Anew && lines[at].starts_with('#')
}

/// Without empty lines at the end.
fn trimmed<'a, 'b>(lines: &'a [&'b str]) -> &'a [&'b str] {
    let end = lines.iter().rposition(|line| !line.is_empty());
    &lines[..end.map_or(0, |at| at + 1)]
}
