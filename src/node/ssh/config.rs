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
use super::tokens::Tokens;

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
    /// The certificates that are named; where none is, each key may have one beside it.
    pub(super) certificate_files: Vec<PathBuf>,
    /// The agent's socket.
    pub(super) agent: Option<PathBuf>,
    pub(super) jumps: Vec<Target>,
    pub(super) host_key_alias: Option<String>,
    pub(super) user_known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    pub(super) hash_known_hosts: bool,
    /// The file of keys that no host may have.
    pub(super) revoked_host_keys: Option<PathBuf>,
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
    let alias = one("hostkeyalias").map(str::to_owned);
    let tokens = Tokens {
        target: &target.host,
        host: &host,
        user: &user,
        port,
        alias: alias.as_deref(),
    };
    let paths = |key: &'static str, values: Vec<String>| -> Result<Vec<PathBuf>, String> {
        let named = values.iter().filter(|path| *path != "none");
        let read = named.map(|path| {
            tokens
                .path(path)
                .map_err(|why| format!("`{key} {path}` {why}"))
        });
        read.collect()
    };
    let single = |values: Vec<&str>| values.iter().map(|value| unquoted(value)).collect();
    let lists = |values: Vec<&str>| values.into_iter().flat_map(listed).collect();
    Ok(Settings {
        identity_files: paths("IdentityFile", single(all("identityfile")))?,
        identities_only: one("identitiesonly") == Some("yes"),
        certificate_files: paths("CertificateFile", single(all("certificatefile")))?,
        agent: agent(all("identityagent").first().copied(), &tokens)?,
        jumps: jumps(one("proxyjump"), &tokens)?,
        user_known_hosts: paths("UserKnownHostsFile", lists(all("userknownhostsfile")))?,
        global_known_hosts: paths("GlobalKnownHostsFile", lists(all("globalknownhostsfile")))?,
        hash_known_hosts: one("hashknownhosts") == Some("yes"),
        revoked_host_keys: paths("RevokedHostKeys", single(all("revokedhostkeys")))?.pop(),
        strictness: Strictness::of(one("stricthostkeychecking")),
        connect_timeout: one("connecttimeout")
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs),
        host_key_alias: alias,
        host,
        port,
        user,
    })
}

fn jumps(value: Option<&str>, tokens: &Tokens<'_>) -> Result<Vec<Target>, String> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let hop = |hop: &str| {
        let hop = tokens
            .fill(hop.trim())
            .map_err(|why| format!("`ProxyJump {value}` {why}"))?;
        Target::jump(&hop).ok_or_else(|| format!("`ProxyJump {value}` cannot be read"))
    };
    value.split(',').map(hop).collect()
}

fn agent(value: Option<&str>, tokens: &Tokens<'_>) -> Result<Option<PathBuf>, String> {
    let named = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let path = match value {
        Some("none") => return Ok(None),
        None | Some("" | "SSH_AUTH_SOCK") => {
            return Ok(named("SSH_AUTH_SOCK").map(PathBuf::from));
        }
        Some(path) => unquoted(path),
    };
    match path.strip_prefix('$') {
        // The name of a variable alone, which may well be unset.
        Some(name) if !name.starts_with('{') => Ok(named(name).map(PathBuf::from)),
        _ => {
            let socket = tokens.path(&path);
            Ok(Some(
                socket.map_err(|why| format!("`IdentityAgent {path}` {why}"))?,
            ))
        }
    }
}

/// One path, which may be quoted.
fn unquoted(value: &str) -> String {
    value.trim_matches('"').to_owned()
}

/// Splits a list of paths. `ssh -G` leaves out the quotes of those with blanks in them: what begins
/// as no path does goes on with the one before it.
fn listed(value: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for (at, part) in value.split('"').enumerate() {
        if at % 2 == 1 {
            paths.push(part.to_owned());
            continue;
        }
        for word in part.split(' ') {
            match paths.last_mut() {
                Some(last) if !word.starts_with(['/', '~', '$', '%']) => {
                    last.push(' ');
                    last.push_str(word);
                }
                _ => paths.push(word.to_owned()),
            }
        }
    }
    let trimmed = paths.iter().map(|path| path.trim().to_owned());
    trimmed.filter(|path| !path.is_empty()).collect()
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
certificatefile /c d/id-cert.pub
revokedhostkeys none
identityagent none
proxyjump alice@bastion:2200,inner
hostkeyalias spark
userknownhostsfile /a/known_hosts /b c/known_hosts
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
                certificate_files: vec!["/c d/id-cert.pub".into()],
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
                revoked_host_keys: None,
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

    #[test]
    fn paths_in_a_list_may_have_blanks_in_them() {
        for (value, want) in [
            ("/a /b", vec!["/a", "/b"]),
            ("/x y/kh /root/kh2", vec!["/x y/kh", "/root/kh2"]),
            ("\"/x y/kh\" ~/kh2", vec!["/x y/kh", "~/kh2"]),
            ("known_hosts", vec!["known_hosts"]),
            ("/x  y", vec!["/x  y"]),
            ("none", vec!["none"]),
        ] {
            assert_eq!(listed(value), want, "{value}");
        }
    }

    #[test]
    fn what_a_path_names_and_is_not_there_is_told() {
        let refused = |line: &str| read(line, &target("a")).unwrap_err();
        assert_eq!(
            refused("identityfile ${REPLICA_TEST_UNSET}/id"),
            "`IdentityFile ${REPLICA_TEST_UNSET}/id` names a variable that is not set here"
        );
        assert_eq!(
            refused("certificatefile /c/%Z"),
            "`CertificateFile /c/%Z` has the token %Z, which stands for nothing here"
        );
        let jumping = read("user n\nproxyjump %r@gw-%n:22", &target("a")).unwrap();
        assert_eq!(jumping.jumps[0].host, "gw-a");
        assert_eq!(jumping.jumps[0].user.as_deref(), Some("n"));
    }
}
