//! The file of a proxy on its own: read as a manifest is, so that every mistake of it is found and
//! placed.

use std::ops::Range;
use std::path::Path;

use super::check::{NOBODY_WAITS, NOBODY_WAITS_HINT};
use super::file::{ReadFile, decode, empty, is_extension, no_file};
use super::marks::{Found, Marks, find};
use super::problem::{ManifestError, Problem};
use super::suggest::shown;
use super::tree::Node;
use super::{parse, typed};
use crate::proxy::{Alone, Server};

/// How such a file is begun by whoever has none.
const BEGIN: &str = "it begins with `listen: 127.0.0.1:8000` and `backends:`, as in \
                     `backends: [{url: http://10.0.0.7:8000}]`; `replica schema --proxy` prints all \
                     that can be in it";

/// Reads what a proxy on its own is declared by. The keys that it shows are in variables, which this
/// looks up.
///
/// # Errors
///
/// Fails with every mistake that the file has, not only the first.
pub fn load_proxy(
    path: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Alone, ManifestError> {
    let read =
        ReadFile::at(path, |path| no_file(path).hint(BEGIN)).map_err(ManifestError::of_a_proxy)?;
    understood(&read.name, &read.bytes, variable).map_err(ManifestError::of_a_proxy)
}

fn understood(
    name: &str,
    bytes: &[u8],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Alone, ManifestError> {
    let source = decode(name, bytes)?;
    let mut problems = Vec::new();
    let mut marks = Marks::default();
    let mut alone = None;
    match parse::parse(&source.text, &mut marks, &mut problems) {
        Some(root) if root.is_nothing() => problems.push(empty("file", BEGIN)),
        Some(root) => {
            let root = root.without(is_extension);
            alone = typed::read::<Alone>(&root, &mut marks, &mut problems);
            if let Some(alone) = &alone {
                let seen = Seen {
                    root: &root,
                    marks: &marks,
                };
                problems.extend(seen.mistakes(alone, variable));
            }
        }
        None if problems.is_empty() => problems.push(empty("file", BEGIN)),
        None => {}
    }
    match alone {
        Some(alone) if problems.is_empty() => Ok(alone),
        _ => Err(ManifestError::new(source, problems)),
    }
}

/// A file that was read, and where each part of it stands.
struct Seen<'a> {
    root: &'a Node,
    marks: &'a Marks,
}

impl Seen<'_> {
    /// What no type can tell.
    fn mistakes(&self, alone: &Alone, variable: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
        let mut found: Vec<_> = self.no_backends(alone).into_iter().collect();
        for (index, server) in alone.backends.iter().enumerate() {
            found.extend(self.named_twice(&alone.backends, index));
            found.extend(self.no_name(server, index));
            found.extend(self.no_key(server, index, &variable));
        }
        let waits = &alone.timeouts;
        for (key, time) in [
            ("connect", waits.connect),
            ("idle", waits.idle),
            ("client", waits.client),
            ("queue", waits.queue),
        ] {
            if time.duration().is_zero() {
                let problem = self.at(&["timeouts", key], format!("`{key}` must be more than 0"));
                found.extend(problem.map(|it| it.hint("leave the key out for the default")));
            }
        }
        found.extend(self.nobody_waits(alone));
        found
    }

    fn nobody_waits(&self, alone: &Alone) -> Option<Problem> {
        if !alone.limits.waits_in_vain() {
            return None;
        }
        let problem = self.at(&["limits", "queue"], NOBODY_WAITS)?;
        Some(problem.hint(NOBODY_WAITS_HINT))
    }

    fn no_backends(&self, alone: &Alone) -> Option<Problem> {
        if !alone.backends.is_empty() {
            return None;
        }
        let problem = self.at(&["backends"], "there is no server to pass requests to")?;
        Some(problem.hint("name one: `- {url: http://10.0.0.7:8000}`"))
    }

    /// Two servers of one name could not be told apart.
    fn named_twice(&self, servers: &[Server], index: usize) -> Option<Problem> {
        let name = servers[index].name();
        let first = servers[..index].iter().position(|it| it.name() == name)?;
        let title = format!("two servers are called `{}`", shown(name));
        let place = self.place_of_name(&servers[index], index)?;
        let problem = Problem::new(title).at(place);
        let place = self.place_of_name(&servers[first], first)?;
        let hint = if servers[index].url == servers[first].url {
            "keep one of the two"
        } else {
            "give each a `name` of its own"
        };
        Some(problem.also(place, "the first").hint(hint))
    }

    /// Where a server has its name from.
    fn place_of_name(&self, server: &Server, index: usize) -> Option<Range<usize>> {
        let key = match server.name {
            Some(_) => "name",
            None => "url",
        };
        self.place(&["backends", &index.to_string(), key])
    }

    fn no_name(&self, server: &Server, index: usize) -> Option<Problem> {
        let is_sent = |name: &String| {
            let is_visible = |byte: u8| (b' '..=b'~').contains(&byte);
            !name.trim().is_empty() && name.bytes().all(is_visible)
        };
        let name = server.name.as_ref().filter(|name| !is_sent(name))?;
        let title = format!("`{}` is no name of a server", shown(name));
        let problem = self.at(&["backends", &index.to_string(), "name"], title)?;
        Some(problem.hint("it is sent in a header: letters, digits and dashes will do"))
    }

    fn no_key(
        &self,
        server: &Server,
        index: usize,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Option<Problem> {
        let name = server.api_key_env.as_ref()?;
        if variable(name).is_some_and(|key| !key.is_empty()) {
            return None;
        }
        let title = format!("the variable `{}` is not set", shown(name));
        let problem = self.at(&["backends", &index.to_string(), "api_key_env"], title)?;
        Some(problem.hint("it is to hold the key of this server, in the environment of the proxy"))
    }

    fn at(&self, path: &[&str], title: impl Into<String>) -> Option<Problem> {
        Some(Problem::new(title).at(self.place(path)?))
    }

    fn place(&self, path: &[&str]) -> Option<Range<usize>> {
        match find(self.root, self.marks, path) {
            Found::Value { place, .. } | Found::Absent(place) => Some(place),
            Found::Reported => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a file with this text, where one variable is set.
    fn said(text: &str) -> String {
        let set = |name: &str| (name == "SET").then(|| "sk-hush".to_owned());
        let read = understood("proxy.yaml", text.as_bytes(), set);
        match read.map_err(ManifestError::of_a_proxy) {
            Ok(alone) => format!("{} {}", alone.listen, alone.backends.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_file_says_where_and_to_whom() {
        let text = "
x-gpu: &gpu {api_key_env: SET}
listen: 127.0.0.1:8000
policy: least_connections
timeouts: {idle: 10m}
backends:
  - {url: http://10.0.0.7:8000, <<: *gpu}
  - {name: b, url: http://10.0.0.7:8001}
";
        assert_eq!(said(text), "127.0.0.1:8000 2");
    }

    #[test]
    fn every_mistake_is_told_at_its_place() {
        let text = "\
listen: 8000
polcy: random
timeouts: {idle: 0}
backends: [{url: https://gpu-1}]
";
        insta::assert_snapshot!(said(text), @"
        error: no address and port: write `127.0.0.1:8000`, or `0.0.0.0:8000` for every address of this machine
         --> proxy.yaml:1:9
          |
        1 | listen: 8000
          |         ^^^^

        error: unknown key `polcy`
         --> proxy.yaml:2:1
          |
        2 | polcy: random
          | ^^^^^
          |
          = hint: did you mean `policy`?
          = hint: allowed here: `listen`, `backends`, `policy`, `timeouts`, `limits`, `headers`, `access_log`

        error: `idle` must be more than 0
         --> proxy.yaml:3:18
          |
        3 | timeouts: {idle: 0}
          |                  ^
          |
          = hint: leave the key out for the default

        error: servers are spoken to over plain HTTP: have something that ends TLS listen on this machine (stunnel, nginx), and name that: `http://127.0.0.1:PORT`
         --> proxy.yaml:4:18
          |
        4 | backends: [{url: https://gpu-1}]
          |                  ^^^^^^^^^^^^^

        4 errors in proxy.yaml; nothing was changed
        ");
    }

    #[test]
    fn servers_are_told_apart_and_have_the_keys_that_they_are_to_have() {
        let text = "\
listen: 127.0.0.1:8000
backends:
  - {url: http://gpu-1:8000/v1}
  - {url: http://gpu-2:8000}
  - {name: gpu-2:8000, url: http://gpu-3:8000, api_key_env: UNSET}
";
        insta::assert_snapshot!(said(text), @"
        error: it ends behind the port: a request keeps the path that its client asks for, `/v1` included
         --> proxy.yaml:3:11
          |
        3 |   - {url: http://gpu-1:8000/v1}
          |           ^^^^^^^^^^^^^^^^^^^^

        error: two servers are called `gpu-2:8000`
         --> proxy.yaml:5:12
          |
        4 |   - {url: http://gpu-2:8000}
          |           ----------------- the first
        5 |   - {name: gpu-2:8000, url: http://gpu-3:8000, api_key_env: UNSET}
          |            ^^^^^^^^^^
          |
          = hint: give each a `name` of its own

        error: the variable `UNSET` is not set
         --> proxy.yaml:5:61
          |
        5 |   - {name: gpu-2:8000, url: http://gpu-3:8000, api_key_env: UNSET}
          |                                                             ^^^^^
          |
          = hint: it is to hold the key of this server, in the environment of the proxy

        3 errors in proxy.yaml; nothing was changed
        ");
    }

    #[test]
    fn what_is_no_such_file_is_told_how_to_begin() {
        for (text, expected) in [
            ("", "the file is empty"),
            (
                "listen: 127.0.0.1:0\nbackends: []",
                "no server to pass requests to",
            ),
            ("listen: 127.0.0.1:0", "`backends`"),
            ("topology: t", "unknown key `topology`"),
            (
                "listen: 127.0.0.1:0\npolicy: fastest",
                "`policy` cannot be `fastest`",
            ),
        ] {
            let said = said(text);
            assert!(said.contains(expected), "{text}: {said}");
            assert!(!said.contains("manifest"), "{said}");
        }
    }
}
