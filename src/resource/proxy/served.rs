//! What a running proxy says that it serves.

use crate::node::quote_path;
use crate::proxy::control::{Reply, Status};
use crate::resource::contract::{Answers, Question};
use crate::resource::place::Folder;

/// The control socket, in the folder that the proxy runs in. A short relative name: the path of a
/// unix socket may have no more than 107 bytes.
pub(super) const SOCKET: &str = "proxy.sock";

/// Returns the question that [`read`] is read from. Any `replica` on the node can ask it.
pub(super) fn question(folder: &Folder) -> Question {
    let script = format!(
        "cd {} 2>/dev/null || exit 0\n[ -S {SOCKET} ] || exit 0\n\
         for program in {}/replica-*; do :; done\n\
         [ -x \"$program\" ] && echo '\"status\"' | \"$program\" proxy-control {SOCKET} --timeout 5 2>/dev/null\ntrue\n",
        quote_path(&folder.run()),
        quote_path(&folder.binaries())
    );
    Question::new(id(folder), script)
}

fn id(folder: &Folder) -> String {
    format!("served {}", folder.run())
}

/// Reads the answer: nothing where no proxy answers.
pub(super) fn read(folder: &Folder, answers: &Answers) -> Option<Status> {
    let replies = answers.to(&id(folder)).lines();
    replies
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|reply| match reply {
            Reply::Done(status) => Some(status),
            Reply::Waiting { .. } | Reply::Refused { .. } => None,
        })
}
