//! What a written load comes to: one load, several that go up, or a search.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::form::{InvalidLoad, LoadPart};
use super::rate::Pace;
use super::search::{Found, Search};
use super::{Load, Schedule, Several, Shape, Trace, TraceRequest, UnreadableTrace};

/// What is driven, load by load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Load", try_from = "Load")]
pub struct Course {
    /// As it is written: of one load, with nothing left out.
    written: Load,
    plan: Plan,
}

#[derive(Debug, Clone, PartialEq)]
enum Plan {
    /// These, one after another.
    Loads(Vec<Shape>),
    /// Whichever it takes.
    Search(Box<Search>),
}

impl Course {
    /// The only load that it is, where it is no more than that.
    pub fn only(&self) -> Option<&Shape> {
        match &self.plan {
            Plan::Loads(loads) => loads.first().filter(|_| loads.len() == 1),
            Plan::Search(_) => None,
        }
    }

    /// Whether it looks for the highest rate that meets what is asked.
    pub fn is_search(&self) -> bool {
        matches!(self.plan, Plan::Search(_))
    }

    /// How it is called: by the only load, or by its first and last.
    pub fn label(&self) -> String {
        match &self.plan {
            Plan::Loads(loads) => match (loads.first(), loads.last()) {
                (Some(first), Some(last)) if loads.len() > 1 => {
                    format!("{} to {}", first.label(), last.label())
                }
                (Some(only), Some(_) | None) | (None, Some(only)) => only.label(),
                (None, None) => String::new(),
            },
            Plan::Search(search) => search.label(),
        }
    }

    /// The schedules of all loads that may be driven, to make room for them.
    pub fn schedules(&self) -> Vec<Schedule> {
        match &self.plan {
            Plan::Loads(loads) => loads.iter().map(Shape::schedule).collect(),
            Plan::Search(search) => search.ends().iter().map(Shape::schedule).collect(),
        }
    }

    /// Reads what its loads take from files in a folder.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is not what it should be.
    pub fn read(&mut self, folder: &Path) -> Result<(), UnreadableTrace> {
        let Plan::Loads(loads) = &mut self.plan else {
            return Ok(());
        };
        for load in loads.iter_mut() {
            load.read(folder)?;
        }
        if let [only] = loads.as_slice()
            && only.trace().is_some()
        {
            self.written = only.clone().into();
        }
        Ok(())
    }

    /// What was read of the trace that it replays, where it replays one: it is not in what is written.
    pub fn read_of_trace(&self) -> Option<&[TraceRequest]> {
        self.only()?.trace().map(Trace::requests)
    }

    /// The same, for which so much was read of its trace elsewhere.
    #[must_use]
    pub fn replaying(mut self, requests: Vec<TraceRequest>) -> Self {
        if let Plan::Loads(loads) = &mut self.plan
            && let [Shape::Trace(trace)] = loads.as_mut_slice()
        {
            trace.replay(requests);
        }
        self
    }

    /// The load that was driven as it stands here, with what was read for it.
    pub fn as_read(&self, driven: Shape) -> Shape {
        self.only()
            .filter(|it| **it == driven)
            .cloned()
            .unwrap_or(driven)
    }

    /// Begins it.
    pub fn walk(&self) -> Walk {
        match &self.plan {
            Plan::Loads(loads) => Walk::Loads(Ascent {
                of: loads.len(),
                left: loads.iter().cloned().rev().collect(),
                skipped: Vec::new(),
            }),
            Plan::Search(search) => Walk::Search(search.clone()),
        }
    }
}

impl TryFrom<Load> for Course {
    type Error = InvalidLoad;

    fn try_from(load: Load) -> Result<Self, InvalidLoad> {
        if load.rate == Some(Several::One(Pace::Search)) {
            let search = Search::check(&load)?;
            return Ok(Self {
                written: load,
                plan: Plan::Search(Box::new(search)),
            });
        }
        if load.between.is_some() {
            return Err(InvalidLoad::new(
                LoadPart::Key("between"),
                "`between` bounds a search, and nothing is looked for",
                format!("write `rate: search`, as in `{}`", Search::EXAMPLE),
            ));
        }
        let loads = expanded(&load)?;
        let loads = loads.into_iter().map(Shape::try_from);
        let loads: Vec<Shape> = loads.collect::<Result<_, _>>()?;
        let written = match loads.as_slice() {
            [only] if !load.is_listed() => only.clone().into(),
            [] | [_, ..] => load,
        };
        Ok(Self {
            written,
            plan: Plan::Loads(loads),
        })
    }
}

impl From<Course> for Load {
    fn from(course: Course) -> Self {
        course.written
    }
}

impl From<Shape> for Course {
    fn from(shape: Shape) -> Self {
        Self {
            written: shape.clone().into(),
            plan: Plan::Loads(vec![shape]),
        }
    }
}

impl Load {
    /// Whether it is written as a list, however long.
    fn is_listed(&self) -> bool {
        matches!(self.concurrency, Some(Several::List(_)))
            || matches!(self.rate, Some(Several::List(_)))
    }
}

/// A load for each of those in a list.
fn expanded(load: &Load) -> Result<Vec<Load>, InvalidLoad> {
    if let Some(Several::List(widths)) = &load.concurrency {
        let widths = ascending("concurrency", widths)?.iter();
        let of = |width: &u32| Load {
            concurrency: Some(Several::One(*width)),
            ..load.clone()
        };
        return Ok(widths.map(of).collect());
    }
    if let Some(Several::List(rates)) = &load.rate {
        let per_s = |pace: &Pace| match pace {
            Pace::Rate(rate) => rate.per_s(),
            Pace::Search => 0.0,
        };
        ascending("rate", &rates.iter().map(per_s).collect::<Vec<_>>())?;
        let of = |rate: &Pace| Load {
            rate: Some(Several::One(*rate)),
            ..load.clone()
        };
        return Ok(rates.iter().map(of).collect());
    }
    Ok(vec![load.clone()])
}

/// Loads go up: a server that was brought down by a higher one would be blamed for the lower one.
fn ascending<'a, T: PartialOrd>(key: &'static str, all: &'a [T]) -> Result<&'a [T], InvalidLoad> {
    let wrong = |message: String| {
        let hint = "write them from the least to the most, as in `[1, 2, 4, 8]`";
        Err(InvalidLoad::new(LoadPart::Value(key), message, hint))
    };
    match all {
        [] => wrong(format!("`{key}` has nothing in it")),
        all if all.windows(2).all(|two| two[0] < two[1]) => Ok(all),
        [_, ..] => wrong(format!("the values of `{key}` must go up")),
    }
}

/// How a load went, for what is driven after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Went {
    /// It was carried, and may be believed.
    Well,
    /// It was not: why.
    Badly(String),
}

/// A load that was not driven, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// The load.
    pub load: Shape,
    /// Why it was not driven.
    pub why: String,
}

/// A course that is under way: it says what is next, and hears how it went.
#[derive(Debug, Clone, PartialEq)]
pub enum Walk {
    /// One load after another.
    Loads(Ascent),
    /// A search.
    Search(Box<Search>),
}

/// Loads that go up.
#[derive(Debug, Clone, PartialEq)]
pub struct Ascent {
    of: usize,
    /// The next one last.
    left: Vec<Shape>,
    skipped: Vec<Skipped>,
}

impl Walk {
    /// What is driven next, if anything is.
    pub fn next_load(&mut self) -> Option<Shape> {
        match self {
            Self::Loads(ascent) => ascent.left.pop(),
            Self::Search(search) => search.next(),
        }
    }

    /// Hears how a load went that it gave out. After one that went badly, no higher one is driven.
    pub fn went(&mut self, load: &Shape, how: &Went) {
        match (self, how) {
            (Self::Loads(ascent), Went::Badly(why)) => {
                let why = format!("`{}` before it: {why}", load.label());
                let left = ascent.left.drain(..).rev();
                ascent.skipped.extend(left.map(|load| Skipped {
                    load,
                    why: why.clone(),
                }));
            }
            (Self::Loads(_), Went::Well) => {}
            (Self::Search(search), how) => search.went(load, how),
        }
    }

    /// Whether it asks how a load went: nothing follows the last one of a list.
    pub fn asks(&self) -> bool {
        match self {
            Self::Loads(ascent) => !ascent.left.is_empty(),
            Self::Search(_) => true,
        }
    }

    /// How many loads there are, where that is known, or that there are at most.
    pub fn of(&self) -> usize {
        match self {
            Self::Loads(ascent) => ascent.of,
            Self::Search(search) => search.at_most(),
        }
    }

    /// What was not driven.
    pub fn skipped(&self) -> Vec<Skipped> {
        match self {
            Self::Loads(ascent) => ascent.skipped.clone(),
            Self::Search(_) => Vec::new(),
        }
    }

    /// What a search has found so far.
    pub fn found(&self) -> Option<Found> {
        match self {
            Self::Loads(_) => None,
            Self::Search(search) => Some(search.found()),
        }
    }
}
