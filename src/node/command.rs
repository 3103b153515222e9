//! A command as a value: what a node is to run, quoted in one place.

use std::fmt::{self, Write as _};

/// A function for scripts: `r_log_text LOG FROM TO` prints these bytes of a log, but for what was given
/// back of them.
pub const LOG_TEXT: &str = include_str!("script/log_text.sh");

/// A POSIX shell script for a node. It reaches the node on the standard input of `sh -s`, so that
/// nothing in it is seen in a process list there.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    script: String,
    /// Assignments that are never shown.
    secrets: Vec<(String, String)>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.secrets.iter().map(|(name, _)| name).collect();
        f.debug_struct("Command")
            .field("script", &self.script)
            .field("secrets", &names)
            .finish()
    }
}

impl Command {
    /// A command that runs a script.
    pub fn script(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            secrets: Vec::new(),
        }
    }

    /// Sets a variable before the script runs; the value is quoted.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let mut script = String::new();
        let _ = writeln!(script, "{name}={}", quote(value));
        script.push_str(&self.script);
        self.script = script;
        self
    }

    /// Sets a variable to a secret before the script runs: it travels with the script, and shows
    /// in no text and no debug output.
    #[must_use]
    pub fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The text of the script, without its secrets.
    pub fn text(&self) -> &str {
        &self.script
    }

    /// All that a node is sent.
    pub(super) fn full_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.secrets {
            let _ = writeln!(text, "{name}={}", quote(value));
        }
        text.push_str(&self.script);
        text
    }
}

/// Quotes a text so that a POSIX shell reads it as one word, whatever is in it.
///
/// ```
/// use replica::node::quote;
/// assert_eq!(quote("plain-1.0"), "plain-1.0");
/// assert_eq!(quote("it's"), r"'it'\''s'");
/// assert_eq!(quote(""), "''");
/// ```
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with(['=', '~']) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Quotes a path of a node, where a leading `~/` stands for the node's home.
pub fn quote_path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", quote(rest)),
        None if path == "~" => "\"$HOME\"".to_owned(),
        None => quote(path),
    }
}
