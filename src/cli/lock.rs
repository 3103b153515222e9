//! The lock of a topology: held on each node by the connection itself, so that it cannot leak.

use tokio::task::JoinSet;

use super::error::Error;
use crate::node::{Command, Fleet, Held, Node, quote_path};
use crate::resource::StateFolder;

/// Does the work while this topology is locked on every node that was reached. However the work
/// ends, the locks are seen to be gone before this returns: whoever starts the next run finds none.
pub(super) async fn locked<T>(
    fleet: &Fleet,
    topology: &str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let locks = take(fleet, topology).await?;
    let done = work.await;
    locks.release().await;
    done
}

/// Locks that are held until this is dropped, or this process or its connections end.
struct Locks {
    held: Vec<Held>,
}

impl Locks {
    /// Lets go of all locks.
    async fn release(self) {
        for held in self.held {
            // The connection is on its way out; with it goes the lock in any case.
            let _ = held.release().await;
        }
    }
}

/// Takes the lock on every node that was reached, or says who holds it.
async fn take(fleet: &Fleet, topology: &str) -> Result<Locks, Error> {
    let mut taking = JoinSet::new();
    for node in fleet.reached() {
        let (node, topology) = (node.clone(), topology.to_owned());
        taking.spawn(async move { take_one(&node, &topology).await });
    }
    let mut held = Vec::new();
    let mut refused = None;
    while let Some(taken) = taking.join_next().await {
        match taken {
            Ok(Ok(one)) => held.push(one),
            Ok(Err(error)) => refused = Some(error),
            Err(_) => {}
        }
    }
    match refused {
        None => Ok(Locks { held }),
        Some(error) => {
            Locks { held }.release().await;
            Err(error)
        }
    }
}

async fn take_one(node: &Node, topology: &str) -> Result<Held, Error> {
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
    let command = Command::script(script).with("holder", &holder());
    let unlockable = |why: String| {
        Error::refused(
            format!("{} cannot be locked: {why}", node.name()),
            "nothing was changed; a node needs flock, and a login shell that can `exec sh`",
        )
    };
    let mut held = match node.hold(&command).await {
        Ok(held) => held,
        Err(error) => return Err(unlockable(error.to_string())),
    };
    match held.next_line().await.as_deref() {
        Some("held") => Ok(held),
        Some(line) => Err(refused(line.to_owned())),
        None => Err(unlockable(
            held.complaint()
                .unwrap_or("its shell did not answer")
                .to_owned(),
        )),
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
