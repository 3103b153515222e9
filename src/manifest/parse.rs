//! Text becomes a tree.
//!
//! Anchors are shared and not copied, and what they would unfold to is counted, so that a small
//! file cannot become a large one.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::marks::{Mark, Marks};
use super::problem::Problem;
use super::scalar::Scalar;
use super::suggest::{nearest, shown};
use super::syntax;
use super::tree::{Entry, Node, Value};

/// How many values a manifest may have, aliases unfolded.
const MOST_NODES: usize = 20_000;
/// How deep values may lie in each other.
const MOST_DEPTH: usize = 64;

/// Reads a text into a tree. What is wrong with the text itself is added to `problems`; where
/// nothing can be made of it there is no tree.
pub(super) fn parse(
    text: &str,
    marks: &mut Marks,
    problems: &mut Vec<Problem>,
) -> Option<Rc<Node>> {
    let mut options = Options::default();
    options.emit_unresolved_aliases = true;
    options.emit_anchor_events = true;
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        text,
        ids: 0,
        anchors: HashMap::new(),
        names: Vec::new(),
        marks,
        problems,
    };
    match builder.document() {
        Ok(tree) => tree,
        Err(stop) => {
            builder.problems.push(*stop.0);
            None
        }
    }
}

/// A mistake after which no more of the text can be read.
struct Stop(Box<Problem>);

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    ids: usize,
    anchors: HashMap<usize, Rc<Node>>,
    names: Vec<String>,
    marks: &'a mut Marks,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Rc<Node>>, Stop> {
        let mut tree = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(tree),
                Event::DocumentStart(..) if tree.is_some() => {
                    self.problems.push(
                        Problem::new("a second document begins here")
                            .at(self.place(&span))
                            .hint("a manifest is one document: keep one topology in one file"),
                    );
                    return Ok(tree);
                }
                Event::DocumentStart(..) => {
                    let first = self.next()?;
                    tree = Some(self.node(first, 0)?);
                }
                // The beginning of the stream, and the end of the document.
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Rc<Node>, Stop> {
        let place = self.place(&span);
        if depth > MOST_DEPTH {
            return Err(stop(
                Problem::new(format!(
                    "values lie more than {MOST_DEPTH} deep in each other"
                ))
                .at(place),
            ));
        }
        let anchor = event.anchor_id();
        self.check_tag(&event, &span);
        let value = match event {
            Event::Alias(id) => return self.alias(id, place),
            Event::UnresolvedAlias(name) => {
                self.unknown_anchor(&name, &place);
                let node = self.finish(place, Value::Scalar(Scalar::plain(String::new())))?;
                self.marks.add(Mark::Broken(node.id));
                return Ok(node);
            }
            Event::Scalar(ref text, style, ..) => {
                Value::Scalar(scalar(text, style, &event, place.is_empty()))
            }
            Event::SequenceStart(..) => Value::List(self.list(depth)?),
            Event::MappingStart(..) => Value::Map(self.map(depth)?),
            _ => return Err(stop(Problem::new("a value is missing here").at(place))),
        };
        let node = self.finish(place, value)?;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        Ok(node)
    }

    fn finish(&mut self, span: Range<usize>, value: Value) -> Result<Rc<Node>, Stop> {
        let children: Vec<&Rc<Node>> = match &value {
            Value::Scalar(_) => Vec::new(),
            Value::List(items) => items.iter().collect(),
            Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
        };
        let weight = children
            .iter()
            .fold(1_usize, |sum, child| sum.saturating_add(child.weight));
        let depth = 1 + children.iter().map(|child| child.depth).max().unwrap_or(0);
        self.ids += 1;
        let id = self.ids;
        let too_many = weight > MOST_NODES || id > MOST_NODES;
        if too_many || depth > MOST_DEPTH {
            let what = if too_many {
                format!("the manifest holds more than {MOST_NODES} values, aliases unfolded")
            } else {
                format!("values lie more than {MOST_DEPTH} deep in each other, aliases unfolded")
            };
            return Err(stop(
                Problem::new(what)
                    .at(span)
                    .hint("no topology needs so many; look for aliases that multiply"),
            ));
        }
        Ok(Rc::new(Node {
            id,
            span,
            value,
            weight,
            depth,
        }))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<Node>>, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(items),
                (Event::Anchor(_, name), _) => self.names.push(name.into_owned()),
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd | Event::StreamEnd, _) => break,
                (Event::Anchor(_, name), _) => {
                    self.names.push(name.into_owned());
                    continue;
                }
                key => self.key(key, depth)?,
            };
            let value = self.value(depth)?;
            let Some((id, key, span)) = key else { continue };
            if key == "<<" {
                self.merge(&value, &span, &mut merged);
                continue;
            }
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => self
                    .problems
                    .push(duplicate(&key, span, first.span.clone())),
                None => entries.push(Entry {
                    id,
                    key,
                    span,
                    value,
                }),
            }
        }
        for entry in merged {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// Reads the value of an entry; the anchor of its key may stand before it.
    fn value(&mut self, depth: usize) -> Result<Rc<Node>, Stop> {
        loop {
            match self.next()? {
                (Event::Anchor(_, name), _) => self.names.push(name.into_owned()),
                value => return self.node(value, depth + 1),
            }
        }
    }

    fn key(
        &mut self,
        event: (Event<'a>, Span),
        depth: usize,
    ) -> Result<Option<(usize, String, Range<usize>)>, Stop> {
        let place = self.place(&event.1);
        let node = self.node(event, depth + 1)?;
        if let Value::Scalar(scalar) = &node.value {
            // A number of its own: an alias may be the key of several entries.
            self.ids += 1;
            return Ok(Some((self.ids, scalar.text.clone(), place)));
        }
        self.problems.push(
            Problem::new("a key must be a text, not a list or a map")
                .at(place)
                .hint("write `key: value`"),
        );
        Ok(None)
    }

    /// Takes over the entries of a map, or of several, that `<<` names. The first wins.
    fn merge(&mut self, value: &Node, span: &Range<usize>, merged: &mut Vec<Entry>) {
        let maps: Vec<&Node> = match &value.value {
            Value::List(items) => items.iter().map(Rc::as_ref).collect(),
            _ => vec![value],
        };
        for map in maps {
            let Value::Map(entries) = &map.value else {
                self.problems.push(
                    Problem::new("`<<` must name a map, or a list of maps")
                        .at(span.clone())
                        .hint("as in `<<: *defaults`, where `&defaults` stands before a map"),
                );
                continue;
            };
            for entry in entries {
                if !merged.iter().any(|known| known.key == entry.key) {
                    merged.push(entry.clone());
                }
            }
        }
    }

    fn alias(&mut self, id: usize, place: Range<usize>) -> Result<Rc<Node>, Stop> {
        match self.anchors.get(&id) {
            Some(node) => Ok(Rc::clone(node)),
            None => Err(stop(
                Problem::new("an alias stands inside the value that it names").at(place),
            )),
        }
    }

    fn unknown_anchor(&mut self, name: &str, place: &Range<usize>) {
        let mut problem = Problem::new(format!(
            "no anchor `&{}` stands before this alias",
            shown(name)
        ))
        .at(place.clone());
        if let Some(near) = nearest(name, self.names.iter().map(String::as_str)) {
            problem = problem.hint(format!("did you mean `*{near}`?"));
        }
        self.problems.push(problem);
    }

    fn check_tag(&mut self, event: &Event<'_>, span: &Span) {
        let Some(tag) = event.tag() else { return };
        let known = tag.core_suffix().is_some_and(|suffix| match event {
            Event::Scalar(..) => suffix == "str",
            Event::SequenceStart(..) => suffix == "seq",
            _ => suffix == "map",
        });
        if !known && tag.original() != "!" {
            let place = span
                .tag_span()
                .map_or_else(|| self.place(span), |tag| self.place(&tag));
            self.problems.push(
                Problem::new(format!(
                    "the tag `{}` means nothing here",
                    shown(&tag.original())
                ))
                .at(place)
                .hint("the only tag that a manifest knows is `!!str`; remove it"),
            );
        }
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let start = error.marker().byte_offset().unwrap_or(self.text.len());
        stop(syntax::problem(error, self.text, start))
    }

    /// The bytes of a span. A block map or list covers all of its lines; of those only the
    /// beginning is of use to a reader.
    fn place(&self, span: &Span) -> Range<usize> {
        let start = span.start.byte_offset().unwrap_or(0);
        let end = span.end.byte_offset().unwrap_or(start).max(start);
        let text = self.text.get(start..end).unwrap_or("");
        let line = text.find(['\n', '\r']).unwrap_or(text.len());
        start..start + text[..line].trim_end().len()
    }
}

fn scalar(text: &str, style: ScalarStyle, event: &Event<'_>, nothing: bool) -> Scalar {
    // The parser writes `~` for what is not there.
    if nothing && style == ScalarStyle::Plain {
        Scalar::plain(String::new())
    } else if style == ScalarStyle::Plain && event.tag().is_none() {
        Scalar::plain(text.to_owned())
    } else {
        Scalar::text(text.to_owned())
    }
}

fn duplicate(key: &str, second: Range<usize>, first: Range<usize>) -> Problem {
    Problem::new(format!("`{}` is given twice", shown(key)))
        .at(second)
        .label("and again here")
        .also(first, "first given here")
        .hint("keep one of the two")
}

fn stop(problem: Problem) -> Stop {
    Stop(Box::new(problem))
}
