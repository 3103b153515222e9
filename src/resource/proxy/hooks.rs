//! What a proxy is told around the stop and the start of what it serves from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{ADMISSION, Proxy};
use crate::plan::effect::control::{Backend, Request};
use crate::plan::{Address, Hook, Liveness};
use crate::resource::contract::{Observation, Resource};
use crate::resource::instance::{self, Instance};

impl Proxy {
    /// The backends whose servers show no sign of life: their requests come to no end.
    pub(super) fn silent_backends(&self, observed: &Observation) -> BTreeSet<&str> {
        let is_silent = |it: &&Arc<Instance>| {
            let shown = observed.liveness(it.address());
            matches!(shown, Some(Liveness::Failed(_)))
        };
        let silent = self.backends.iter().filter(is_silent);
        silent.map(|it| it.name().as_str()).collect()
    }

    /// How long requests in flight are waited for. One that runs is never cut off: what cannot be
    /// drained by then goes on serving.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.declared.timeouts.drain.get())
    }

    /// What it is told before a backend stops, also one that it was told already to serve no more
    /// from: requests may be in flight there still.
    pub(super) fn drain(&self, observed: &Observation) -> Vec<Hook> {
        let silent = self.silent_backends(observed);
        let hook = |name: String| Hook {
            of: Address::nowhere(instance::KIND, &name),
            operations: vec![self.tell(
                Request::Drain {
                    wait: !silent.contains(name.as_str()),
                    backend: name,
                },
                Some(self.patience()),
                observed,
            )],
        };
        let Some(status) = self.status(observed) else {
            return Vec::new();
        };
        let served = status.config.into_iter().flat_map(|config| config.backends);
        let served = served.map(|backend| backend.name);
        let names: BTreeSet<_> = served.chain(status.backends.into_keys()).collect();
        names.into_iter().map(hook).collect()
    }

    /// What it is told before the former start of a backend stops: the one that is to run serves by then.
    pub(super) fn take_over(&self, observed: &Observation) -> Vec<Hook> {
        if !self
            .status(observed)
            .is_some_and(|status| status.takes_over)
        {
            return Vec::new();
        }
        self.each_served(observed, Request::TakeOver, self.patience())
    }

    /// What it is told once a backend that it serves from runs again.
    pub(super) fn admit(&self, observed: &Observation) -> Vec<Hook> {
        self.each_served(observed, Request::Admit, ADMISSION)
    }

    /// What it is told of each backend that it serves from, as that is to run.
    fn each_served(
        &self,
        observed: &Observation,
        request: fn(Backend) -> Request,
        patience: Duration,
    ) -> Vec<Hook> {
        let is_served = |instance: &&Arc<Instance>| {
            let name = instance.name().as_str();
            self.served_backend(name, observed).is_some()
        };
        let hook = |instance: &Arc<Instance>| Hook {
            of: instance.address().anywhere(),
            operations: vec![self.tell(
                request(self.backend(instance, observed)),
                Some(patience),
                observed,
            )],
        };
        self.backends.iter().filter(is_served).map(hook).collect()
    }
}
