//! The hosts that an SSH configuration names.
//!
//! Here nobody asks how a host is reached, only which there are: so `Match`, tokens and quotes matter
//! little, and what is not understood is passed over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::plain::{Account, DEEPEST, expand};

/// The hosts that an SSH configuration names in its `Host` lines, in the order in which they stand there:
/// those without wildcards. Hosts of the user `git` serve repositories, and are left out.
///
/// # Errors
///
/// When the file cannot be read. That there is no `~/.ssh/config` is no error.
pub fn configured_hosts(file: Option<&Path>) -> io::Result<Vec<String>> {
    let home = Account::own().map(|account| PathBuf::from(account.home));
    let mut hosts = Hosts {
        home: home.unwrap_or_default(),
        found: Vec::new(),
    };
    if let Some(file) = file {
        hosts.read(&fs::read_to_string(file)?, 0);
    } else {
        let own = hosts.home.join(".ssh/config");
        match fs::read_to_string(own) {
            Ok(text) => hosts.read(&text, 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hosts.found)
}

struct Hosts {
    home: PathBuf,
    found: Vec<String>,
}

impl Hosts {
    fn read(&mut self, text: &str, depth: u8) {
        // Those of the block that is being read.
        let mut own: Vec<String> = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            let Some((keyword, value)) = line.split_once([' ', '\t', '=']) else {
                continue;
            };
            let value = value.trim_start_matches([' ', '\t', '=']);
            match keyword.to_ascii_lowercase().as_str() {
                "host" => {
                    own = words(value).iter().filter_map(|word| name(word)).collect();
                    for host in &own {
                        if !self.found.contains(host) {
                            self.found.push(host.clone());
                        }
                    }
                }
                "match" => own.clear(),
                "user" if value == "git" => self.found.retain(|host| !own.contains(host)),
                "include" if depth < DEEPEST => self.include(value, depth),
                _ => {}
            }
        }
    }

    fn include(&mut self, value: &str, depth: u8) {
        for word in words(value) {
            let path = match word.strip_prefix("~/") {
                Some(below) => self.home.join(below),
                None => self.home.join(".ssh").join(&word),
            };
            for file in expand(&path).unwrap_or_default() {
                if let Ok(text) = fs::read_to_string(file) {
                    self.read(&text, depth + 1);
                }
            }
        }
    }
}

/// The words of a value: those in quotes may have blanks, and what follows a `#` is for people.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (quoted, end) = match rest.strip_prefix('"') {
            Some(inside) => (inside, '"'),
            None => (rest, ' '),
        };
        let is_end = |c: char| c == end || (end == ' ' && c.is_whitespace());
        let (word, after) = quoted.split_once(is_end).unwrap_or((quoted, ""));
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The host that a pattern is, if it names one alone.
fn name(pattern: &str) -> Option<String> {
    let is_one = !pattern.is_empty() && !pattern.contains(['*', '?', '!', '%', '$', '#']);
    is_one.then(|| pattern.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_that_are_named_and_no_patterns() {
        let folder = tempfile::tempdir().unwrap();
        let more = folder.path().join("more.conf");
        fs::write(&more, "Host spark-03\nHost spark-01\n").unwrap();
        let text = format!(
            "# all of it\nHost *\n  User n\nHost spark-01 spark-0? !x \"spark-02\" # the first of two\r\n  HostName 10.0.0.1\n\
             host=jump\nHost github.com\n\tUser git\nMatch host spark-01\n  User git\nInclude {}/*.conf\n",
            folder.path().display()
        );
        let file = folder.path().join("config");
        fs::write(&file, text).unwrap();
        assert_eq!(
            configured_hosts(Some(&file)).unwrap(),
            ["spark-01", "spark-02", "jump", "spark-03"]
        );
    }

    #[test]
    fn words_are_those_of_openssh() {
        for (value, expected) in [
            ("a\tb  c", &["a", "b", "c"][..]),
            ("\"my box\" b", &["my box", "b"]),
            ("a # b c", &["a"]),
            ("a#b", &["a#b"]),
            ("\"never closed", &["never closed"]),
            ("", &[]),
        ] {
            assert_eq!(words(value), expected, "{value}");
        }
    }

    #[test]
    fn a_file_that_was_named_is_there() {
        assert!(configured_hosts(Some(Path::new("/nowhere/config"))).is_err());
    }
}
