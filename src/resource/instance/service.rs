//! What an instance serves as, and whether it still does.

use serde_json::{Map, Value};

use super::Instance;
use crate::plan::{Counters, Liveness, LivenessProbe, Offer, Readiness, Service};
use crate::resource::contract::Observation;
use crate::resource::node_files::NodeFiles;
use crate::resource::process::{ProcessTable, Session};

/// What vLLM counts. One of those that work shows goes up with every step of its engine: the tokens
/// of prompts only once the first token of their answers is there, which chunks of a long prefill do
/// not bring.
pub(super) const COUNTERS: Counters = Counters {
    path: "/metrics",
    running: "vllm:num_requests_running",
    working: &[
        "vllm:generation_tokens_total",
        "vllm:prompt_tokens_total",
        "vllm:iteration_tokens_total_count",
    ],
};

impl Instance {
    /// What it serves as, and whether it was seen to.
    pub(super) fn service(&self, observed: &Observation) -> Service {
        let port = self.server.port.get();
        let readiness = |session: &Session, port| self.readiness(observed, session, port);
        let summary = match observed.liveness(&self.managed.address) {
            Some(Liveness::Alive { slow }) => slow.clone(),
            _ => None,
        };
        Service {
            summary,
            details: self.details(),
            offer: Some(Offer {
                model: self.running_model(observed),
                key: self.client_key().map(str::to_owned),
                is_front: false,
            }),
            has_stand_in: self.has_stand_in(observed),
            ..self.managed.service(
                observed,
                self.running(observed).as_ref(),
                (&self.listens, port),
                readiness,
            )
        }
    }

    /// What it does of a request, where others do the rest.
    fn details(&self) -> Map<String, Value> {
        let role = Some(self.role()).filter(|role| !role.is_both());
        let role = role.map(|role| ("role".to_owned(), Value::from(role.to_string())));
        role.into_iter().collect()
    }

    /// The model that the server which runs now serves, which the manifest may no longer say.
    pub fn running_model(&self, observed: &Observation) -> Option<String> {
        let session = self.running(observed)?;
        Some(session.spec["model"].as_str()?.to_owned())
    }

    fn readiness(&self, observed: &Observation, session: &Session, port: u16) -> Readiness {
        if let Some(Liveness::Failed(reason)) = observed.liveness(&self.managed.address) {
            return Readiness::NotReady(reason.clone());
        }
        if self.has_served(observed, session, port) {
            Readiness::Ready
        } else {
            Readiness::NotReady("it was not seen to serve yet".to_owned())
        }
    }

    /// Whether what runs listens, and was once seen to serve.
    pub(super) fn has_served(&self, observed: &Observation, session: &Session, port: u16) -> bool {
        let Some(facts) = observed.of(&self.managed.node) else {
            return false;
        };
        let files = NodeFiles::read(&self.managed.folder, facts);
        ProcessTable::read(facts).listens(session, port)
            && files.has_served(&self.managed.address, session.mark.generation)
    }

    /// How it is asked for a sign of life. One that loads, or was never seen to serve, is waited
    /// for instead; of one that shares its port, somebody else might answer.
    pub(super) fn asked_for_life(&self, observed: &Observation) -> Option<LivenessProbe> {
        let session = self.running(observed)?;
        let port = session.port()?;
        let table = ProcessTable::read(observed.of(&self.managed.node)?);
        if !self.has_served(observed, &session, port) || !table.listens_alone(&session, port) {
            return None;
        }
        Some(LivenessProbe {
            address: self.managed.address.clone(),
            node: self.managed.node.clone(),
            host: self.listens.on.clone(),
            port,
            counters: COUNTERS,
            work: self.work(&session.mark).into_iter().next()?,
        })
    }
}
