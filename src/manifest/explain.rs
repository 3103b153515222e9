//! What a key of a manifest is, by the schema: `replica explain`.

use serde::Serialize;
use serde_json::{Map, Value};

use super::describe::{choices, resolve};
use super::schema::schema;
use super::suggest::nearest;

/// What stands in a path for a name that is the reader's own.
const NAME: &str = "NAME";

/// What the schema says of a place in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Where it is: `instances.NAME.env`; empty for a manifest as a whole.
    pub path: String,
    /// What may stand there, in words.
    pub takes: String,
    /// What it is, a paragraph each.
    pub about: Vec<String>,
    /// Whether what it is a key of cannot be without it.
    pub required: bool,
    /// What holds where it is left out.
    pub default: Option<Value>,
    /// How it may be written.
    pub examples: Vec<Value>,
    /// The words that may stand there, where these are all or some of what may.
    pub words: Vec<Explained>,
    /// The keys that may stand below it.
    pub keys: Vec<Explained>,
}

/// A key or a word, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// As it is written.
    pub name: String,
    /// What may stand at it, in words; nothing of a word.
    pub takes: Option<String>,
    /// What it is.
    pub about: String,
    /// Whether it must be there.
    pub required: bool,
}

/// A step of a path that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no `{step}` in {}", if at.is_empty() { "a manifest" } else { at })]
pub struct Unexplained {
    step: String,
    at: String,
    known: Vec<String>,
}

impl Unexplained {
    /// What was most likely meant, or all that there is.
    pub fn hint(&self) -> String {
        let known = || self.known.iter().map(String::as_str);
        match nearest(&self.step, known()) {
            Some(word) => format!("did you mean `{word}`?"),
            None if self.known.is_empty() => "there is nothing below it".to_owned(),
            None => format!("there are: {}", self.known.join(", ")),
        }
    }
}

/// Explains what stands at a path of keys with dots between: `instances.env`. Names may stand in it or
/// be left out (`instances.a.env`).
///
/// # Errors
///
/// When a step of it is no key of what comes before.
pub fn explain(path: &str) -> Result<Explanation, Unexplained> {
    let whole = schema();
    let mut place = Place::root(&whole);
    // Of a list, every item is declared alike: `fail_if[0].metric`.
    let steps = path.split('.').filter_map(|step| step.split('[').next());
    let mut steps = steps.filter(|step| !step.is_empty()).peekable();
    while let Some(step) = steps.next() {
        place = place.step(step, steps.peek().is_none())?;
    }
    Ok(place.explained())
}

/// So deep do keys lie in each other at most; what lies deeper is declared as it is elsewhere.
const DEEPEST: usize = 8;

/// Explains every key that a manifest may have, each before those that may stand below it.
pub fn explain_all() -> Vec<Explanation> {
    let whole = schema();
    let mut found = Vec::new();
    Place::root(&whole).explain_below(&mut found);
    found
}

/// A place in the schema, on the way down a path.
#[derive(Debug, Clone)]
struct Place<'a> {
    whole: &'a Value,
    path: Vec<String>,
    /// What the key says, beside what its type says.
    at: &'a Value,
    /// What it is a key of: where that has no other, the words stand there.
    of: Option<&'a Value>,
    required: bool,
}

impl<'a> Place<'a> {
    fn root(whole: &'a Value) -> Self {
        Self {
            whole,
            path: Vec::new(),
            at: whole,
            of: None,
            required: true,
        }
    }

    fn step(&self, step: &str, is_last: bool) -> Result<Self, Unexplained> {
        if let Some(key) = self.key(step) {
            return Ok(key);
        }
        let Some(inner) = self.named() else {
            return Err(self.lacks(step));
        };
        if let Some(key) = inner.key(step) {
            return Ok(key);
        }
        // A name may be left out: what is no key of what it names is taken for the name itself, unless it is
        // nearly one, and nothing comes after it.
        let known: Vec<_> = inner.keys().iter().map(Place::name).collect();
        if is_last && step != NAME && nearest(step, known.iter().map(String::as_str)).is_some() {
            return Err(inner.lacks(step));
        }
        Ok(inner)
    }

    fn lacks(&self, step: &str) -> Unexplained {
        Unexplained {
            step: step.to_owned(),
            at: self.path.join("."),
            known: self.keys().iter().map(Place::name).collect(),
        }
    }

    fn below(&self, step: &str, at: &'a Value) -> Self {
        let mut path = self.path.clone();
        path.push(step.to_owned());
        Self {
            path,
            at,
            of: None,
            required: false,
            ..*self
        }
    }

    /// Its key, or the name that stands in its path for those of the reader.
    fn name(&self) -> String {
        self.path.last().cloned().unwrap_or_default()
    }

    /// The forms that may stand here, each resolved; `null` is none that anybody writes.
    fn forms(&self) -> Vec<&'a Value> {
        forms(self.whole, self.at)
    }

    /// Every key that may stand here.
    fn keys(&self) -> Vec<Self> {
        let forms = self.forms();
        let with_keys = forms
            .into_iter()
            .filter_map(|form| Some((form, keys(form)?)));
        let with_keys: Vec<_> = with_keys.collect();
        // Where it has one form or another, no key of either must be there.
        let is_only = with_keys.len() == 1;
        let each = with_keys.into_iter().flat_map(|(form, keys)| {
            let known = keys.iter().filter(|(_, at)| at.get("deprecated").is_none());
            known.map(move |(key, at)| Self {
                of: Some(form),
                required: is_only && requires(form, key),
                ..self.below(key, at)
            })
        });
        each.collect()
    }

    fn key(&self, name: &str) -> Option<Self> {
        self.keys().into_iter().find(|key| key.name() == name)
    }

    /// What stands at each name of the reader's own, or at each place of a list.
    fn named(&self) -> Option<Self> {
        let each = self.forms().into_iter().find_map(inner)?;
        Some(self.below(NAME, each))
    }

    /// The keys that may stand here, or below the names of the reader's own.
    fn keys_below(&self) -> Vec<Self> {
        let keys = self.keys();
        if keys.is_empty() {
            return self.named().map(|it| it.keys()).unwrap_or_default();
        }
        keys
    }

    fn explain_below(&self, found: &mut Vec<Explanation>) {
        for key in self.keys_below() {
            let explained = key.explained();
            // What has one form or another may have a key in both.
            let is_known = found.iter().any(|it| it.path == explained.path);
            if !is_known && key.path.len() <= DEEPEST {
                found.push(explained);
                key.explain_below(found);
            }
        }
    }

    fn explained(&self) -> Explanation {
        let keys = self.keys_below();
        let default = self.at.get("default").filter(|it| says_something(it));
        let examples = self.forms().into_iter().flat_map(examples);
        Explanation {
            path: self.path.join("."),
            takes: takes(self.whole, self.at),
            about: self.about(),
            required: self.required,
            default: default.cloned(),
            examples: examples.cloned().collect(),
            words: self.words(),
            keys: keys.iter().map(Place::in_a_line).collect(),
        }
    }

    fn in_a_line(&self) -> Explained {
        Explained {
            name: self.name(),
            takes: Some(takes(self.whole, self.at)),
            about: self.about().into_iter().next().unwrap_or_default(),
            required: self.required,
        }
    }

    /// What the key says, then what its type says; where neither does, what the two are part of.
    fn about(&self) -> Vec<String> {
        let only = match self.forms().as_slice() {
            [only] => described(only),
            _ => None,
        };
        let said = [
            described(self.at),
            described(resolve(self.whole, self.at)),
            only,
        ];
        let mut about: Vec<String> = said.into_iter().flatten().collect();
        about.dedup();
        if about.is_empty() {
            about.extend(self.of.and_then(described));
        }
        about
    }

    fn words(&self) -> Vec<Explained> {
        let words = self.forms().into_iter().filter_map(|form| {
            Some(Explained {
                name: form.get("const")?.as_str()?.to_owned(),
                takes: None,
                about: described(form)?,
                required: false,
            })
        });
        words.collect()
    }
}

fn keys(form: &Value) -> Option<&Map<String, Value>> {
    form.get("properties")?.as_object()
}

fn requires(form: &Value, key: &str) -> bool {
    let listed = form.get("required").and_then(Value::as_array);
    listed.is_some_and(|listed| listed.iter().any(|one| one == key))
}

fn forms<'a>(whole: &'a Value, at: &'a Value) -> Vec<&'a Value> {
    let at = resolve(whole, at);
    // Beside keys, alternatives say which of them go together.
    if at.get("properties").is_some() {
        return vec![at];
    }
    let alternatives: Vec<_> = choices(at).flat_map(|one| forms(whole, one)).collect();
    let alternatives = if alternatives.is_empty() {
        vec![at]
    } else {
        alternatives
    };
    let is_written = |form: &&Value| form.get("type").is_none_or(|it| it != "null");
    alternatives.into_iter().filter(is_written).collect()
}

/// What stands at each name or place of a map or a list.
fn inner(form: &Value) -> Option<&Value> {
    let of_pattern = || form.get("patternProperties")?.as_object()?.values().next();
    let any = ["additionalProperties", "items"]
        .into_iter()
        .filter_map(|key| form.get(key));
    any.filter(|it| it.is_object())
        .chain(of_pattern())
        .find(|it| it.as_object().is_some_and(|it| !it.is_empty()))
}

/// A default that is empty says what its absence says.
fn says_something(default: &Value) -> bool {
    match default {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}

fn examples(form: &Value) -> impl Iterator<Item = &Value> {
    let listed = form.get("examples").and_then(Value::as_array);
    listed.into_iter().flatten()
}

fn described(at: &Value) -> Option<String> {
    Some(at.get("description")?.as_str()?.replace('\n', " "))
}

/// What may stand somewhere, in words: `integer from 1 to 65535`.
fn takes(whole: &Value, at: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for form in forms(whole, at) {
        for word in of_form(whole, form) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words.join(" or ")
}

fn of_form(whole: &Value, form: &Value) -> Vec<String> {
    if let Some(word) = form.get("const") {
        return vec![word.as_str().map_or(word.to_string(), str::to_owned)];
    }
    let types: Vec<&str> = match form.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => return vec!["anything".to_owned()],
    };
    let types = types.into_iter().filter(|one| *one != "null");
    types.map(|one| of_type(whole, form, one)).collect()
}

fn of_type(whole: &Value, form: &Value, name: &str) -> String {
    match name {
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" | "number" => format!("{name}{}", bounds(form)),
        "array" => match inner(form) {
            Some(each) => format!("list of {}", takes(whole, each)),
            None => "list".to_owned(),
        },
        _ => of_object(whole, form),
    }
}

fn of_object(whole: &Value, form: &Value) -> String {
    let keys = keys(form).into_iter().flat_map(Map::keys);
    let keys: Vec<&str> = keys.map(String::as_str).collect();
    match (keys.as_slice(), inner(form)) {
        ([], Some(each)) => format!("{{{NAME}: {}}}", takes(whole, each)),
        ([], None) => "map".to_owned(),
        ([one], _) => format!("{{{one}: …}}"),
        ([one, other], _) => format!("{{{one}, {other}}}"),
        ([one, other, ..], _) => format!("{{{one}, {other}, …}}"),
    }
}

fn bounds(form: &Value) -> String {
    let bound = |key: &str| form.get(key).map(Value::to_string);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => match bound("exclusiveMinimum") {
            Some(least) => format!(" above {least}"),
            None => String::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[Explained]) -> Vec<&str> {
        of.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn names_may_stand_in_a_path_or_be_left_out() {
        let without = explain("instances.env").unwrap();
        assert_eq!(without.path, "instances.NAME.env");
        assert_eq!(explain("instances.a.env").unwrap(), without);
        assert_eq!(explain("instances.NAME.env").unwrap(), without);
        assert_eq!(
            explain("instances.env.HOME").unwrap().path,
            "instances.NAME.env.NAME"
        );
        assert_eq!(
            explain("benchmarks.batch.fail_if[0].metric").unwrap(),
            explain("benchmarks.fail_if.metric").unwrap()
        );
    }

    #[test]
    fn a_key_says_what_it_takes_and_what_holds_without_it() {
        let port = explain("instances.port").unwrap();
        assert_eq!(port.takes, "integer from 1 to 65535");
        assert!(port.required);
        let ready = explain("instances.ready_timeout").unwrap();
        assert_eq!(ready.default, Some(900.into()));
        assert!(!ready.required && !ready.examples.is_empty());
        let node = explain("nodes").unwrap();
        assert!(names(&node.keys).contains(&"ssh") && node.keys[0].required);
    }

    #[test]
    fn words_are_told_with_what_they_mean() {
        let policy = explain("proxy.policy").unwrap();
        assert!(names(&policy.words).contains(&"least_connections"));
        assert!(names(&policy.keys).contains(&"prefix"));
        assert!(explain("proxy.policy.session").unwrap().keys.len() > 1);
        // Of these, keys exclude each other.
        assert!(names(&explain("models").unwrap().keys).contains(&"repo"));
        assert!(
            explain("benchmarks.load.rate")
                .unwrap()
                .takes
                .contains("list")
        );
    }

    #[test]
    fn what_leads_nowhere_is_told_by_what_is_near() {
        let wrong = explain("instances.a.prot").unwrap_err();
        assert_eq!(wrong.to_string(), "there is no `prot` in instances.NAME");
        assert_eq!(wrong.hint(), "did you mean `port`?");
        // A name may be anything; what is nearly a key is rather that.
        assert_eq!(explain("instances.prot").unwrap_err(), wrong);
        assert_eq!(explain("instances.a").unwrap().path, "instances.NAME");
        assert_eq!(explain("instances.NAME").unwrap().path, "instances.NAME");
        assert_eq!(
            explain("instances.prot.env").unwrap().path,
            "instances.NAME.env"
        );
        let nothing = explain("topology.x").unwrap_err();
        assert_eq!(nothing.hint(), "there is nothing below it");
    }

    #[test]
    fn all_keys_are_explained_as_each_is_by_itself() {
        let all = explain_all();
        assert!(all.len() > 100, "{}", all.len());
        for path in ["topology", "nodes.NAME.ssh", "proxy.policy.prefix.window"] {
            let found = all.iter().find(|it| it.path == path);
            assert_eq!(found, Some(&explain(path).unwrap()), "{path}");
        }
        assert!(all.iter().all(|it| it.path.split('.').count() <= DEEPEST));
    }

    /// Every key of the schema is explained: it has words of its own, and says what it takes.
    #[test]
    fn every_key_has_something_to_say() {
        fn down(path: &str, depth: usize) {
            let found = explain(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(!found.takes.is_empty() && !found.about.is_empty(), "{path}");
            for key in found.keys.iter().filter(|_| depth > 0) {
                assert!(!key.about.is_empty(), "{path}.{}", key.name);
                down(&format!("{}.{}", found.path, key.name), depth - 1);
            }
        }
        down("", 6);
    }
}
