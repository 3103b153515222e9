//! How a host is reached, as OpenSSH itself reads its configuration.
//!
//! Where `plain` does not know, `ssh -G` is asked (8 ms): it knows `Include`, `Match`, tokens and
//! defaults better than any second reader would. Where there is no `ssh`, plain defaults hold.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::node::unreachable::Obstacle;

use super::plain;
use super::target::Target;

/// What to do with a host key that is in no `known_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Refuse it: `yes`, and `ask` too, for nobody can be asked while twenty nodes connect.
    Refuse,
    /// Take it and write it down; refuse one that changed.
    AcceptNew,
    /// Take any.
    AcceptAny,
}

impl Strictness {
    /// Reads the value of `StrictHostKeyChecking`.
    fn of(value: Option<&str>) -> Self {
        match value {
            Some("accept-new") => Self::AcceptNew,
            Some("no" | "off" | "false") => Self::AcceptAny,
            _ => Self::Refuse,
        }
    }
}

/// Everything that a connection to one host needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) identity_files: Vec<PathBuf>,
    pub(super) identities_only: bool,
    /// The agent's socket.
    pub(super) agent: Option<PathBuf>,
    pub(super) jumps: Vec<Target>,
    pub(super) host_key_alias: Option<String>,
    pub(super) user_known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    pub(super) hash_known_hosts: bool,
    pub(super) strictness: Strictness,
    pub(super) connect_timeout: Option<Duration>,
}

/// How a host is reached.
pub(super) async fn resolve(target: &Target, file: Option<&Path>) -> Result<Settings, Obstacle> {
    let unusable = |reason: String| Obstacle::Configuration {
        host: target.host.clone(),
        reason,
    };
    if let Some(text) = plain::answer(target, file) {
        return read(&text, target).map_err(unusable);
    }
    let mut ssh = Command::new("ssh");
    ssh.arg("-G").stdin(Stdio::null()).kill_on_drop(true);
    if let Some(file) = file {
        ssh.arg("-F").arg(file);
    }
    if let Some(user) = &target.user {
        ssh.arg("-l").arg(user);
    }
    if let Some(port) = target.port {
        ssh.arg("-p").arg(port.to_string());
    }
    ssh.arg("--").arg(&target.host);
    let asked = tokio::time::timeout(Duration::from_secs(20), ssh.output()).await;
    let text = match asked {
        Ok(Ok(output)) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(unusable(said.trim().to_owned()));
        }
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound && file.is_none() => defaults(target),
        Ok(Err(error)) => return Err(unusable(format!("`ssh` cannot be run: {error}"))),
        Err(_) => return Err(unusable("`ssh -G` gave no answer".to_owned())),
    };
    read(&text, target).map_err(unusable)
}

/// What `ssh -G` says where there is neither a configuration nor an `ssh`.
fn defaults(target: &Target) -> String {
    let user = target.user.clone().or_else(|| std::env::var("USER").ok());
    let mut text = format!(
        "hostname {}\nuser {}\nport {}\n",
        target.host,
        user.unwrap_or_else(|| "root".to_owned()),
        target.port.unwrap_or(22)
    );
    text.push_str(
        "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\nidentityfile ~/.ssh/id_ed25519\n\
         userknownhostsfile ~/.ssh/known_hosts ~/.ssh/known_hosts2\n\
         globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2\n",
    );
    text
}

/// Reads the answer of `ssh -G`: one `key value` a line.
pub(super) fn read(text: &str, target: &Target) -> Result<Settings, String> {
    let all = |key: &str| {
        let found = text.lines().filter_map(move |line| {
            let (name, value) = line.split_once(' ')?;
            name.eq_ignore_ascii_case(key).then_some(value.trim())
        });
        found.collect::<Vec<_>>()
    };
    let one = |key: &str| {
        let value = all(key).first().copied()?;
        (!value.is_empty() && value != "none").then_some(value)
    };
    if let Some(command) = one("proxycommand") {
        return Err(format!(
            "it is reached by `ProxyCommand {command}`, which is not supported; ProxyJump is"
        ));
    }
    let host = one("hostname").unwrap_or(&target.host).to_owned();
    let user = one("user").unwrap_or("root").to_owned();
    let port = one("port").and_then(|port| port.parse().ok()).unwrap_or(22);
    let tokens = Tokens {
        target: &target.host,
        host: &host,
        user: &user,
        port,
    };
    let files = |key: &str| -> Vec<PathBuf> {
        all(key)
            .into_iter()
            .flat_map(words)
            .filter(|path| path != "none")
            .map(|path| tokens.path(&path))
            .collect()
    };
    Ok(Settings {
        identity_files: all("identityfile")
            .into_iter()
            .filter(|path| *path != "none")
            .map(|path| tokens.path(path.trim_matches('"')))
            .collect(),
        identities_only: one("identitiesonly") == Some("yes"),
        agent: agent(all("identityagent").first().copied(), &tokens),
        jumps: jumps(one("proxyjump"))?,
        host_key_alias: one("hostkeyalias").map(str::to_owned),
        user_known_hosts: files("userknownhostsfile"),
        global_known_hosts: files("globalknownhostsfile"),
        hash_known_hosts: one("hashknownhosts") == Some("yes"),
        strictness: Strictness::of(one("stricthostkeychecking")),
        connect_timeout: one("connecttimeout")
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
        host,
        port,
        user,
    })
}

fn jumps(value: Option<&str>) -> Result<Vec<Target>, String> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    value
        .split(',')
        .map(|hop| {
            Target::jump(hop.trim()).ok_or_else(|| format!("`ProxyJump {value}` cannot be read"))
        })
        .collect()
}

fn agent(value: Option<&str>, tokens: &Tokens<'_>) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    match value {
        Some("none") => None,
        None | Some("" | "SSH_AUTH_SOCK") => named("SSH_AUTH_SOCK").map(PathBuf::from),
        Some(path) => match path.strip_prefix('$') {
            Some(name) => named(name.trim_matches(['{', '}'])).map(PathBuf::from),
            None => Some(tokens.path(path.trim_matches('"'))),
        },
    }
}

/// Splits a list of paths, of which some may be quoted.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in value.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// What the tokens of a path stand for.
struct Tokens<'a> {
    target: &'a str,
    host: &'a str,
    user: &'a str,
    port: u16,
}

impl Tokens<'_> {
    fn path(&self, text: &str) -> PathBuf {
        let home = std::env::home_dir().unwrap_or_default();
        let mut path = String::new();
        let mut rest = text;
        if let Some(below) = rest.strip_prefix("~/") {
            path.push_str(&home.to_string_lossy());
            path.push('/');
            rest = below;
        }
        while let Some((before, after)) = rest.split_once('%') {
            path.push_str(before);
            let mut chars = after.chars();
            match chars.next() {
                Some('%') | None => path.push('%'),
                Some('d') => path.push_str(&home.to_string_lossy()),
                Some('h') => path.push_str(self.host),
                Some('n') => path.push_str(self.target),
                Some('p') => path.push_str(&self.port.to_string()),
                Some('r') => path.push_str(self.user),
                Some('u') => path.push_str(&std::env::var("USER").unwrap_or_default()),
                Some(other) => path.extend(['%', other]),
            }
            rest = chars.as_str();
        }
        path.push_str(rest);
        PathBuf::from(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> Target {
        Target {
            user: None,
            host: host.to_owned(),
            port: None,
        }
    }

    #[test]
    fn the_answer_of_ssh_is_read() {
        let text = "\
user nvidia
hostname 192.168.1.76
port 2222
identitiesonly yes
identityfile /keys/%h-%r-%p
identityfile ~/.ssh/id
identityagent none
proxyjump alice@bastion:2200,inner
hostkeyalias spark
userknownhostsfile /a/known_hosts \"/b c/known_hosts\"
globalknownhostsfile none
stricthostkeychecking accept-new
connecttimeout 7
";
        let settings = read(text, &target("spark-01")).unwrap();
        let home = std::env::home_dir().unwrap();
        assert_eq!(
            settings,
            Settings {
                host: "192.168.1.76".into(),
                port: 2222,
                user: "nvidia".into(),
                identity_files: vec![
                    "/keys/192.168.1.76-nvidia-2222".into(),
                    home.join(".ssh/id")
                ],
                identities_only: true,
                agent: None,
                jumps: vec![
                    Target {
                        user: Some("alice".into()),
                        host: "bastion".into(),
                        port: Some(2200)
                    },
                    target("inner"),
                ],
                host_key_alias: Some("spark".into()),
                user_known_hosts: vec!["/a/known_hosts".into(), "/b c/known_hosts".into()],
                global_known_hosts: vec![],
                hash_known_hosts: false,
                strictness: Strictness::AcceptNew,
                connect_timeout: Some(Duration::from_secs(7)),
            }
        );
    }

    #[test]
    fn without_ssh_plain_defaults_hold() {
        let spark = Target {
            user: Some("nvidia".into()),
            host: "spark-01".into(),
            port: Some(2200),
        };
        let settings = read(&defaults(&spark), &spark).unwrap();
        assert_eq!(settings.host, "spark-01");
        assert_eq!(settings.user, "nvidia");
        assert_eq!(settings.port, 2200);
        assert_eq!(settings.strictness, Strictness::Refuse);
        assert_eq!(settings.identity_files.len(), 3);
        assert_eq!(settings.user_known_hosts.len(), 2);
    }

    #[test]
    fn a_proxy_command_is_refused_by_name() {
        let error = read("proxycommand nc %h %p", &target("a")).unwrap_err();
        assert!(error.contains("`ProxyCommand nc %h %p`"), "{error}");
        assert!(read("proxycommand none", &target("a")).is_ok());
    }
}
