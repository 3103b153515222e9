//! Asking vLLM itself whether it takes the arguments of a start, before anything is stopped for it.
//!
//! Only its own parser and configuration know all that it refuses: a value out of range, a backend
//! that a platform lacks, two arguments that exclude each other. That takes some ten seconds, so
//! what it took once is noted on the node, and not asked again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::Instance;
use crate::node::{quote, quote_path};
use crate::plan::effect::{LogReader, RunScript};
use crate::plan::{Action, Effect, Operation};
use crate::resource::contract::Observation;
use crate::resource::node_files::NodeFiles;
use crate::resource::process::fingerprint;

/// What it may take in seconds until it is held that it cannot be asked: a busy node is slow to
/// import torch.
const LIMIT: u64 = 180;

impl Instance {
    /// What is to succeed before the server that runs is stopped for another.
    pub(super) fn ask_whether_accepted(&self, observed: &Observation) -> Vec<Operation> {
        let change = self.change(observed);
        let Some(vllm) = self.server.runtime.vllm() else {
            return Vec::new();
        };
        // One that is started anew as it was has been accepted before.
        let is_another = change.action == Action::Replace && !change.fields.is_empty();
        let (folder, digest) = (&self.managed.folder, self.arguments_digest(observed));
        let facts = observed.of(self.node());
        let is_noted = facts.is_some_and(|it| NodeFiles::read(folder, it).has_accepted(&digest));
        if !is_another || is_noted {
            return Vec::new();
        }
        let ask = RunScript {
            doing: "checking arguments".to_owned(),
            script: self.accept_script(&vllm.engine.venv, &folder.accepted(&digest), observed),
            secrets: BTreeMap::new(),
            lock: folder.accepted_lock(),
            patience: Duration::from_secs(2 * LIMIT),
            attempts: 1,
            log_reader: LogReader::Arguments,
        };
        vec![Operation::on(self.node(), Effect::RunScript(Box::new(ask)))]
    }

    /// Told apart by all that decides whether they are taken: not by what it is called, nor by its
    /// port.
    fn arguments_digest(&self, observed: &Observation) -> String {
        let spec = self.without_secrets(&self.spec(observed));
        let deciding = ["engine", "args", "env", "model", "revision"];
        let mut deciding: Vec<_> = deciding.iter().map(|key| &spec[*key]).collect();
        deciding.extend(["models", "path"].iter().filter_map(|key| spec.get(*key)));
        fingerprint(&json!(deciding))
    }

    fn accept_script(&self, venv: &str, note: &str, observed: &Observation) -> String {
        let mut script = format!("r_note={}\nr_ask() {{\n", quote_path(note));
        let argv = self.argv(&self.next_mark(observed), observed);
        // Behind the program and its subcommand.
        let words: Vec<_> = argv.iter().skip(2).map(|word| quote_path(word)).collect();
        let _ = writeln!(script, "set -- {}", words.join(" "));
        let folders: Vec<_> = self.path().iter().map(|it| quote_path(it)).collect();
        let _ = writeln!(script, "export PATH={}:\"$PATH\"", folders.join(":"));
        for (name, value) in self.plain_env(observed) {
            let _ = writeln!(script, "export {name}={}", quote(&value));
        }
        let python = quote_path(&format!("{venv}/bin/python"));
        let _ = writeln!(
            script,
            "nice timeout {LIMIT} {python} -c {} \"$@\"\n}}",
            quote(include_str!("accept.py"))
        );
        script.push_str(include_str!("accept.sh"));
        script
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};

    /// What the script says where asking ends like this.
    fn said(note: &Path, ask: &str) -> Output {
        let script = format!("r_ask() {{\n{ask}\n}}\n{}", include_str!("accept.sh"));
        Command::new("sh")
            .args(["-c", &script])
            .env("r_note", note)
            .output()
            .unwrap()
    }

    #[test]
    fn what_was_accepted_once_is_not_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("arguments.0f");
        let refused = said(&note, "echo noise; echo 'refused: x'; exit 65");
        assert_eq!(refused.status.code(), Some(1));
        assert!(refused.stdout.ends_with(b"refused: x\n"), "{refused:?}");
        assert!(!note.exists());
        assert!(said(&note, "echo noise").status.success());
        assert!(note.exists());
        let noted = said(&note, "echo 'refused: x'; exit 65");
        assert!(noted.status.success() && noted.stdout.is_empty());
    }

    #[test]
    fn who_cannot_be_asked_refuses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("arguments.0f");
        for (ask, why) in [
            (
                "echo 'ModuleNotFoundError: no vllm' >&2; exit 1",
                "ModuleNotFoundError: no vllm",
            ),
            ("exit 124", "status 124"),
        ] {
            let unasked = said(&note, ask);
            assert!(unasked.status.success(), "{unasked:?}");
            let text = String::from_utf8(unasked.stdout).unwrap();
            assert!(
                text.ends_with(&format!(
                    "outcome: vLLM could not be asked whether it takes its arguments: {why}\n"
                )),
                "{text}"
            );
            assert!(!note.exists(), "{ask}");
        }
    }
}
