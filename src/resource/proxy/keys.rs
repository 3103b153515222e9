//! The keys that the proxy is told: what clients show it, and what it shows each backend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Proxy;
use crate::node::variable;
use crate::plan::effect::control::{Key, Keys, Request};
use crate::plan::effect::{Secret, ServerKey};
use crate::plan::{Address, Reason, ReasonCode};
use crate::resource::contract::{Observation, Resource as _};
use crate::resource::instance::Instance;
use crate::resource::node_files::NodeFiles;

/// What stands for a key of which nothing can be told before it is there.
const UNTOLD: &str = "secret";

impl Proxy {
    /// The variables of this machine with the keys of which clients show one.
    fn client_variables(&self) -> BTreeSet<&str> {
        let keys = self.backends.iter().filter_map(|it| it.client_key());
        keys.collect()
    }

    /// One of those variables, where clients have to show a key.
    pub fn client_variable(&self) -> Option<&str> {
        self.client_variables().into_iter().next()
    }

    /// What stands for the keys of clients, as far as they can be told from those that it has.
    pub(super) fn client_keys(&self, observed: &Observation) -> Vec<Key> {
        let variables = self.client_variables();
        let values: Option<Vec<_>> = variables.iter().map(|it| variable(it)).collect();
        // One that is not at hand cannot be compared: those that it has stay.
        let Some(values) = values else {
            let known = self.known_keys(observed);
            let untold = || vec![Key::spoken_of(UNTOLD)];
            return known.unwrap_or_else(untold);
        };
        let facts = observed.of(&self.managed.node);
        let files = facts.map(|facts| NodeFiles::read(&self.managed.folder, facts));
        let node_key = files.as_ref().and_then(|files| files.node_key.as_ref());
        let digest = |value: &String| {
            node_key.map_or_else(|| UNTOLD.to_owned(), |key| key.digest(Keys::CLIENT, value))
        };
        values.iter().map(digest).map(Key::spoken_of).collect()
    }

    /// The keys of clients that it has now, if it has some.
    fn known_keys(&self, observed: &Observation) -> Option<Vec<Key>> {
        let config = self.status(observed)?.config?;
        (!config.client_keys.is_empty()).then_some(config.client_keys)
    }

    /// Why it cannot be told the keys of clients, where it has none yet.
    pub(super) fn missing_key(&self, observed: &Observation) -> Option<Reason> {
        if self.known_keys(observed).is_some() {
            return None;
        }
        let variables = self.client_variables();
        let missing = variables.iter().find(|it| variable(it).is_none())?;
        let text =
            format!("the key of its clients is to come from {missing}, which is not set here");
        Some(Reason::new(ReasonCode::SecretMissing, text))
    }

    /// Where the keys are had that go with a request.
    pub(super) fn keys(&self, request: &Request, observed: &Observation) -> Keys {
        let (clients, told) = match request {
            Request::Configure(config) => {
                let backends = config.backends.iter();
                let names = backends.map(|it| it.name.as_str());
                (self.client_variables(), names.collect())
            }
            Request::Admit(backend) | Request::TakeOver(backend) => {
                let name = backend.name.as_str();
                (BTreeSet::new(), BTreeSet::from([name]))
            }
            Request::Drain { .. } | Request::Drained(_) | Request::Reload | Request::Status => {
                Default::default()
            }
        };
        let backends = self.backends.iter();
        let told = backends.filter(|instance| told.contains(instance.name().as_str()));
        Keys {
            clients: clients.into_iter().map(str::to_owned).collect(),
            node_key: self.managed.folder.node_key(),
            backends: told
                .filter_map(|it| Some((it.name().to_string(), server_key(it, observed)?)))
                .collect(),
        }
    }

    /// The backends that are to be brought about first. One that it serves from as it is stays.
    pub(super) fn awaited(&self, observed: &Observation) -> BTreeMap<String, Address> {
        let is_awaited = |instance: &&Arc<Instance>| {
            let served = self.served_backend(instance.name().as_str(), observed);
            let nonce = instance.planned_mark(observed).nonce();
            let is_served = served.is_some_and(|backend| backend.nonce == Some(nonce));
            instance.change(observed).action.acts() && !is_served
        };
        let awaited = self.backends.iter().filter(is_awaited);
        awaited
            .map(|it| (it.name().to_string(), it.address().clone()))
            .collect()
    }
}

/// The key that only this server takes; of one whose node did not answer the proxy keeps what it
/// has.
fn server_key(instance: &Instance, observed: &Observation) -> Option<ServerKey> {
    observed.of(instance.node())?;
    match instance.api_key(&instance.planned_mark(observed))? {
        Secret::ServerKey(key) => Some(key),
        Secret::Variable(_) => None,
    }
}
