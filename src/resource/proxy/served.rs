//! What a running proxy says that it serves.

use crate::node::{quote, quote_path};
use crate::proxy::control::{Reply, Status};
use crate::resource::facts::{Fact, Facts};
use crate::resource::node_files::StateFolder;

/// The control socket, in the folder that the proxy runs in. A short relative name: the path of a
/// unix socket may have no more than 107 bytes.
pub(super) const SOCKET: &str = "proxy.sock";

/// The fact that [`read`] reads. Any `replica` on the node can tell it; where none can that is a file,
/// the one can that runs.
pub(super) fn fact(folder: &StateFolder, mark_prefix: &str) -> Fact {
    let script = format!(
        "cd {} 2>/dev/null || exit 0\n[ -S {SOCKET} ] || exit 0\n\
         r_socket={SOCKET} r_mark={}\nset -- {}/replica-*\n{}",
        quote_path(&folder.run()),
        quote(mark_prefix),
        quote_path(&folder.binaries()),
        include_str!("served.sh")
    );
    Fact::new(id(folder), script)
}

fn id(folder: &StateFolder) -> String {
    format!("served {}", folder.run())
}

/// Reads the fact: nothing where no proxy answers.
pub(super) fn read(folder: &StateFolder, facts: &Facts) -> Option<Status> {
    let replies = facts.get(&id(folder)).lines();
    replies
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|reply| match reply {
            Reply::Done(status) => Some(*status),
            Reply::Waiting { .. } | Reply::Refused { .. } => None,
        })
}
