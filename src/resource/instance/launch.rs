//! How an instance is started, believed, and stopped.

use std::time::Duration;

use serde_json::json;

use super::{Instance, Runtime};
use crate::plan::effect::{Check, Launch, LogReader, Probe, Stop, WaitReady};
use crate::plan::{Readiness, Service};
use crate::resource::contract::Observation;
use crate::resource::node_files::NodeFiles;
use crate::resource::process::{Mark, Session};

/// The variable by which vLLM takes its API key, so that the key is in no argument list.
const API_KEY: &str = "VLLM_API_KEY";

impl Instance {
    pub(super) fn launch(&self, mark: &Mark, observed: &Observation) -> Launch {
        Launch {
            address: self.managed.address.clone(),
            mark: mark.to_string(),
            spec: self.spec(observed).to_string(),
            argv: self.argv(mark, observed),
            path: self.path(),
            env: self.plain_env(observed),
            secret_env: self.secrets(),
            folder: self.managed.folder.run(),
            log: self.managed.log(mark),
            log_reader: LogReader::Vllm,
        }
    }

    fn argv(&self, mark: &Mark, observed: &Observation) -> Vec<String> {
        let mut words = self.command(observed);
        let port = self.server.port.to_string();
        for word in [
            "--host",
            &self.listens.on,
            "--port",
            &port,
            "--served-model-name",
        ] {
            words.push(word.to_owned());
        }
        words.push(self.served_model().to_owned());
        words.push(mark.nonce());
        words.extend(self.server.args.words());
        words
    }

    /// The program and what it is to serve: `vllm serve <snapshot>`.
    fn command(&self, observed: &Observation) -> Vec<String> {
        match &self.server.runtime {
            Runtime::Simulated(engine) => {
                let program = self.program.path(observed);
                let (model, profile) = (self.served_model(), engine.profile.name());
                let words = ["simulate", "serve", model, "--profile", profile];
                let words = words.map(str::to_owned);
                std::iter::once(program).chain(words).collect()
            }
            Runtime::Vllm(vllm) => {
                let snapshot = self.snapshot(observed);
                let path = snapshot.map_or_else(String::new, |(_, path)| path);
                let command = format!("{}/bin/vllm", vllm.engine.venv);
                vec![command, "serve".to_owned(), path]
            }
        }
    }

    /// How it is stopped: what must be free is the port that it has, which is not the
    /// declared one where it moves.
    pub(super) fn stop(&self, observed: &Observation) -> Stop {
        self.managed.stop(observed, self.server.stop_timeout)
    }

    /// What must be answered for the server with this mark to be healthy: it is well, it has the
    /// name that only it has, and it produces a token, for one that hangs still says that it is
    /// well. A start waits for this, and `status` asks it once more.
    fn probe(&self, mark: &Mark) -> Probe {
        let nonce = mark.nonce();
        let one_token =
            json!({"model": nonce, "prompt": "Hello", "max_tokens": 1, "temperature": 0});
        let checks = vec![
            self.check("the health check", "/health", None, None),
            self.check(
                "its name among the models",
                "/v1/models",
                None,
                Some(&nonce),
            ),
            // The answer has the first of its names, whichever it was asked by.
            self.check(
                "one token",
                "/v1/completions",
                Some(one_token),
                Some("\"usage\""),
            ),
        ];
        Probe {
            host: self.listens.on.clone(),
            port: self.server.port.get(),
            checks,
        }
    }

    /// What it serves as: whether one that runs is healthy is asked of itself.
    pub(super) fn service(&self, observed: &Observation) -> Service {
        let port = self.server.port.get();
        let readiness = |session: &Session, port| {
            let probe = self.probe(&session.mark);
            Readiness::Ask(Probe { port, ..probe })
        };
        self.managed
            .service(observed, &self.listens, port, readiness)
    }

    /// What must be true of a server before it is believed: it listens alone, it is
    /// healthy, it has its name, and it has produced a token.
    pub(super) fn ready(&self, mark: &Mark, expected: Option<Duration>) -> WaitReady {
        WaitReady {
            address: self.managed.address.clone(),
            mark: mark.to_string(),
            probe: self.probe(mark),
            log: self.managed.log(mark),
            patience: self.server.ready_timeout,
            expected,
            log_reader: LogReader::Vllm,
        }
    }

    /// How long its newest start took that is known to have served.
    pub(super) fn last_took(&self, observed: &Observation) -> Option<Duration> {
        let files = NodeFiles::read(&self.managed.folder, observed.of(&self.managed.node)?);
        files.last_took(&self.managed.address)
    }

    fn check(
        &self,
        shows: &str,
        path: &str,
        body: Option<serde_json::Value>,
        contains: Option<&str>,
    ) -> Check {
        Check {
            shows: shows.to_owned(),
            path: path.to_owned(),
            body,
            api_key_env: self.secrets().remove(API_KEY),
            contains: contains.map(str::to_owned),
        }
    }

    /// The variable of this machine that holds the API key, if the server wants one.
    pub fn api_key_env(&self) -> Option<String> {
        self.secrets().remove(API_KEY)
    }
}
