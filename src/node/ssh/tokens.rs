//! What the tokens and variables of a path stand for, as `ssh_config` has them.

use std::path::PathBuf;

/// What is known of a host when its paths are read.
pub(super) struct Tokens<'a> {
    /// The host as it was asked for.
    pub(super) target: &'a str,
    /// The host that is connected to.
    pub(super) host: &'a str,
    pub(super) user: &'a str,
    pub(super) port: u16,
    /// The name that its key is kept under, where that is another.
    pub(super) alias: Option<&'a str>,
}

impl Tokens<'_> {
    /// A path, with the home for `~`. What it names and is not there is an error: what stands in the
    /// place of a key must not be another.
    pub(super) fn path(&self, text: &str) -> Result<PathBuf, String> {
        let path = match text.strip_prefix("~/") {
            Some(below) => format!("{}/{}", home(), self.fill(below)?),
            None => self.fill(text)?,
        };
        Ok(PathBuf::from(path))
    }

    /// A text with `%h`, `${NAME}` and the like filled in.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            filled.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if rest[at..].starts_with('%') {
                let token = after.chars().next().unwrap_or('%');
                filled.push_str(&self.token(token)?);
                after.get(token.len_utf8()..).unwrap_or_default()
            } else if let Some((name, after)) = braced(after) {
                let value = std::env::var(name);
                filled.push_str(&value.map_err(|_| "names a variable that is not set here")?);
                after
            } else {
                filled.push('$');
                after
            };
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn token(&self, token: char) -> Result<String, String> {
        Ok(match token {
            '%' => "%".to_owned(),
            'd' => home(),
            'h' => self.host.to_owned(),
            'i' => rustix::process::getuid().as_raw().to_string(),
            'k' => self.alias.unwrap_or(self.target).to_owned(),
            'L' => machine().split('.').next().unwrap_or_default().to_owned(),
            'l' => machine(),
            'n' => self.target.to_owned(),
            'p' => self.port.to_string(),
            'r' => self.user.to_owned(),
            'u' => std::env::var("USER").unwrap_or_default(),
            other => {
                return Err(format!(
                    "has the token %{other}, which stands for nothing here"
                ));
            }
        })
    }
}

/// Reads `{NAME}`.
fn braced(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}')
}

fn home() -> String {
    let home = std::env::home_dir().unwrap_or_default();
    home.to_string_lossy().into_owned()
}

fn machine() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: Tokens<'_> = Tokens {
        target: "dgx",
        host: "10.0.0.7",
        user: "n",
        port: 2222,
        alias: None,
    };

    #[test]
    fn paths_are_filled_as_openssh_fills_them() {
        let home = home();
        for (text, want) in [
            ("/k/%h-%n-%p-%r", "/k/10.0.0.7-dgx-2222-n".to_owned()),
            ("~/.ssh/id", format!("{home}/.ssh/id")),
            ("%d/x", format!("{home}/x")),
            (
                "${HOME}/%k",
                format!("{}/dgx", std::env::var("HOME").unwrap()),
            ),
            ("/100%%", "/100%".to_owned()),
            ("/a$b", "/a$b".to_owned()),
            ("/\u{e9}/%r", "/\u{e9}/n".to_owned()),
        ] {
            let path = TOKENS.path(text).unwrap();
            assert_eq!(path.to_string_lossy(), want, "{text}");
        }
        let aliased = Tokens {
            alias: Some("spark"),
            ..TOKENS
        };
        assert_eq!(aliased.fill("%k").unwrap(), "spark");
        for text in ["%", "%d%Q", "${REPLICA_TEST_UNSET}"] {
            let filled = TOKENS.fill(text);
            assert!(filled.is_err() || text == "%", "{text}: {filled:?}");
        }
    }
}
