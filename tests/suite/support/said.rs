//! What a command said, and a command that has not said all yet.

use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::process::{Signal, signal};

/// A command that has ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Said {
    pub(crate) words: String,
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(super) fn new(words: String, output: &Output) -> Self {
        Self {
            words,
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Goes on only with this exit code; shows everything otherwise.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The one document on the standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Goes on only if the standard output has this in it.
    #[track_caller]
    pub(crate) fn shows(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no `{text}` in\n{self}");
        self
    }

    /// Goes on only if the standard error has this in it.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no `{text}` in\n{self}");
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            words,
            code,
            out,
            err,
        } = self;
        write!(
            f,
            "$ {words}\n(exit {code:?})\n--- out\n{out}\n--- err\n{err}"
        )
    }
}

/// A command that runs. It is killed if nobody waits for it.
#[derive(Debug)]
pub(crate) struct Running {
    words: String,
    child: Option<Child>,
}

impl Running {
    /// Starts a command, and hears what it says.
    pub(crate) fn of(words: String, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self {
            words,
            child: Some(command.spawn().unwrap()),
        }
    }

    pub(crate) fn signal(&self, which: Signal) {
        if let Some(child) = &self.child {
            signal(child.id(), which);
        }
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Said {
        let child = self.child.take().expect("ends once");
        let output = child.wait_with_output().unwrap();
        Said::new(self.words.clone(), &output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
