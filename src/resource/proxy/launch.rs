//! How a proxy is started, seen to serve, and stopped.

use std::time::Duration;

use super::{ANSWER, Proxy, served};
use crate::plan::effect::control::Request;
use crate::plan::effect::{Check, Launch, LogReader, Probe, Stop, WaitReady};
use crate::plan::{Effect, Operation};
use crate::resource::contract::Observation;
use crate::resource::process::{Condition, Mark};

/// How long it may take to end once it is told to.
const GRACE: Duration = Duration::from_secs(30);

/// How many bytes of memory must be available before it is started again without anybody's looking.
const LEAST: u64 = 64 << 20;

impl Proxy {
    pub(super) fn launch(&self, mark: &Mark, observed: &Observation) -> Launch {
        let port = self.declared.port.to_string();
        // Kept for a restart by a supervisor; one that we start anew is told everything anew.
        let state = format!("proxy.{}.json", mark.generation);
        let words = [
            "proxy",
            "--host",
            &self.listens.on,
            "--port",
            &port,
            "--control",
            served::SOCKET,
            "--state",
            &state,
            // Where one runs that hands over.
            "--succeed",
        ];
        Launch {
            address: self.managed.address.clone(),
            mark: mark.to_string(),
            mark_prefix: mark.of_thing(),
            spec: self.spec(observed).to_string(),
            argv: std::iter::once(self.program.path(observed))
                .chain(words.map(str::to_owned))
                .collect(),
            path: Vec::new(),
            env: [].into(),
            secret_env: [].into(),
            node_key: self.managed.folder.node_key(),
            folder: self.managed.folder.run(),
            log: self.managed.log(mark),
            log_reader: LogReader::None,
            supervisor: self.managed.supervisor(
                mark,
                observed,
                Condition {
                    grace: GRACE,
                    memory_floor: LEAST,
                    listens_on: &self.listens.on,
                    has_secrets: false,
                    loads_until: None,
                },
            ),
            is_beside: false,
        }
    }

    pub(super) fn ready(&self, mark: &Mark, predecessor: Option<u32>) -> WaitReady {
        WaitReady {
            address: self.managed.address.clone(),
            mark: mark.to_string(),
            probe: Probe {
                host: self.listens.on.clone(),
                port: self.declared.port.get(),
                checks: vec![Check {
                    shows: "the health check".to_owned(),
                    path: "/health".to_owned(),
                    body: None,
                    api_key: None,
                    contains: None,
                    refused_hint: None,
                }],
            },
            log: self.managed.log(mark),
            patience: ANSWER,
            expected: None,
            predecessor,
            log_reader: LogReader::None,
        }
    }

    pub(super) fn stop(&self, observed: &Observation) -> Stop {
        self.managed.stop(observed, GRACE)
    }

    pub(super) fn start(&self, observed: &Observation) -> Vec<Operation> {
        let (mark, on) = (self.next_mark(observed), &self.managed.node);
        vec![
            Operation::on(on, Effect::Launch(Box::new(self.launch(&mark, observed)))),
            Operation::on(on, Effect::WaitReady(Box::new(self.ready(&mark, None)))),
            self.tell(
                Request::Configure(self.config(1, observed)),
                Some(ANSWER),
                observed,
            ),
        ]
    }
}
