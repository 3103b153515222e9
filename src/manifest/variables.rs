//! Variables of a manifest: `${NAME}` and `${NAME:-default}` in a value, as compose files have them.
//!
//! They are filled in before anything is read, so that whatever a value may be, a variable may be; and
//! in values alone, since a key is a name that others refer to. What is secret is no variable: what
//! is filled in stands in plans.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::str::FromStr;

use super::marks::{Mark, Marks};
use super::problem::Problem;
use super::scalar::Scalar;
use super::secrets::is_name_of_secret;
use super::tree::{Entry, Node, Value};

/// One value that is given on the command line: `NAME=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    name: String,
    value: String,
}

impl Given {
    /// The values that another reading took.
    pub fn as_taken(taken: &BTreeMap<String, String>) -> Vec<Self> {
        let taken = taken.iter().map(|(name, value)| Self {
            name: name.clone(),
            value: value.clone(),
        });
        taken.collect()
    }
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
        if !is_name(name) {
            return Err(format!("`{name}` is no name of a variable: {NAMES}"));
        }
        if is_name_of_secret(name) {
            return Err(format!("`{name}` names a secret, and {SECRETS}"));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

const NAMES: &str = "letters, digits and `_`, and no digit first";
const SECRETS: &str = "what is filled in stands in plans: write `{from_env: NAME}` in the manifest";

/// Where variables have their values from, and those that a manifest took.
#[derive(Debug, Default)]
pub struct Variables {
    given: BTreeMap<String, String>,
    of_caller: bool,
    taken: RefCell<BTreeMap<String, String>>,
}

/// Why a text cannot be filled in, and what would do.
#[derive(Debug)]
struct Unfilled {
    title: String,
    hint: String,
}

impl Unfilled {
    fn new(title: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            hint: hint.into(),
        }
    }
}

impl Variables {
    /// Those that are given, and else those of the environment of this process.
    pub fn of_caller(given: &[Given]) -> Self {
        let given = given.iter().map(|it| (it.name.clone(), it.value.clone()));
        Self {
            given: given.collect(),
            of_caller: true,
            taken: RefCell::default(),
        }
    }

    /// The variables that were filled in, with their values.
    pub(super) fn into_taken(self) -> BTreeMap<String, String> {
        self.taken.into_inner()
    }

    fn value(&self, name: &str) -> Option<String> {
        let given = self.given.get(name).cloned();
        given.or_else(|| std::env::var(name).ok().filter(|_| self.of_caller))
    }

    /// The tree with each variable filled in. What cannot be is added to `problems`, and marked.
    pub(super) fn filled(
        &self,
        node: &Rc<Node>,
        marks: &mut Marks,
        problems: &mut Vec<Problem>,
    ) -> Rc<Node> {
        let value = match &node.value {
            Value::Scalar(scalar) if !scalar.text.contains("${") => return Rc::clone(node),
            Value::Scalar(scalar) => match self.text(&scalar.text) {
                // Without quotes `{port: ${PORT}}` is no YAML, so quotes do not make it a text.
                Ok(text) => Value::Scalar(Scalar::plain(text)),
                Err(Unfilled { title, hint }) => {
                    problems.push(Problem::new(title).at(node.span.clone()).hint(hint));
                    marks.add(Mark::Broken(node.id));
                    return Rc::clone(node);
                }
            },
            Value::List(items) => {
                let items = items.iter().map(|item| self.filled(item, marks, problems));
                Value::List(items.collect())
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| Entry {
                    value: self.filled(&entry.value, marks, problems),
                    ..entry.clone()
                });
                Value::Map(entries.collect())
            }
        };
        Rc::new(Node {
            value,
            span: node.span.clone(),
            ..**node
        })
    }

    fn text(&self, text: &str) -> Result<String, Unfilled> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, found) = rest.split_at(at);
            // `$${` is `${` itself.
            if let Some(before) = before.strip_suffix('$') {
                filled += before;
                filled += "${";
                rest = &found[2..];
                continue;
            }
            filled += before;
            let inside = inside(found)?;
            filled += &self.one(&found[inside.clone()])?;
            rest = &found[inside.end + 1..];
        }
        Ok(filled + rest)
    }

    /// The value of what stands between the braces.
    fn one(&self, inside: &str) -> Result<String, Unfilled> {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(Unfilled::new(
                format!("`${{{inside}}}` is no variable"),
                format!(
                    "write `${{NAME}}` or `${{NAME:-default}}`, a name being {NAMES}; `$${{` is `${{` itself"
                ),
            ));
        }
        if is_name_of_secret(name) {
            let hint = SECRETS.replace("NAME", name);
            return Err(Unfilled::new(format!("`{name}` names a secret"), hint));
        }
        // An empty one is as good as none where there is a default, as in a shell.
        let is_taken = |value: &String| default.is_none() || !value.is_empty();
        let value = self.value(name).filter(is_taken);
        let value = value.or_else(|| default.map(str::to_owned));
        let Some(value) = value else {
            return Err(Unfilled::new(
                format!("the variable `{name}` has no value"),
                format!(
                    "set it in the environment, give `-var {name}=…`, or write `${{{name}:-default}}`"
                ),
            ));
        };
        self.taken
            .borrow_mut()
            .insert(name.to_owned(), value.clone());
        Ok(value)
    }
}

/// Where the inside of the braces is that a text begins with.
fn inside(text: &str) -> Result<Range<usize>, Unfilled> {
    match text.find('}') {
        Some(end) => Ok(2..end),
        None => Err(Unfilled::new("a `${` has no `}`", "`$${` is `${` itself")),
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(given: &[&str]) -> Variables {
        let given = given.iter().map(|it| it.parse::<Given>().unwrap());
        Variables {
            of_caller: false,
            ..Variables::of_caller(&given.collect::<Vec<_>>())
        }
    }

    #[test]
    fn a_variable_is_filled_in_and_what_was_taken_is_known() {
        let some = variables(&["PORT=8100", "EMPTY=", "SIZE=8b=it"]);
        for (text, wanted) in [
            ("${PORT}", "8100"),
            ("a-${SIZE}:${PORT}/x", "a-8b=it:8100/x"),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("${ABSENT:-}", ""),
            ("${ABSENT:-/a/b:-c}", "/a/b:-c"),
            ("$${PORT} $5 $PORT $", "${PORT} $5 $PORT $"),
            ("$$${PORT}", "$${PORT}"),
        ] {
            assert_eq!(some.text(text).unwrap(), wanted, "{text}");
        }
        let taken = some.into_taken();
        let names: Vec<_> = taken.keys().map(String::as_str).collect();
        assert_eq!(names, ["ABSENT", "EMPTY", "PORT", "SIZE"]);
    }

    #[test]
    fn what_cannot_be_filled_in_says_what_would_do() {
        let none = variables(&[]);
        for (text, title) in [
            ("${PORT}", "the variable `PORT` has no value"),
            ("${PORT", "a `${` has no `}`"),
            ("${}", "`${}` is no variable"),
            ("${A:?wrong}", "`${A:?wrong}` is no variable"),
            ("${HF_TOKEN}", "`HF_TOKEN` names a secret"),
            ("${HF_TOKEN:-x}", "`HF_TOKEN` names a secret"),
        ] {
            assert_eq!(none.text(text).unwrap_err().title, title);
        }
        for given in ["PORT", "1A=b", "=b", "API_KEY=x"] {
            given.parse::<Given>().unwrap_err();
        }
    }

    #[test]
    fn the_environment_is_asked_only_by_who_may() {
        let name = std::env::vars().map(|(name, _)| name);
        let mut names = name.filter(|name| is_name(name) && !is_name_of_secret(name));
        let text = format!("${{{}}}", names.next().unwrap());
        assert!(Variables::of_caller(&[]).text(&text).is_ok());
        assert!(variables(&[]).text(&text).is_err());
    }
}
