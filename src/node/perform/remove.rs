//! Removing files of ours.

use crate::node::{Command, Node, quote, quote_path};
use crate::plan::Failure;

/// What goes with the last thing that was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emptied {
    /// Folders that a removal leaves empty go too, up to this one and with it.
    pub root: &'static str,
    /// The name of a folder below it, …
    pub last: &'static str,
    /// … with which, once it is empty, goes the one of this name beside it, whatever is in that.
    pub beside: &'static str,
}

/// Removes paths of a node, folders with what is in them, and what goes with the last of them. What
/// is not there is removed already.
///
/// # Errors
///
/// When a path is not deep enough to be ours, or cannot be removed.
pub async fn remove(node: &Node, paths: &[String], emptied: Emptied) -> Result<(), Failure> {
    if let Some(path) = paths.iter().find(|path| !is_deep(path)) {
        return Err(Failure::new(format!(
            "`{path}` is not removed: it may hold what is not ours"
        )));
    }
    let words: Vec<_> = paths.iter().map(|path| quote_path(path)).collect();
    let script = format!(
        "r_root={} r_last={} r_beside={}\nset -- {}\n{}",
        quote_path(emptied.root),
        quote(emptied.last),
        quote(emptied.beside),
        words.join(" "),
        include_str!("../script/remove.sh")
    );
    let output = node.run(&Command::script(script)).await?;
    if output.success() {
        Ok(())
    } else {
        Err(Failure::new(output.complaint()))
    }
}

/// Whether a path is absolute or in the home, well below either, and leads nowhere else: a
/// slip of the pen must not cost a home.
fn is_deep(path: &str) -> bool {
    let (below, least) = match (path.strip_prefix("~/"), path.strip_prefix('/')) {
        (Some(below), _) => (below, 2),
        // `/home/nvidia` has two levels too.
        (None, Some(below)) => (below, 3),
        (None, None) => return false,
    };
    let parts: Vec<_> = below.split('/').filter(|part| !part.is_empty()).collect();
    parts.len() >= least && !parts.iter().any(|part| matches!(*part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deep_paths_are_removed() {
        for ours in ["~/.local/replica", "/tmp/replica/x", "~/a/b/"] {
            assert!(is_deep(ours), "{ours}");
        }
        for others in [
            "",
            "~",
            "~/",
            "/",
            "/home",
            "/home/nvidia",
            "~/src",
            "a/b",
            "~/a/../..",
            "/a/./b",
        ] {
            assert!(!is_deep(others), "{others}");
        }
    }
}
