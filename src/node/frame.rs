//! How a script travels: on the standard input of `sh -s`, its output told from the login shell's.
//!
//! A login shell may talk before our shell starts (`.bashrc`, a message of the day), so the script
//! first writes a random marker to both outputs and everything before it is dropped. What the login
//! shell's start files export would change what tools print: before anything else the environment is
//! made neutral.
//!
//! `dash` reads its input in blocks, `bash` byte by byte: what follows a script may or may not be
//! swallowed by the shell. So a script is one compound command on whose last line `exit` stands.
//! A shell reads that whole before it runs any of it, and nothing else is sent until the marker is
//! seen.

use bytes::Bytes;

/// What the script may do with its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdin {
    /// It has none.
    Closed,
    /// It has none, and everything that it started is ended when the client goes.
    Lifeline,
    /// It reads what the client sends after the marker.
    Open,
}

/// How much of a login shell's talk is kept to be shown.
const TALK: usize = 64 * 1024;

/// A marker that no login shell writes.
pub(super) fn marker() -> String {
    format!(
        "replica-{:016x}{:016x}",
        fastrand::u64(..),
        fastrand::u64(..)
    )
}

/// The text that makes a shell run a script between its markers.
pub(super) fn frame(script: &str, marker: &str, stdin: Stdin) -> String {
    let neutral = include_str!("script/neutral.sh").trim_end();
    let begin = format!("{neutral}\necho {marker}; echo {marker} >&2");
    match stdin {
        Stdin::Closed => format!("{{\n{begin}\n{script}\n}} </dev/null; exit\n"),
        Stdin::Open => format!("{{\n{begin}\n{script}\n}}; exit\n"),
        Stdin::Lifeline => {
            let lifeline = include_str!("script/lifeline.sh").trim_end();
            format!(
                "{{\n{begin}\n{lifeline}\n(\nexec 3<&-\n{script}\n) </dev/null\n\
                 r_status=$?\nkill \"$r_lifeline\" 2>/dev/null\nexit \"$r_status\"\n}}; exit\n"
            )
        }
    }
}

/// One output of a script: drops what comes before the marker.
#[derive(Debug)]
pub(super) struct AfterMarker {
    /// The marker with its line end; empty once it was seen.
    marker: Vec<u8>,
    before: Vec<u8>,
}

impl AfterMarker {
    pub(super) fn new(marker: &str) -> Self {
        Self {
            marker: format!("{marker}\n").into_bytes(),
            before: Vec::new(),
        }
    }

    /// Whether the marker came.
    pub(super) fn seen(&self) -> bool {
        self.marker.is_empty()
    }

    /// What came instead of the marker.
    pub(super) fn talk(&self) -> String {
        String::from_utf8_lossy(&self.before).trim().to_owned()
    }

    /// Takes what came, and returns what of it is the script's.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.seen() {
            return piece;
        }
        let searched = self.before.len().saturating_sub(self.marker.len());
        self.before.extend_from_slice(&piece);
        let found = self.before[searched..]
            .windows(self.marker.len())
            .position(|window| window == self.marker)
            .map(|at| searched + at + self.marker.len());
        if let Some(end) = found {
            self.marker.clear();
            return Bytes::from(std::mem::take(&mut self.before)).slice(end..);
        }
        if self.before.len() > 2 * TALK {
            self.before.drain(..TALK);
        }
        Bytes::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_before_the_marker_is_dropped(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            output in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 1usize..40,
        ) {
            let marker = marker();
            let mut all = noise;
            all.extend_from_slice(marker.as_bytes());
            all.push(b'\n');
            all.extend_from_slice(&output);
            let mut filter = AfterMarker::new(&marker);
            let mut passed = Vec::new();
            for piece in all.chunks(cut) {
                passed.extend_from_slice(&filter.pass(Bytes::copy_from_slice(piece)));
            }
            prop_assert_eq!(passed, output);
        }
    }

    /// What start files were seen to export, and their kin.
    const EXPORTED: &[(&str, &str)] = &[
        ("QUOTING_STYLE", "shell-always"),
        ("LS_COLORS", "di=1"),
        ("TIME_STYLE", "+%Y"),
        ("BLOCK_SIZE", "1M"),
        ("POSIXLY_CORRECT", "1"),
        ("GREP_OPTIONS", "-v"),
        ("LC_ALL", "de_DE.UTF-8"),
        ("IFS", "e"),
        ("CDPATH", "/"),
        ("TMOUT", "1"),
        ("SHELLOPTS", "errexit:nounset:noclobber:noglob:pipefail"),
        ("BASHOPTS", "failglob:nocaseglob"),
        ("BASH_FUNC_ls%%", "() { echo a fool; }"),
        ("BASH_FUNC_cd%%", "() { echo a fool; }"),
        ("BASH_FUNC_echo%%", "() { printf 'a fool'; }"),
        ("BASH_FUNC_awk%%", "() { false; }"),
    ];

    /// Prints what would be otherwise where one of them had its way.
    const SCRIPT: &str = r#"
        ls -d '/proc/self'
        set -- $(printf 'one two'); echo $#
        cd dev; pwd
        : >"$r_file"; : >"$r_file" && echo $unset_is_empty written
        false; echo /nowhere/at/all*
        printf 'a\nb\n' | grep a
        ls -s "$r_file" | awk '{ print $1 }'
        env | sed -n 's/^LC_ALL=//p; s/^POSIXLY_CORRECT=/posix/p'
    "#;

    #[test]
    fn whatever_start_files_export_tools_print_the_same() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for shell in ["/bin/sh", "/bin/bash"] {
            if !std::path::Path::new(shell).exists() {
                continue;
            }
            // By this name bash is what it is on systems where it is `sh`.
            let sh = folder.path().join("sh");
            let _ = std::fs::remove_file(&sh);
            std::os::unix::fs::symlink(shell, &sh).unwrap();
            let script = format!("r_file='{}'\n{SCRIPT}", file.display());
            let mut child = Command::new(&sh)
                .arg("-s")
                .current_dir("/")
                .envs(EXPORTED.iter().copied())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let framed = frame(&script, "MARK", Stdin::Closed);
            let mut input = child.stdin.take().unwrap();
            input.write_all(framed.as_bytes()).unwrap();
            drop(input);
            let output = child.wait_with_output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "MARK\n/proc/self\n2\n/dev\nwritten\n/nowhere/at/all*\na\n0\nC\n",
                "{shell}"
            );
        }
    }

    #[test]
    fn endless_talk_does_not_pile_up() {
        let mut filter = AfterMarker::new(&marker());
        for _ in 0..64 {
            assert!(filter.pass(Bytes::from(vec![b'x'; 16 * 1024])).is_empty());
        }
        assert!(filter.talk().len() <= 3 * TALK);
    }
}
