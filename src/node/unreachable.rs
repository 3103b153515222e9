//! Why a node cannot be reached, in words for the person who has to mend it.

use std::path::PathBuf;
use std::time::Duration;

use crate::name::NodeName;

/// Why a node cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{node}` cannot be reached: {obstacle}")]
pub struct Unreachable {
    /// The node.
    pub node: NodeName,
    /// What stands in the way.
    pub obstacle: Obstacle,
}

impl Unreachable {
    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<String> {
        self.obstacle.hint()
    }
}

/// What stands in the way to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// One of the hosts on the way to it.
    #[error("on the way through `{hop}`: {obstacle}")]
    Hop {
        /// The jump host.
        hop: String,
        /// What stands in the way there.
        obstacle: Box<Obstacle>,
    },
    /// Nobody knows the name.
    #[error("no host is called `{host}`: {error}")]
    NoSuchHost {
        /// The host's name.
        host: String,
        /// What the resolver says.
        error: String,
    },
    /// The host answers, but not on this port.
    #[error("{host}:{port} refuses connections: no SSH server listens there")]
    Refused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The jump host before it lets nobody through.
    #[error("the sshd of the jump host before {host}:{port} forbids forwarding to it")]
    Forbidden {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The network has no way there.
    #[error("{host}:{port} cannot be connected to: {error}")]
    NoRoute {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        error: String,
    },
    /// Nothing came back in time.
    #[error("{host}:{port} {silent} within {:.0} s", after.as_secs_f64())]
    TimedOut {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What it did not do: `gave no answer`, `sent no SSH greeting`.
        silent: &'static str,
        /// The time that was allowed.
        after: Duration,
    },
    /// Connections are taken and then dropped, each time.
    #[error("{host}:{port} dropped {tries} connections before the login: {error}")]
    Dropped {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// How often it was tried.
        tries: u32,
        /// What the last of them ended with.
        error: String,
    },
    /// The two sides do not understand each other.
    #[error("no SSH session with {host}:{port}: {error}")]
    Protocol {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        error: String,
    },
    /// The host's key is in no `known_hosts`.
    #[error("the host key of `{name}` is not known ({algorithm} {fingerprint})")]
    UnknownKey {
        /// The name that it was looked up by.
        name: String,
        /// The key's algorithm.
        algorithm: String,
        /// The key's fingerprint, as `ssh` shows it.
        fingerprint: String,
        /// What this host is known by instead.
        known_by: KnownBy,
        /// The command that makes it known.
        command: String,
    },
    /// The host's key is not the one in `known_hosts`.
    #[error(
        "the host key of `{name}` is not the one in {}:{line} (now {algorithm} {fingerprint})",
        file.display()
    )]
    ChangedKey {
        /// The name that it was looked up by.
        name: String,
        /// The key's algorithm.
        algorithm: String,
        /// The fingerprint of the key that was shown.
        fingerprint: String,
        /// The file that holds the other one.
        file: PathBuf,
        /// The line there, counted from 1.
        line: usize,
    },
    /// The host's key is marked as revoked.
    #[error(
        "the host key of `{name}` is revoked in {}:{line} ({algorithm} {fingerprint})",
        file.display()
    )]
    RevokedKey {
        /// The name that it was looked up by.
        name: String,
        /// The key's algorithm.
        algorithm: String,
        /// Its fingerprint.
        fingerprint: String,
        /// The file that says so.
        file: PathBuf,
        /// The line there, counted from 1.
        line: usize,
    },
    /// The host does not let us in.
    #[error(
        "{host}:{port} does not let `{user}` in: {}",
        tried_words(tried, unusable)
    )]
    AuthRefused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// The user that asked.
        user: String,
        /// The keys that were offered, each with where it came from.
        tried: Vec<String>,
        /// The keys that could not be offered, each with why.
        unusable: Vec<String>,
        /// The ways in that the host still offers.
        offers: Vec<String>,
        /// Whether it hung up before everything was offered.
        hung_up: bool,
    },
    /// The SSH configuration cannot be used.
    #[error("the SSH configuration for `{host}` cannot be used: {reason}")]
    Configuration {
        /// The host as the manifest names it.
        host: String,
        /// Why.
        reason: String,
    },
}

/// What is known of a host whose key is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownBy {
    /// Nothing.
    Nothing,
    /// Keys of these algorithms.
    Keys(Box<[String]>),
    /// An authority that may vouch for its key, and why the certificate does not count, in words that
    /// go on after `its certificate`.
    Authority(Box<str>),
}

impl Obstacle {
    fn hint(&self) -> Option<String> {
        match self {
            Obstacle::Hop { obstacle, .. } => obstacle.hint(),
            Obstacle::NoSuchHost { .. } => Some(
                "check how it is spelt, or give it a HostName in ~/.ssh/config".to_owned(),
            ),
            Obstacle::Refused { port, .. } => Some(format!(
                "check that sshd runs there, and that {port} is its port"
            )),
            Obstacle::Forbidden { .. } => Some(
                "let the jump host's sshd through to it (AllowTcpForwarding, PermitOpen), or reach \
                 the node in another way"
                    .to_owned(),
            ),
            Obstacle::NoRoute { .. } | Obstacle::TimedOut { .. } => Some(
                "check that the machine is up, on this network, and not behind a firewall"
                    .to_owned(),
            ),
            Obstacle::Dropped { .. } => {
                Some("sshd may be at its MaxStartups limit; try again in a moment".to_owned())
            }
            Obstacle::Protocol { error, .. } => nothing_in_common(error),
            Obstacle::UnknownKey {
                known_by, command, ..
            } => Some(unknown_key_hint(known_by, command)),
            Obstacle::ChangedKey { name, file, .. } => Some(format!(
                "if the machine was really set up anew, remove the old key: ssh-keygen -R {} -f {}",
                super::quote(name),
                super::quote(&file.display().to_string())
            )),
            Obstacle::RevokedKey { .. } => Some(
                "somebody marked this key as stolen: do not connect before you know why".to_owned(),
            ),
            Obstacle::AuthRefused {
                host,
                tried,
                hung_up: true,
                ..
            } => Some(hung_up_hint(host, tried.len())),
            Obstacle::AuthRefused { user, offers, .. } => Some(auth_hint(user, offers)),
            Obstacle::Configuration { host, .. } => Some(format!(
                "see what ssh makes of it: ssh -G {}",
                super::quote(host)
            )),
        }
    }
}

fn unknown_key_hint(known_by: &KnownBy, command: &str) -> String {
    let hint = format!("compare the fingerprint with the machine's own, then: {command}");
    match known_by {
        KnownBy::Nothing => hint,
        KnownBy::Keys(algorithms) => format!(
            "{hint}; known so far: its {} key, which it did not show",
            algorithms.join(", ")
        ),
        KnownBy::Authority(why) => format!(
            "an authority in known_hosts may vouch for it, but its certificate {why}; mend that, or {hint}"
        ),
    }
}

fn auth_hint(user: &str, offers: &[String]) -> String {
    let mut hint = format!(
        "put a public key into ~{user}/.ssh/authorized_keys there, or load its private key with ssh-add"
    );
    if !offers.is_empty() && !offers.iter().any(|way| way == "publickey") {
        hint = format!("the host only offers {}; {hint}", offers.join(", "));
    }
    hint
}

/// What to change where the two sides know no algorithm in common, by russh's own words for that.
fn nothing_in_common(error: &str) -> Option<String> {
    let (kind, _) = error.strip_prefix("No common ")?.split_once(' ')?;
    let option = match kind {
        "Kex" => "KexAlgorithms",
        "Key" => "HostKeyAlgorithms",
        "Cipher" => "Ciphers",
        "Mac" => "MACs",
        _ => return None,
    };
    Some(format!(
        "let its sshd take one of `ours` too, by {option} in its sshd_config: ssh may know more"
    ))
}

/// One key more in the agent would only make it worse.
fn hung_up_hint(host: &str, tried: usize) -> String {
    format!(
        "it takes no more than so many keys of one login (its MaxAuthTries; {tried} were offered): name \
         the one that it knows for {host} in ~/.ssh/config, by IdentityFile and `IdentitiesOnly yes`"
    )
}

fn tried_words(tried: &[String], unusable: &[String]) -> String {
    let mut words = if tried.is_empty() {
        "there was no key to offer".to_owned()
    } else {
        format!("it refused {}", tried.join(", "))
    };
    if !unusable.is_empty() {
        words.push_str("; not usable: ");
        words.push_str(&unusable.join(", "));
    }
    words
}
