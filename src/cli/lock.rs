//! The lock of a topology: held on each node by the connection itself, so that it cannot leak.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::error::Error;
use crate::name::NodeName;
use crate::node::{Command, Fleet, Held, Node, quote_path};
use crate::resource::StateFolder;

/// Locks that are held until this is dropped, or this process or its connections end.
#[derive(Default)]
pub(super) struct Locks {
    held: Vec<Held>,
    /// The nodes where nobody can have one, each with why. Nothing may be done there.
    pub(super) without: BTreeMap<NodeName, String>,
}

impl Locks {
    /// Lets go of all locks. They are seen to be gone before this returns: whoever starts the next
    /// run finds none.
    pub(super) async fn release(self) {
        for held in self.held {
            // The connection is on its way out; with it goes the lock in any case.
            let _ = held.release().await;
        }
    }
}

/// Takes the lock on every node that was reached, or says who holds it.
pub(super) async fn take(fleet: &Fleet, topology: &str) -> Result<Locks, Error> {
    let mut taking = JoinSet::new();
    let holder = holder();
    for node in fleet.reached() {
        let (node, topology, holder) = (node.clone(), topology.to_owned(), holder.clone());
        taking.spawn(async move { take_one(&node, &topology, &holder).await });
    }
    let mut locks = Locks::default();
    let mut refused = None;
    while let Some(taken) = taking.join_next().await {
        match taken {
            Ok(Ok(Taken::Held(one))) => locks.held.push(one),
            Ok(Ok(Taken::Without(node, why))) => drop(locks.without.insert(node, why)),
            Ok(Err(error)) => refused = Some(error),
            Err(_) => {}
        }
    }
    match refused {
        None => Ok(locks),
        Some(error) => {
            locks.release().await;
            Err(error)
        }
    }
}

/// What came of asking one node.
enum Taken {
    Held(Held),
    /// Nobody can have it there, for this reason.
    Without(NodeName, String),
}

async fn take_one(node: &Node, topology: &str, holder: &str) -> Result<Taken, Error> {
    let refused = |holder: String| Error::Locked {
        node: node.name().to_string(),
        holder,
    };
    let script = format!(
        "folder={} lock={}\n{}",
        quote_path(StateFolder::of_all()),
        quote_path(&StateFolder::of(topology).lock()),
        include_str!("lock.sh")
    );
    let command = Command::script(script).with("holder", holder);
    let unlockable = |why: String| {
        Error::refused(
            format!("{} cannot be locked: {why}", node.name()),
            "nothing was changed; a node needs a login shell that can `exec sh`",
        )
    };
    let mut held = match node.hold(&command).await {
        Ok(held) => held,
        Err(error) => return Err(unlockable(error.to_string())),
    };
    match held.next_line().await.as_deref() {
        Some("held") => Ok(Taken::Held(held)),
        Some(line) if line == holder => {
            let why = "another node of this manifest has the same folder".to_owned();
            Ok(Taken::Without(node.name().clone(), why))
        }
        Some(line) => Err(refused(line.to_owned())),
        None => match held.complaint() {
            Some(why) => Ok(Taken::Without(node.name().clone(), why.to_owned())),
            None => Err(unlockable("its shell did not answer".to_owned())),
        },
    }
}

/// Who takes the lock, and when, for whoever finds it taken.
fn holder() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = rustix::system::uname();
    format!(
        "{user}@{}, pid {}, since {}",
        host.nodename().to_string_lossy(),
        std::process::id(),
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Output, Stdio};

    /// What the script says where `flock` ends like this.
    fn said(flock: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let (tool, lock) = (folder.path().join("flock"), folder.path().join("t.lock"));
        fs::write(&tool, format!("#!/bin/sh\n{flock}\n")).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&lock, "ann@laptop, pid 7\n").unwrap();
        std::process::Command::new("/bin/sh")
            .args(["-c", include_str!("lock.sh")])
            .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
            .env("folder", folder.path())
            .env("lock", &lock)
            .env("holder", "us")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[test]
    fn a_lock_that_nobody_can_have_is_held_by_nobody() {
        let held = said("exit 1");
        assert_eq!(held.stdout, b"ann@laptop, pid 7\n");
        let none = said("echo 'flock: 9: No locks available' >&2; exit 71");
        assert_eq!(
            (none.stdout.as_slice(), none.status.code()),
            (&b""[..], Some(1))
        );
        assert_eq!(none.stderr, b"flock: 9: No locks available\n");
        assert_eq!(said("true").stdout, b"held\n");
    }
}
