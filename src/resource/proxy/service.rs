//! What the proxy serves as, as it says itself.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Proxy, drains, policy_name};
use crate::english::list;
use crate::plan::{Offer, Readiness, Service};
use crate::proxy::control::Status;
use crate::resource::contract::Observation;
use crate::resource::instance::Instance;

impl Proxy {
    /// What it serves as: it is ready once it sends requests to an instance.
    pub(super) fn service(&self, observed: &Observation) -> Service {
        let status = self.status(observed);
        let served = Served {
            policy: status.as_ref().and_then(policy).unwrap_or(self.policy()),
            generation: status.as_ref().and_then(generation),
            backends: status.as_ref().map(serving).unwrap_or_default(),
            drained: status.as_ref().map(drained).unwrap_or_default(),
        };
        let readiness = |_: &_, _| match (&status, &served.backends[..]) {
            (None, _) => Readiness::NotReady("its control socket does not answer".to_owned()),
            (_, []) => Readiness::NotReady("no instance is ready".to_owned()),
            _ => Readiness::Ready,
        };
        Service {
            requests: status.as_ref().map(|status| status.requests),
            former: status
                .as_ref()
                .map(|it| it.former.clone())
                .unwrap_or_default(),
            details: served.details(),
            // One that is not there serves by no policy.
            summary: status.is_some().then(|| served.summary()),
            offer: Some(Offer {
                model: self.offered_model(&served, observed),
                key: self.client_variable().map(str::to_owned),
                is_front: true,
            }),
            ..self.managed.service(
                observed,
                self.managed.running(observed).as_ref(),
                (&self.listens, self.declared.port.get()),
                readiness,
            )
        }
    }

    /// The model of the instances that it sends requests to.
    fn offered_model(&self, served: &Served, observed: &Observation) -> Option<String> {
        let is_served = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            served.backends.iter().any(|backend| backend == name)
        };
        let mut served = self.backends.iter().filter(is_served);
        served.find_map(|instance| instance.running_model(observed))
    }
}

/// What a proxy serves: by which policy, of which configuration, from which instances.
struct Served {
    policy: String,
    generation: Option<u64>,
    backends: Vec<String>,
    /// Those that get no requests because somebody asked for it.
    drained: Vec<String>,
}

/// The policy that it serves by, which the manifest may no longer say.
fn policy(status: &Status) -> Option<String> {
    let config = status.config.as_ref()?;
    Some(policy_name(&config.policy, !config.weights.is_empty()))
}

fn generation(status: &Status) -> Option<u64> {
    let config = status.config.as_ref()?;
    Some(config.generation)
}

/// The instances that it sends requests to.
fn serving(status: &Status) -> Vec<String> {
    let names = status.backends.keys();
    let serving = names.filter(|name| status.is_serving(name));
    serving.cloned().collect()
}

fn drained(status: &Status) -> Vec<String> {
    drains::now(status).into_iter().collect()
}

impl Served {
    fn details(&self) -> Map<String, Value> {
        let details = [
            ("policy", json!(self.policy)),
            ("generation", json!(self.generation)),
            ("backends", json!(self.backends)),
        ];
        let drained = Some(("drained", json!(self.drained))).filter(|_| !self.drained.is_empty());
        let details = details.into_iter().chain(drained);
        details
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn summary(&self) -> String {
        let policy = &self.policy;
        let to = match &self.backends[..] {
            [] => "no instance".to_owned(),
            backends => list(backends),
        };
        let drained = match &self.drained[..] {
            [] => String::new(),
            drained => format!(", {} drained", list(drained)),
        };
        match self.generation {
            Some(generation) => format!("{policy} to {to}{drained}, generation {generation}"),
            None => format!("{policy} to {to}{drained}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_called_by_its_name_whatever_its_settings() {
        assert_eq!(policy_name(&json!("random"), false), "random");
        let session = json!({"session": {"header": "x-chat", "balance": 2.0}});
        assert_eq!(policy_name(&session, false), "session");
        assert_eq!(policy_name(&session, true), "session by weight");
    }

    #[test]
    fn what_it_serves_is_told_in_one_line() {
        let said = |generation, backends: &[&str], drained: &[&str]| {
            let names = |all: &[&str]| all.iter().map(ToString::to_string).collect();
            let served = Served {
                policy: "round_robin".to_owned(),
                generation,
                backends: names(backends),
                drained: names(drained),
            };
            served.summary()
        };
        assert_eq!(said(None, &[], &[]), "round_robin to no instance");
        assert_eq!(
            said(Some(4), &["a", "b"], &[]),
            "round_robin to a and b, generation 4"
        );
        assert_eq!(
            said(Some(5), &["a"], &["b"]),
            "round_robin to a, b drained, generation 5"
        );
    }
}
