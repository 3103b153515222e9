//! What is wrong with a manifest: each mistake by itself, and all of them as a reader sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::secrets::secrets;
use crate::visible::visible;

/// How what to do about it is labelled.
fn labelled() -> Level<'static> {
    Level::HELP.with_name("hint")
}

/// After so many mistakes nobody reads on.
pub(super) const MOST_PROBLEMS: usize = 100;

/// One mistake: what is wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    title: String,
    place: Option<Range<usize>>,
    label: Option<String>,
    also: Vec<(Range<usize>, String)>,
    hints: Vec<String>,
    secret: Option<Range<usize>>,
}

impl Problem {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            place: None,
            label: None,
            also: Vec::new(),
            hints: Vec::new(),
            secret: None,
        }
    }

    pub(super) fn at(mut self, place: Range<usize>) -> Self {
        self.place = Some(place);
        self
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Points at a second place that explains the first.
    pub(super) fn also(mut self, place: Range<usize>, label: impl Into<String>) -> Self {
        self.also.push((place, label.into()));
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Which bytes must not be shown, neither with this problem nor with any other.
    pub(super) fn hide(mut self, secret: Option<Range<usize>>) -> Self {
        self.secret = secret;
        self
    }

    /// What is wrong, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What would be right.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The bytes that are wrong, where the mistake stands in the text.
    pub fn place(&self) -> Option<Range<usize>> {
        self.place.clone()
    }

    /// Strikes a secret out of all that it says.
    fn strike(&mut self, secret: &str) {
        // What is shorter is in half of all words.
        if secret.chars().count() < 4 {
            return;
        }
        for text in self.said() {
            if text.contains(secret) {
                *text = text.replace(secret, "***");
            }
        }
    }

    /// All that it says.
    fn said(&mut self) -> impl Iterator<Item = &mut String> {
        let labels = self
            .label
            .iter_mut()
            .chain(self.also.iter_mut().map(|it| &mut it.1));
        labels.chain(&mut self.hints).chain([&mut self.title])
    }

    fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let title = Group::with_title(Level::ERROR.primary_title(&*self.title));
        let Some(place) = &self.place else {
            // Without a text beside it, hint is a line of its own.
            let hint = |hint| Group::with_title(labelled().primary_title(hint));
            let hints = self.hints.iter().map(|text| hint(text.as_str()));
            let lines = std::iter::once(title).chain(hints);
            let lines: Vec<String> = lines.map(|line| renderer.render(&[line])).collect();
            return lines.join("\n");
        };
        let also = self.also.iter().map(|(place, _)| place);
        let (text, places) = source.shown(std::iter::once(place).chain(also));
        let mut places = places.into_iter();
        let primary = AnnotationKind::Primary
            .span(places.next().unwrap_or_default())
            .label(self.label.as_deref());
        let others = self
            .also
            .iter()
            .zip(places)
            .map(|((_, label), place)| AnnotationKind::Context.span(place).label(&**label));
        let name = visible(&source.name);
        let snippet = Snippet::source(&*text)
            .path(&*name)
            .annotation(primary)
            .annotations(others);
        let hints = self.hints.iter().map(|hint| labelled().message(&**hint));
        renderer.render(&[title.element(snippet).elements(hints)])
    }
}

/// A text with the name that its reader knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

impl Source {
    /// Puts stars over some bytes, so that all others stay where they are.
    fn mask(&mut self, secret: &Range<usize>) {
        let secret = self.clamp(secret);
        let stars = "*".repeat(secret.len());
        self.text.replace_range(secret, &stars);
    }

    /// The text as it is shown, with places of it as they are in what is shown: what is written out
    /// takes more room.
    fn shown<'a>(
        &self,
        places: impl Iterator<Item = &'a Range<usize>>,
    ) -> (String, Vec<Range<usize>>) {
        let places: Vec<_> = places.map(|place| self.clamp(place)).collect();
        let bounds = places.iter().flat_map(|place| [place.start, place.end]);
        let bounds: BTreeSet<usize> = bounds.collect();
        let (mut text, mut from) = (String::new(), 0);
        let mut moved = BTreeMap::new();
        for bound in bounds {
            text += &visible(&self.text[from..bound]);
            from = bound;
            moved.insert(bound, text.len());
        }
        text += &visible(&self.text[from..]);
        let places = places.iter().map(|it| moved[&it.start]..moved[&it.end]);
        (text, places.collect())
    }

    /// The place, kept inside the text and on the bounds of its characters.
    fn clamp(&self, place: &Range<usize>) -> Range<usize> {
        let bound = |mut at: usize| {
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = bound(place.start.min(self.text.len()));
        start..bound(place.end.clamp(start, self.text.len()))
    }
}

/// The line and the column of a byte, both counted from 1.
pub(super) fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Every mistake of a manifest at once.
///
/// Its `Display` is what a reader needs: for each mistake the line, the column, the text with a
/// caret under it, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    source: Source,
    problems: Vec<Problem>,
}

impl ManifestError {
    /// Gathers what is wrong with a text, in the order in which a reader meets it.
    pub(super) fn new(mut source: Source, mut problems: Vec<Problem>) -> Self {
        let pointed_at = problems.iter().filter_map(|it| it.secret.clone());
        let hidden: Vec<_> = pointed_at.chain(secrets(&source.text)).collect();
        for secret in &hidden {
            let secret = source.clamp(secret);
            // What somebody says of it holds it no more than the text.
            let words = source.text[secret].trim_matches(['"', '\'']).to_owned();
            for problem in &mut problems {
                problem.strike(&words);
                // A word that is meant to help may be made of parts of it.
                words
                    .split([':', '[', ']'])
                    .for_each(|word| problem.strike(word));
            }
        }
        for secret in &hidden {
            source.mask(secret);
        }
        problems.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.start));
        problems.dedup();
        Self { source, problems }
    }

    /// Tells of a file of which there is no text to show.
    pub(super) fn unread(name: String, problem: Problem) -> Self {
        let text = String::new();
        Self::new(Source { name, text }, vec![problem])
    }

    /// The same, with one thing more that helps with the first mistake.
    #[must_use]
    pub fn hinted(mut self, hint: String) -> Self {
        if let Some(first) = self.problems.first_mut() {
            first.hints.push(hint);
        }
        self
    }

    /// The same of a benchmark that stands in a file of its own, which a manifest would know by this
    /// `name`.
    #[must_use]
    pub(super) fn of_a_job(mut self, name: &str) -> Self {
        for problem in &mut self.problems {
            for text in problem.said() {
                *text = text
                    .replace(name, "the job")
                    .replace("the manifest", "the job")
                    .replace("not a manifest", "not a job")
                    .replace(
                        "declare it under `slos:`",
                        "a job has no `slos:`: write the objective itself, as in `slo: {ttft: 2s}`",
                    );
            }
        }
        self
    }

    /// The same of the file of a proxy on its own.
    #[must_use]
    pub(super) fn of_a_proxy(mut self) -> Self {
        for problem in &mut self.problems {
            for text in problem.said() {
                *text = text
                    .replace(
                        "a manifest is one document: keep one topology in one file",
                        "a proxy has one document: keep another in a file of its own",
                    )
                    .replace("the manifest", "the file")
                    .replace("not a manifest", "not a file")
                    .replace("a manifest", "this file");
            }
        }
        self
    }

    /// Each mistake, in the order of the text. There is at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The file, as its reader knows it.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The line and the column of a mistake, both counted from 1.
    pub fn position(&self, problem: &Problem) -> Option<(usize, usize)> {
        let start = self.source.clamp(problem.place.as_ref()?).start;
        Some(line_and_column(&self.source.text, start))
    }

    /// Shows every mistake, with or without the colours of a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for problem in &self.problems {
            out += &problem.render(&self.source, &renderer);
            out += "\n\n";
        }
        out + &self.summary()
    }

    fn summary(&self) -> String {
        let count = self.problems.len();
        let errors = match count {
            1 => "1 error".to_owned(),
            MOST_PROBLEMS.. => format!("more than {} errors", MOST_PROBLEMS - 1),
            _ => format!("{count} errors"),
        };
        format!("{errors} in {}; nothing was changed", self.source.name)
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ManifestError {}
