//! Which host keys are known: the files that OpenSSH keeps, read by its own rules.
//!
//! Markers, wildcards, negation, `[host]:port`, hashed names, tabs and comments are understood; a
//! line that cannot be read is skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::ssh_key::known_hosts::HostPatterns;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, PublicKey};
use sha1::Sha1;

/// The lines of all files that can be read.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    file: PathBuf,
    line: usize,
    marker: Marker,
    patterns: String,
    /// As it stands there: of many lines, few are a host's.
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Plain,
    Revoked,
    Authority,
}

/// Where a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is this host's.
    Known,
    /// This host has no key of this algorithm there.
    Unknown {
        /// The algorithms of the keys that it has there.
        known_by: Vec<String>,
    },
    /// This host has another key of this algorithm.
    Changed { file: PathBuf, line: usize },
    /// Somebody revoked it.
    Revoked { file: PathBuf, line: usize },
}

/// The name that a host is kept under: with its port unless that is 22.
pub(super) fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

impl KnownHosts {
    /// Reads the files that exist.
    pub(super) fn read<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let mut known = Self::default();
        for file in files {
            // A file of another encoding still has lines that can be read.
            if let Ok(bytes) = std::fs::read(file) {
                known.add(file, &String::from_utf8_lossy(&bytes));
            }
        }
        known
    }

    /// Reads a file of keys that no host may have: one a line.
    ///
    /// # Errors
    ///
    /// Where it cannot be read, or not all of it: a key in it may be the one that is shown.
    pub(super) fn revoke(&mut self, file: &Path) -> Result<(), String> {
        let text = std::fs::read(file).map_err(|error| error.to_string())?;
        let text = String::from_utf8(text).map_err(|_| "it is a list in the form of `ssh-keygen -k`, which replica does not read: name a text file with a key a line".to_owned())?;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            PublicKey::from_openssh(line)
                .map_err(|_| format!("there is no public key on its line {}", at + 1))?;
            self.entries.push(Entry {
                file: file.to_owned(),
                line: at + 1,
                marker: Marker::Revoked,
                patterns: "*".to_owned(),
                key: line.to_owned(),
            });
        }
        Ok(())
    }

    fn add(&mut self, file: &Path, text: &str) {
        for (at, line) in text.lines().enumerate() {
            if let Some((marker, patterns, key)) = entry(line) {
                self.entries.push(Entry {
                    file: file.to_owned(),
                    line: at + 1,
                    marker,
                    patterns: patterns.to_owned(),
                    key,
                });
            }
        }
    }

    /// The lines that name a host, with their keys.
    fn of(&self, name: &str) -> Vec<(&Entry, PublicKey)> {
        self.entries
            .iter()
            .filter(|entry| matches(&entry.patterns, name))
            .filter_map(|entry| Some((entry, PublicKey::from_openssh(&entry.key).ok()?)))
            .collect()
    }

    /// Where a key stands for a host.
    pub(super) fn standing(&self, name: &str, key: &PublicKey) -> Standing {
        let found = self.of(name);
        let marked = |marker| {
            found
                .iter()
                .filter(move |(entry, _)| entry.marker == marker)
        };
        let same = |(_, known): &&(&Entry, PublicKey)| known.key_data() == key.key_data();
        if let Some((entry, _)) = marked(Marker::Revoked).find(same) {
            return Standing::Revoked {
                file: entry.file.clone(),
                line: entry.line,
            };
        }
        if marked(Marker::Plain).any(|known| same(&known)) {
            return Standing::Known;
        }
        let mut known_by = Vec::new();
        for (entry, known) in marked(Marker::Plain) {
            if known.algorithm() == key.algorithm() {
                return Standing::Changed {
                    file: entry.file.clone(),
                    line: entry.line,
                };
            }
            known_by.push(known.algorithm().to_string());
        }
        Standing::Unknown { known_by }
    }

    /// Whether a certificate authority is named for a host.
    pub(super) fn has_authority(&self, name: &str) -> bool {
        let mut found = self.of(name).into_iter();
        found.any(|(entry, _)| entry.marker == Marker::Authority)
    }

    /// Whether this key is that of an authority which is named for a host.
    pub(super) fn is_authority(&self, name: &str, key: &KeyData) -> bool {
        let mut found = self.of(name).into_iter();
        found.any(|(entry, known)| entry.marker == Marker::Authority && known.key_data() == key)
    }

    /// The algorithms of the keys that a host is known by.
    pub(super) fn algorithms(&self, name: &str) -> Vec<Algorithm> {
        self.of(name)
            .iter()
            .filter(|(entry, _)| entry.marker == Marker::Plain)
            .map(|(_, key)| key.algorithm())
            .collect()
    }
}

fn entry(line: &str) -> Option<(Marker, &str, String)> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().filter(|word| !word.starts_with('#'))?;
    let (marker, patterns) = match first {
        "@revoked" => (Marker::Revoked, words.next()?),
        "@cert-authority" => (Marker::Authority, words.next()?),
        word if word.starts_with('@') => return None,
        word => (Marker::Plain, word),
    };
    let (algorithm, key) = (words.next()?, words.next()?);
    Some((marker, patterns, format!("{algorithm} {key}")))
}

/// Whether a list of patterns names a host. One negated match outweighs all others.
fn matches(patterns: &str, name: &str) -> bool {
    if patterns.starts_with('|') {
        return matches_hashed(patterns, name);
    }
    let mut found = false;
    for pattern in patterns.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(negated) if matches_wildcard(negated.as_bytes(), name.as_bytes()) => return false,
            None if matches_wildcard(pattern.as_bytes(), name.as_bytes()) => found = true,
            _ => {}
        }
    }
    found
}

fn matches_hashed(pattern: &str, name: &str) -> bool {
    match pattern.parse() {
        Ok(HostPatterns::HashedName { salt, hash }) => digest(&salt, name) == hash,
        _ => false,
    }
}

fn digest(salt: &[u8], name: &str) -> [u8; 20] {
    let mac = Hmac::<Sha1>::new_from_slice(salt).expect("HMAC takes a key of any length");
    mac.chain_update(name).finalize().into_bytes().into()
}

/// Matches `*` and `?`, going back to the last `*` where it has to.
pub(super) fn matches_wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Writes a host's key down, its name hashed if that is wanted.
pub(super) fn learn(file: &Path, name: &str, key: &PublicKey, hashed: bool) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(folder) = file.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let name = if hashed {
        let salt: [u8; 20] = std::array::from_fn(|_| fastrand::u8(..));
        let hash = digest(&salt, name);
        let salt = salt.to_vec();
        HostPatterns::HashedName { salt, hash }.to_string()
    } else {
        name.to_owned()
    };
    let key = PublicKey::new(key.key_data().clone(), "");
    let key = key.to_openssh().map_err(std::io::Error::other)?;
    let open_line = std::fs::read(file).is_ok_and(|text| text.last().is_some_and(|b| *b != b'\n'));
    let line = format!(
        "{}{name} {}\n",
        if open_line { "\n" } else { "" },
        key.trim()
    );
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file)?
        .write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER_ED: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBBN76zuqnjypL54/w4763l7q1Sn3IBYHptJ5wcYfEWkzeNTvpexr05Z18m2yPT2SWRd1JJ8Aj5TYidG9MdSS5J8=";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), text);
        known
    }

    #[test]
    fn names_are_matched_as_openssh_matches_them() {
        // What `ssh-keygen -H` makes of `example.com`.
        let hashed = "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak=";
        let cases = [
            ("a", "a", true),
            ("A", "a", true),
            ("a", "ab", false),
            ("a,b", "b", true),
            ("*.lan", "spark.lan", true),
            ("*.lan", "lan", false),
            ("spark-0?", "spark-01", true),
            ("spark-0?", "spark-0", false),
            ("*", "anything", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xaxbx", false),
            ("*.lan,!bad.lan", "bad.lan", false),
            ("!bad.lan,*.lan", "bad.lan", false),
            ("!bad.lan,*.lan", "good.lan", true),
            ("!bad.lan", "good.lan", false),
            ("[a]:2222", "[a]:2222", true),
            ("[a]:2222", "a", false),
            ("a", "[a]:2222", false),
            (hashed, "example.com", true),
            (hashed, "example.org", false),
            ("|1|rubbish|x=", "example.com", false),
        ];
        for (patterns, name, want) in cases {
            assert_eq!(matches(patterns, name), want, "{patterns} against {name}");
        }
    }

    #[test]
    fn a_key_stands_where_its_lines_say() {
        let revoked = || Standing::Revoked {
            file: "kh".into(),
            line: 2,
        };
        let changed = |line| Standing::Changed {
            file: "kh".into(),
            line,
        };
        let unknown = |known_by: &[&str]| Standing::Unknown {
            known_by: known_by.iter().map(|&a| a.to_owned()).collect(),
        };
        let cases = [
            (String::new(), unknown(&[])),
            (format!("a {ED}"), Standing::Known),
            (
                format!("a\t{}  comment", ED.replace(' ', "\t")),
                Standing::Known,
            ),
            (format!("# a {ED}"), unknown(&[])),
            (format!("b {ED}"), unknown(&[])),
            (format!("\n\na {OTHER_ED}"), changed(3)),
            (format!("a {OTHER_ED}\na {ED}"), Standing::Known),
            (format!("a {EC}"), unknown(&["ecdsa-sha2-nistp256"])),
            (format!("a {EC}\na {ED}"), Standing::Known),
            (format!("a {ED}\n@revoked * {ED}"), revoked()),
            (format!("\n@revoked\ta\t{ED}\na {ED}"), revoked()),
            (format!("@revoked a {OTHER_ED}\na {ED}"), Standing::Known),
            (format!("@cert-authority * {ED}"), unknown(&[])),
            (format!("@new-marker a {ED}"), unknown(&[])),
            ("a ssh-ed25519 rubbish\na\nrubbish".to_owned(), unknown(&[])),
            (format!("a ssh-ed25519 rubbish\na {ED}"), Standing::Known),
            // SSH protocol 1: host, bits, exponent, modulus.
            (format!("a 1024 35 1234567\na {ED}"), Standing::Known),
        ];
        for (text, want) in cases {
            assert_eq!(known(&text).standing("a", &key(ED)), want, "{text}");
        }
    }

    #[test]
    fn authorities_are_those_of_the_lines_that_name_the_host() {
        let known = known(&format!("@cert-authority *.lan {ED}\na {OTHER_ED}"));
        assert!(known.has_authority("a.lan") && !known.has_authority("a"));
        assert!(known.is_authority("a.lan", key(ED).key_data()));
        assert!(!known.is_authority("a.lan", key(OTHER_ED).key_data()));
    }

    #[test]
    fn a_list_of_revoked_keys_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked");
        let mut known = known(&format!("a {ED}"));
        assert!(known.revoke(&file).is_err(), "it is not there");
        std::fs::write(&file, b"SSHKRL\n\0\xff").unwrap();
        assert!(known.revoke(&file).unwrap_err().contains("ssh-keygen -k"));
        std::fs::write(&file, format!("{OTHER_ED}\nrubbish\n")).unwrap();
        assert!(known.revoke(&file).unwrap_err().contains("line 2"));
        std::fs::write(&file, format!("# stolen\n\n{ED} comment\n")).unwrap();
        known.revoke(&file).unwrap();
        let standing = known.standing("a", &key(ED));
        assert!(
            matches!(standing, Standing::Revoked { line: 3, .. }),
            "{standing:?}"
        );
    }

    #[test]
    fn only_plain_lines_tell_which_algorithms_are_known() {
        let known = known(&format!(
            "a {EC}\n@revoked a {ED}\n@cert-authority a {ED}\nb {ED}"
        ));
        assert_eq!(known.algorithms("a"), [key(EC).algorithm()]);
    }

    #[test]
    fn what_was_learnt_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/known_hosts");
        for (name, hashed) in [("a", false), ("[b]:2222", true), ("c", true)] {
            learn(&file, name, &key(ED), hashed).unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.trim_end()).unwrap();
        learn(&file, "d", &key(ED), false).unwrap();
        let known = KnownHosts::read([&file]);
        for name in ["a", "[b]:2222", "c", "d"] {
            assert_eq!(known.standing(name, &key(ED)), Standing::Known, "{name}");
        }
        assert!(!text.contains("2222"), "the name is hashed");
        assert_eq!(known.entries.len(), 4);
    }

    /// Whatever else stands in a file: who is revoked is revoked, and who is known is known, or is
    /// revoked there.
    #[test]
    fn fuzz_known_hosts() {
        let words = [
            "@revoked ",
            "@cert-authority ",
            "|1|",
            "=|",
            "!*",
            ",",
            "[h]:22 ",
            "ssh-ed25519 ",
            ED,
            OTHER_ED,
            "#",
            "\r\n",
        ];
        crate::fuzz::run("known_hosts", &words, |input| {
            let text = String::from_utf8_lossy(input);
            let ed = key(ED);
            let alone = known(&text).standing("h", &ed);
            let revoked = known(&format!("@revoked * {ED}\n{text}"));
            assert!(matches!(
                revoked.standing("h", &ed),
                Standing::Revoked { .. }
            ));
            let added = known(&format!("h {ED}\n{text}")).standing("h", &ed);
            let was_revoked = matches!(alone, Standing::Revoked { .. });
            assert!(added == Standing::Known || was_revoked, "{added:?}");
            let algorithms = known(&text).algorithms("[h]:2222");
            crate::fuzz::sort_of((std::mem::discriminant(&alone), algorithms.len().min(3)))
        });
    }
}
