//! How an instance is started, believed, and stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{Instance, Runtime};
use crate::node::NodeKey;
use crate::plan::effect::control::Key;
use crate::plan::effect::{Check, Launch, LogReader, Probe, Secret, ServerKey, Stop, WaitReady};
use crate::resource::contract::Observation;
use crate::resource::node_files::NodeFiles;
use crate::resource::process::{Condition, Mark};

/// The variable by which vLLM takes its API key, so that the key is in no argument list.
const API_KEY: &str = "VLLM_API_KEY";

/// What the answer to any work contains. It has the first of the server's names, whichever it was
/// asked by.
const USAGE: Option<&str> = Some("\"usage\"");

/// How a token is chosen.
#[derive(Clone, Copy)]
struct Sampling {
    shows: &'static str,
    temperature: f64,
}

/// The likeliest.
const GREEDY: Sampling = Sampling {
    shows: "one token",
    temperature: 0.0,
};

/// One that is drawn: the first of these compiles for seconds, and holds up all that is streamed
/// meanwhile.
const SAMPLED: Sampling = Sampling {
    shows: "one sampled token",
    temperature: 1.0,
};

impl Instance {
    pub(super) fn launch(&self, mark: &Mark, observed: &Observation) -> Launch {
        Launch {
            address: self.managed.address.clone(),
            mark: mark.to_string(),
            mark_prefix: mark.of_thing(),
            spec: self.spec(observed).to_string(),
            argv: self.argv(mark, observed),
            path: self.path(),
            env: self.plain_env(observed),
            secret_env: self.secrets(mark),
            node_key: self.managed.folder.node_key(),
            folder: self.managed.folder.run(),
            log: self.managed.log(mark),
            log_reader: LogReader::Vllm,
            supervisor: self.managed.supervisor(
                mark,
                observed,
                Condition {
                    grace: self.server.stop_timeout,
                    memory_floor: self.memory_floor(observed),
                    listens_on: &self.listens.on,
                    has_secrets: self.declared_secrets().next().is_some(),
                    // What memory vLLM finds while another loads is not what it will have.
                    loads_until: self.server.runtime.vllm().map(|_| self.server.port.get()),
                },
            ),
            is_beside: false,
        }
    }

    pub(super) fn argv(&self, mark: &Mark, observed: &Observation) -> Vec<String> {
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
        words.extend(self.placed_arguments(observed).words());
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

    /// What shows that it works, in the order of what each costs: one that hangs still says that it
    /// is well.
    pub(super) fn work(&self, mark: &Mark) -> Vec<Check> {
        if self.pools() {
            return vec![self.one_pooled(mark)];
        }
        vec![self.one_token(mark, GREEDY), self.one_token(mark, SAMPLED)]
    }

    /// Whether it makes vectors or scores of texts, and completes none.
    fn pools(&self) -> bool {
        self.server.args.text("runner") == Some("pooling")
    }

    /// That it pools a text. Whatever the model pools for, 0.13 does it by this path.
    fn one_pooled(&self, mark: &Mark) -> Check {
        let body = json!({"model": mark.nonce(), "input": "Hello"});
        let hint = "its log names the tasks that it supports; see `replica logs`";
        let check = self.check(mark, "one pooled text", "/pooling", Some(body), USAGE);
        Check {
            refused_hint: Some(hint.to_owned()),
            ..check
        }
    }

    /// That it produces a token.
    fn one_token(&self, mark: &Mark, sampling: Sampling) -> Check {
        let body = json!({
            "model": mark.nonce(),
            "prompt": "Hello",
            "max_tokens": 1,
            "temperature": sampling.temperature,
        });
        let hint = "a model that pools completes nothing: for such a one set args.runner: pooling";
        let check = self.check(mark, sampling.shows, "/v1/completions", Some(body), USAGE);
        Check {
            refused_hint: Some(hint.to_owned()),
            ..check
        }
    }

    /// What must be answered for the server with this mark to be healthy: it is well, it has the
    /// name that only it has, and it works: it produces tokens, likely ones and drawn ones.
    fn probe(&self, mark: &Mark) -> Probe {
        let nonce = mark.nonce();
        let mut checks = vec![
            self.check(mark, "the health check", "/health", None, None),
            self.check(
                mark,
                "its name among the models",
                "/v1/models",
                None,
                Some(&nonce),
            ),
        ];
        checks.extend(self.work(mark));
        Probe {
            host: self.listens.on.clone(),
            port: self.server.port.get(),
            checks,
        }
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
            predecessor: None,
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
        mark: &Mark,
        shows: &str,
        path: &str,
        body: Option<serde_json::Value>,
        contains: Option<&str>,
    ) -> Check {
        Check {
            shows: shows.to_owned(),
            path: path.to_owned(),
            body,
            api_key: self.api_key(mark),
            contains: contains.map(str::to_owned),
            refused_hint: None,
        }
    }

    /// Whether what this variable holds is made on its node, and only that server takes it: of one
    /// behind the proxy, which wants the declared key itself. vLLM 0.13 takes several keys, and
    /// writes all that it is not given by this variable into its log; by this it takes one.
    pub(super) fn has_own_key(&self, variable: &str) -> bool {
        self.rollout.is_some() && variable == API_KEY
    }

    /// What its secret variables hold once it runs with this mark.
    fn secrets(&self, mark: &Mark) -> BTreeMap<String, Secret> {
        let secret = |(name, source): (&str, &str)| {
            let secret = if self.has_own_key(name) {
                Secret::ServerKey(self.server_key(mark))
            } else {
                Secret::Variable(source.to_owned())
            };
            (name.to_owned(), secret)
        };
        self.declared_secrets().map(secret).collect()
    }

    /// The key that only the server with this mark takes.
    fn server_key(&self, mark: &Mark) -> ServerKey {
        ServerKey {
            node: self.managed.node.clone(),
            node_key: self.managed.folder.node_key(),
            nonce: mark.nonce(),
        }
    }

    /// The API key that the server with this mark wants, if it wants one.
    pub fn api_key(&self, mark: &Mark) -> Option<Secret> {
        self.secrets(mark).remove(API_KEY)
    }

    /// What stands for the key that only it takes, where it has one.
    pub fn own_key(&self, observed: &Observation) -> Option<Key> {
        let Secret::ServerKey(key) = self.api_key(&self.planned_mark(observed))? else {
            return None;
        };
        let files = NodeFiles::read(&self.managed.folder, observed.of(&self.managed.node)?);
        // Before anything of its node had a key, there is nothing to make it with.
        let digest = files.node_key.as_ref().map(|node_key| {
            let key = node_key.server_key(&key.nonce);
            NodeKey::server_key_digest(&key)
        });
        Some(Key::spoken_of(digest.unwrap_or_default()))
    }

    /// The variable of this machine with the API key that clients are to show, if they are to.
    pub fn client_key(&self) -> Option<&str> {
        let mut declared = self.declared_secrets();
        declared.find_map(|(name, source)| (name == API_KEY).then_some(source))
    }
}
