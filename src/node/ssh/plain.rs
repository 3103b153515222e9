//! A plain SSH configuration, read without running `ssh`.
//!
//! `ssh -G` takes 8 ms of CPU a host, which would be most of what a plan of many nodes takes. So
//! `Host`, `Include` and plain keywords are read here, to the very answer that `ssh -G` gives: a
//! test holds one against the other. Of anything else (`Match`, quotes, tokens, `ProxyCommand`, a
//! keyword that is not listed here, files of others, another `ssh` than the system's) this says
//! nothing, and `ssh` is asked.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::known_hosts::matches_wildcard;
use super::target::Target;

/// The `ssh` whose files and defaults are known.
const SSH: &str = "/usr/bin/ssh";
const SYSTEM: &str = "/etc/ssh/ssh_config";
/// Files that include files; `ssh` itself stops at 16.
pub(super) const DEEPEST: u8 = 8;

/// What may stand in a configuration and changes nothing that we would do otherwise.
const INDIFFERENT: &[&str] = &[
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "checkhostip",
    "ciphers",
    "compression",
    "connectionattempts",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forwardagent",
    "forwardx11",
    "forwardx11trusted",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "hostkeyalgorithms",
    "ipqos",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "localforward",
    "loglevel",
    "macs",
    "numberofpasswordprompts",
    "passwordauthentication",
    "permitlocalcommand",
    "preferredauthentications",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "rekeylimit",
    "remoteforward",
    "requesttty",
    "sendenv",
    "serveralivecountmax",
    "serveraliveinterval",
    "setenv",
    "tcpkeepalive",
    "updatehostkeys",
    "visualhostkey",
];

/// What `ssh -G` would say of a host, as far as we ask: nothing where it must be asked.
pub(super) fn answer(target: &Target, file: Option<&Path>) -> Option<String> {
    if !cfg!(target_os = "linux") || system_ssh()? != Path::new(SSH) {
        return None;
    }
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| plain(byte) || b".-_:".contains(&byte);
    if !target.host.bytes().all(inner) || !target.host.bytes().next().is_some_and(plain) {
        return None;
    }
    let mut reading = Reading {
        host: &target.host,
        account: Account::own()?,
        values: BTreeMap::new(),
        identities: Vec::new(),
    };
    if let Some(user) = &target.user {
        reading.values.insert("user", user.clone());
    }
    if let Some(port) = target.port {
        reading.values.insert("port", port.to_string());
    }
    if let Some(file) = file {
        reading.file(file, Origin::Given, 0)?;
    } else {
        let own = Path::new(&reading.account.home).join(".ssh/config");
        reading.file(&own, Origin::Own, 0)?;
        reading.file(Path::new(SYSTEM), Origin::System, 0)?;
    }
    reading.said()
}

/// The `ssh` that would be run.
fn system_ssh() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("ssh"))
        .find(|file| file.exists())
}

/// Whether these are hosts to jump over as nearly everybody writes them: `none`, `a`, `n@a:22,b`.
fn are_plain_hops(value: &str) -> bool {
    let is_name = |text: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(inner)
    };
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    value.split(',').all(|hop| {
        let (user, place) = hop.split_once('@').unwrap_or(("user", hop));
        let (host, port) = place.split_once(':').unwrap_or((place, "22"));
        is_name(user) && is_name(host) && is_port(port) && !port.starts_with('+')
    })
}

/// The user, as the system knows it: `ssh` does not ask the environment.
pub(super) struct Account {
    id: u32,
    name: String,
    pub(super) home: String,
}

impl Account {
    pub(super) fn own() -> Option<Self> {
        let id = rustix::process::getuid().as_raw();
        let all = fs::read_to_string("/etc/passwd").ok()?;
        all.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, uid, _, _, home, _] = fields[..] else {
                return None;
            };
            let plain = !home.is_empty() && !home.contains([' ', '"', '%', '$']);
            (uid.parse() == Ok(id) && plain).then(|| Self {
                id,
                name: name.to_owned(),
                home: home.to_owned(),
            })
        })
    }
}

/// Where a file comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// `ssh -F`.
    Given,
    /// `~/.ssh/config`.
    Own,
    System,
    Included {
        by_user: bool,
    },
}

struct Reading<'a> {
    host: &'a str,
    account: Account,
    /// The first value of each keyword is the one that holds.
    values: BTreeMap<&'static str, String>,
    /// But key files add up.
    identities: Vec<String>,
}

impl Reading<'_> {
    fn file(&mut self, path: &Path, origin: Origin, depth: u8) -> Option<()> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && matches!(origin, Origin::Own | Origin::Included { .. }) =>
            {
                return Some(());
            }
            Err(_) => return None,
        };
        if matches!(origin, Origin::Own | Origin::Included { .. }) {
            // A file that others may write is refused, in ssh's own words.
            let file = fs::metadata(path).ok()?;
            if file.mode() & 0o022 != 0 || ![0, self.account.id].contains(&file.uid()) {
                return None;
            }
        }
        let mut active = true;
        for line in text.lines() {
            // Other blanks are none to ssh: it refuses what begins with one.
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
            if !line.bytes().all(is_plain) {
                return None;
            }
            let (keyword, value) = line.split_once([' ', '\t'])?;
            let value = value.trim();
            if line.bytes().any(|byte| b"\"'\\#".contains(&byte))
                || keyword.contains('=')
                || value.starts_with('=')
            {
                return None;
            }
            match keyword.to_ascii_lowercase().as_str() {
                "host" => active = self.is_named_by(value),
                "include" if active => self.include(value, origin, depth)?,
                "include" => {}
                keyword => self.keyword(keyword, value, active)?,
            }
        }
        Some(())
    }

    /// Whether a list of patterns names the host. One negated match outweighs all others.
    fn is_named_by(&self, patterns: &str) -> bool {
        let is = |pattern: &str| matches_wildcard(pattern.as_bytes(), self.host.as_bytes());
        let mut named = false;
        for pattern in patterns.split_whitespace() {
            match pattern.strip_prefix('!') {
                Some(negated) if is(negated) => return false,
                None if is(pattern) => named = true,
                _ => {}
            }
        }
        named
    }

    fn include(&mut self, value: &str, origin: Origin, depth: u8) -> Option<()> {
        if depth == DEEPEST || value.contains(['%', '$', '?', '[', '{']) {
            return None;
        }
        let by_user = !matches!(origin, Origin::System | Origin::Included { by_user: false });
        for word in value.split_whitespace() {
            let path = match word.strip_prefix("~/") {
                Some(below) if by_user => Path::new(&self.account.home).join(below),
                None if by_user && !word.starts_with('~') => {
                    Path::new(&self.account.home).join(".ssh").join(word)
                }
                None if !word.starts_with('~') => Path::new("/etc/ssh").join(word),
                _ => return None,
            };
            for file in expand(&path)? {
                self.file(&file, Origin::Included { by_user }, depth + 1)?;
            }
        }
        Some(())
    }

    /// Takes one keyword's value; nothing where it is more than plain.
    fn keyword(&mut self, keyword: &str, value: &str, active: bool) -> Option<()> {
        let word = || (!value.contains([' ', '\t', '$', '%'])).then(|| value.to_owned());
        let one_of = |values: &[&str]| values.contains(&value).then(|| value.to_owned());
        let (keyword, value) = match keyword {
            "hostname" => ("hostname", word()?.to_ascii_lowercase()),
            "user" => ("user", word()?),
            "port" => (
                "port",
                value.parse::<u16>().ok().filter(|p| *p > 0)?.to_string(),
            ),
            "hostkeyalias" => ("hostkeyalias", word()?.to_ascii_lowercase()),
            "proxyjump" => ("proxyjump", word().filter(|it| are_plain_hops(it))?),
            "identityagent" => ("identityagent", word()?),
            "identitiesonly" => ("identitiesonly", one_of(&["yes", "no"])?),
            "hashknownhosts" => ("hashknownhosts", one_of(&["yes", "no"])?),
            "stricthostkeychecking" => (
                "stricthostkeychecking",
                one_of(&["yes", "no", "off", "ask", "accept-new"])?,
            ),
            "connecttimeout" => (
                "connecttimeout",
                value.parse::<u16>().ok().filter(|s| *s > 0)?.to_string(),
            ),
            "userknownhostsfile" => ("userknownhostsfile", self.files(value)?),
            "globalknownhostsfile" => ("globalknownhostsfile", self.files(value)?),
            "identityfile" => {
                if value == "none" || value.contains([' ', '\t', '$']) {
                    return None;
                }
                if active && !self.identities.iter().any(|known| known == value) {
                    self.identities.push(value.to_owned());
                }
                return Some(());
            }
            "canonicalizehostname" => return one_of(&["no"]).map(|_| ()),
            other => return INDIFFERENT.contains(&other).then_some(()),
        };
        if active {
            self.values.entry(keyword).or_insert(value);
        }
        Some(())
    }

    /// A list of files with the home for `~`.
    fn files(&self, value: &str) -> Option<String> {
        let files: Option<Vec<_>> = value
            .split_whitespace()
            .map(|file| match file.strip_prefix("~/") {
                Some(below) => Some(format!("{}/{below}", self.account.home)),
                None => (!file.starts_with('~')).then(|| file.to_owned()),
            })
            .collect();
        (!value.contains(['%', '$'])).then_some(files?.join(" "))
    }

    /// All of it, with the defaults for what was not set.
    fn said(mut self) -> Option<String> {
        let home = &self.account.home;
        let default = [
            ("hostname", self.host.to_owned()),
            ("user", self.account.name.clone()),
            ("port", "22".to_owned()),
            (
                "userknownhostsfile",
                format!("{home}/.ssh/known_hosts {home}/.ssh/known_hosts2"),
            ),
            (
                "globalknownhostsfile",
                "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2".to_owned(),
            ),
        ];
        for (keyword, value) in default {
            self.values.entry(keyword).or_insert(value);
        }
        if self.identities.is_empty() {
            let kinds = ["rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"];
            self.identities = kinds.map(|kind| format!("~/.ssh/id_{kind}")).into();
        }
        // A host that is its own jump host: ssh sees to that.
        let jumps = self.values.get("proxyjump").map_or("", String::as_str);
        if jumps
            .split([',', '@', ':', '/'])
            .any(|hop| hop == self.host || hop == self.values["hostname"])
        {
            return None;
        }
        let mut text = String::new();
        for (keyword, value) in &self.values {
            let _ = writeln!(text, "{keyword} {value}");
        }
        for file in &self.identities {
            let _ = writeln!(text, "identityfile {file}");
        }
        Some(text)
    }
}

/// The files of a path whose last part may have `*` in it, in order.
pub(super) fn expand(path: &Path) -> Option<Vec<PathBuf>> {
    let text = path.to_str()?;
    if !text.contains('*') {
        return Some(vec![path.to_owned()]);
    }
    let (folder, pattern) = text.rsplit_once('/')?;
    if folder.contains('*') || pattern.starts_with('.') {
        return None;
    }
    let mut names: Vec<String> = match fs::read_dir(folder) {
        Ok(found) => found
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .filter(|name| matches_wildcard(pattern.as_bytes(), name.as_bytes()))
            .collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(_) => return None,
    };
    names.sort();
    let folder = Path::new(folder);
    Some(names.into_iter().map(|name| folder.join(name)).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::super::config::{Settings, read};
    use super::*;

    /// What `ssh -G` makes of it, but for default keys of kinds that nobody can use any more.
    fn asked(target: &Target, file: Option<&Path>) -> Settings {
        let mut ssh = Command::new(SSH);
        ssh.arg("-G");
        if let Some(file) = file {
            ssh.arg("-F").arg(file);
        }
        if let Some(user) = &target.user {
            ssh.arg("-l").arg(user);
        }
        if let Some(port) = target.port {
            ssh.arg("-p").arg(port.to_string());
        }
        let output = ssh.arg("--").arg(&target.host).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let text: String = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.ends_with("/.ssh/id_xmss") && !line.ends_with("/.ssh/id_dsa"))
            .fold(String::new(), |text, line| text + line + "\n");
        read(&text, target).unwrap()
    }

    fn told(target: &Target, file: Option<&Path>) -> Option<Settings> {
        Some(read(&answer(target, file)?, target).unwrap())
    }

    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn is_here() -> bool {
        let here = cfg!(target_os = "linux")
            && system_ssh().is_some_and(|ssh| ssh == Path::new(SSH))
            && Account::own().is_some();
        if !here {
            eprintln!("SKIPPED: {SSH} is not the system's ssh");
        }
        here
    }

    fn target(text: &str) -> Target {
        let (user, rest) = match text.split_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.split_once('/') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (rest, None),
        };
        Target {
            user,
            host: host.to_owned(),
            port,
        }
    }

    fn written(text: &str) -> (TempDir, PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    const PLAIN: &str = "\
# all of it
User everybody
Host spark-* !spark-09
\tHostName  10.0.0.1
  Port 2222
  IdentityFile ~/.ssh/one
  IdentityFile ~/.ssh/one
  IdentityFile /keys/%h
  IdentitiesOnly yes
  UserKnownHostsFile ~/.ssh/a /b/c
  SendEnv LANG LC_*

Host spark-01 spark-02
  ProxyJump alice@bastion:2200,inner
  StrictHostKeyChecking accept-new
  ConnectTimeout 7
Host *.lan
  HostName Upper.Example.COM
  HostKeyAlias Alias
  GlobalKnownHostsFile none
Host ?
  IdentityAgent ~/agent
Host *
  ProxyJump none
  IdentityFile ~/.ssh/last
  HashKnownHosts yes
";

    #[test]
    fn it_says_what_ssh_says() {
        if !is_here() {
            return;
        }
        let (_folder, path) = written(PLAIN);
        for host in [
            "spark-01",
            "spark-09",
            "bob@spark-02/22",
            "x.lan",
            "y",
            "10.0.0.7",
            "fe80::1",
        ] {
            let target = target(host);
            let found = told(&target, Some(&path));
            assert_eq!(found, Some(asked(&target, Some(&path))), "{host}");
        }
    }

    #[test]
    fn files_are_included_as_ssh_includes_them() {
        if !is_here() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("b.conf", "User b\nHost x\nPort 3\n"),
            ("a.conf", "Host y\nUser a\n"),
            (".hidden.conf", "User hidden\n"),
            ("off", "Host x\nUser off\n"),
        ] {
            fs::write(at(name), text).unwrap();
        }
        let here = folder.path().display();
        let text = format!(
            "Host none\nInclude {here}/off\nHost *\nInclude {here}/*.conf {here}/absent\n\
             Port 4\nHost x\nHostName z\n"
        );
        fs::write(at("config"), text).unwrap();
        for host in ["x", "y", "none"] {
            let target = target(host);
            let found = told(&target, Some(&at("config")));
            assert_eq!(found, Some(asked(&target, Some(&at("config")))), "{host}");
        }
    }

    #[test]
    fn the_configuration_of_this_machine_is_read_or_left_to_ssh() {
        if !is_here() {
            return;
        }
        for host in ["localhost", "nobody@example.com/2222"] {
            let target = target(host);
            if let Some(found) = told(&target, None) {
                assert_eq!(found, asked(&target, None), "{host}");
            }
        }
    }

    #[test]
    fn of_what_is_not_plain_it_says_nothing() {
        if !is_here() {
            return;
        }
        for text in [
            "Match all\nUser a",
            "Host \"a b\"",
            "User=a",
            "User = a",
            "User a # why",
            "HostName %h.lan",
            "IdentityFile ${HOME}/id",
            "IdentityFile none",
            "ProxyCommand nc %h %p",
            "UserKnownHostsFile ~else/known_hosts",
            "ConnectTimeout 1m",
            "CanonicalizeHostname yes",
            "Include ~else/config",
            "Include /a/*/b",
            "NoSuchKeyword yes",
            "ProxyJump a",
            "HostName b\nProxyJump c@b:2,d",
            "User",
            "StrictHostKeyChecking perhaps",
            // Also where it would not hold: ssh would refuse the file.
            "Host other\nPort none",
            "\u{b}User a",
            "User a\u{a0}",
            "User \u{e9}",
            "User a\rb",
            "ProxyJump one@gate:2?200,inner",
            "ProxyJump gate:220:2200",
        ] {
            let (_folder, path) = written(text);
            assert_eq!(answer(&target("a"), Some(&path)), None, "{text}");
        }
        let (folder, path) = written("");
        assert!(answer(&target("a"), Some(&path)).is_some());
        assert_eq!(
            answer(&target("A"), Some(&path)),
            None,
            "a name in capitals"
        );
        assert_eq!(answer(&target("a"), Some(&folder.path().join("no"))), None);
    }

    fn line() -> impl Strategy<Value = String> {
        let host = prop_oneof!["[ab*?]{1,3}", "![ab*?]{1,2}"];
        prop_oneof![
            3 => proptest::collection::vec(host, 1..3).prop_map(|all| format!("Host {}", all.join(" "))),
            2 => "(HostName|User|HostKeyAlias|IdentityFile) [a-cX]{1,3}",
            1 => "IdentityFile ~/[ab]/%[hrpd]",
            1 => "Port [1-9][0-9]{1,3}",
            1 => "(IdentitiesOnly|HashKnownHosts|StrictHostKeyChecking) (yes|no)",
            1 => "ProxyJump (none|a|b@a|b@a:22,c)",
            1 => "(User|Global)KnownHostsFile (none|~/[ab]|/[ab]( /[cd])?)",
            1 => "IdentityAgent (none|SSH_AUTH_SOCK|/[ab]|~/[ab])",
            1 => "\t (ConnectTimeout|ServerAliveInterval)  [1-9]\t",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_is_plain_is_read_as_ssh_reads_it(
            lines in proptest::collection::vec(line(), 0..12), host in "[ab]{1,3}"
        ) {
            if !is_here() {
                return Ok(());
            }
            let (_folder, path) = written(&lines.join("\n"));
            let target = target(&host);
            let found = told(&target, Some(&path));
            prop_assume!(found.is_some());
            prop_assert_eq!(found, Some(asked(&target, Some(&path))));
        }
    }

    /// What `ssh -G` makes of a file, if it takes it.
    fn taken(target: &Target, file: &Path) -> Option<String> {
        let mut ssh = Command::new(SSH);
        ssh.arg("-G")
            .arg("-F")
            .arg(file)
            .arg("--")
            .arg(&target.host);
        let output = ssh.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_old =
            |line: &&str| line.ends_with("/.ssh/id_xmss") || line.ends_with("/.ssh/id_dsa");
        let lines = text.lines().filter(|line| !is_old(line));
        output
            .status
            .success()
            .then(|| lines.fold(String::new(), |text, line| text + line + "\n"))
    }

    /// Of whatever stands in a configuration, it says what ssh says, or nothing.
    #[test]
    fn fuzz_ssh_config() {
        let words = [
            "Host ",
            "Match all\n",
            "HostName ",
            "Port 22\n",
            "User x\n",
            "IdentityFile ~/%h\n",
            "\"",
            "=",
            "%%",
            "${HOME}",
            "ProxyJump a,b@c:1\n",
            "Include x\n",
            "UserKnownHostsFile none\n",
            "StrictHostKeyChecking ask\n",
            "\r\n",
            "#",
            "!a",
            "*",
            "?",
        ];
        if !is_here() {
            return;
        }
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("config");
        let target = target("ab");
        crate::fuzz::run("ssh_config", &words, |input| {
            fs::write(&file, input).unwrap();
            let Some(told) = answer(&target, Some(&file)) else {
                return crate::fuzz::sort_of(memchr::memchr_iter(b'\n', input).count());
            };
            let told = read(&told, &target);
            let asked = taken(&target, &file).expect("ssh refuses what is taken here");
            assert_eq!(told, read(&asked, &target));
            crate::fuzz::sort_of(format!("{told:?}"))
        });
    }
}
