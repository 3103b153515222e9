//! Commands of ours in what is said, as whoever reads them can paste them.

use std::borrow::Cow;

use crate::node::quote;

/// The manifest that a command takes where none is named.
const DEFAULT: &str = "topology.yaml";

/// Those that take a manifest as their first word.
const COMMANDS: [&str; 9] = [
    "validate", "plan", "apply", "destroy", "status", "logs", "bench", "report", "output",
];

/// A command on a manifest, in words for a shell: `replica apply manifests/local.yaml`.
pub fn command(words: &str, manifest: &str) -> String {
    let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
    let named = match manifest {
        DEFAULT => String::new(),
        other => format!(" {}", quote(other)),
    };
    let rest = if rest.is_empty() {
        ""
    } else {
        &words[verb.len()..]
    };
    format!("replica {verb}{named}{rest}")
}

/// A hint in which commands name the manifest. Rooms know of none, and write `` `replica logs
/// instance.a` ``: what stands in backticks and begins so is a command to be pasted.
pub fn pasteable<'a>(hint: &'a str, manifest: &str) -> Cow<'a, str> {
    const OPEN: &str = "`replica ";
    if !hint.contains(OPEN) {
        return Cow::Borrowed(hint);
    }
    let mut pieces = hint.split(OPEN);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (words, after) = piece.split_once('`').unwrap_or((piece, ""));
        let verb = words.split(' ').next().unwrap_or_default();
        let words = if COMMANDS.contains(&verb) {
            command(words, manifest)
        } else {
            format!("replica {words}")
        };
        out.extend(["`", &words, "`", after]);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_the_manifest_unless_it_is_the_one_that_is_looked_for() {
        let hint =
            "`replica status` names it, `replica logs instance.a -n 5` tells; see `replica --help`";
        assert_eq!(pasteable(hint, "topology.yaml"), hint);
        assert_eq!(
            pasteable(hint, "it's mine/a.yaml"),
            r"`replica status 'it'\''s mine/a.yaml'` names it, `replica logs 'it'\''s mine/a.yaml' instance.a -n 5` tells; see `replica --help`"
        );
        for hint in ["lower `max_num_seqs`", "end it", ""] {
            assert_eq!(pasteable(hint, "a.yaml"), hint);
        }
        assert_eq!(command("apply", "a.yaml"), "replica apply a.yaml");
    }
}
