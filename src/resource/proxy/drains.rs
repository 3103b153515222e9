//! What a proxy passes no requests to because somebody asked for it: `replica drain`, until `undrain`.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ADMISSION, Proxy};
use crate::english::list;
use crate::plan::effect::control::Request;
use crate::plan::{Action, Address, Change, Field, Operation, Reason, ReasonCode};
use crate::proxy::control::Status;
use crate::resource::contract::{Observation, Resource};
use crate::resource::instance;
use crate::resource::process::differences;

impl Proxy {
    /// What stays drained, whatever else is declared anew: what is, and is an instance behind it still.
    pub(super) fn drained(&self, observed: &Observation) -> BTreeSet<String> {
        let status = self.status(observed);
        let mut drained = status.map_or_else(BTreeSet::new, |status| now(&status));
        let declared: BTreeSet<&str> = self.backends.iter().map(|it| it.name().as_str()).collect();
        drained.retain(|name| declared.contains(name.as_str()));
        drained
    }

    /// The same, once what was asked for is done.
    fn to_be_drained(&self, observed: &Observation) -> BTreeSet<String> {
        let mut drained = self.drained(observed);
        drained.extend(names(&self.drains.drained));
        for name in names(&self.drains.undrained) {
            drained.remove(&name);
        }
        drained
    }

    /// What becomes of it where somebody asked for drains: those alone, whatever else is not as declared.
    pub(super) fn compare_drains(&self, observed: &Observation) -> Change {
        let address = self.address();
        let Some(status) = self.status(observed) else {
            let text = "it does not run, or does not answer: nothing is passed on";
            let reason = Reason::new(ReasonCode::Silent, text);
            return Change::blocked(address, reason.hinted("look at it with `replica status`"));
        };
        let summary = self.serves_after(&status, observed);
        if let Some(reason) = self.would_serve_nobody(&status, observed) {
            return Change::blocked(address, reason).described(summary);
        }
        let fields = self.drained_differences(&status, observed);
        if fields.is_empty() {
            return Change::keep(address, summary);
        }
        let reason = Reason::new(ReasonCode::Asked, "somebody asked for it");
        Change::new(address, Action::Update, vec![reason])
            .with_fields(fields)
            .described(summary)
    }

    fn drained_differences(&self, status: &Status, observed: &Observation) -> Vec<Field> {
        let shown = |drained: &BTreeSet<String>| json!({"drained": drained});
        let old = now(status);
        let mut fields = differences(&shown(&old), &shown(&self.to_be_drained(observed)), &[]);
        for field in &mut fields {
            field.forces_replacement = false;
        }
        fields
    }

    /// What it is told: nothing where nothing is to change.
    pub(super) fn tell_drains(&self, observed: &Observation) -> Vec<Operation> {
        let drained = self.to_be_drained(observed);
        let is_told = self
            .status(observed)
            .is_none_or(|status| now(&status) == drained);
        if is_told {
            return Vec::new();
        }
        // What does not come back would else be waited for as long as a request may take.
        let timeout = if self.drains.drained.is_empty() {
            ADMISSION
        } else {
            self.patience()
        };
        vec![self.tell(Request::Drained(drained), Some(timeout), observed)]
    }

    /// The instances that requests are passed to once it is told.
    fn serves_after(&self, status: &Status, observed: &Observation) -> String {
        let drained = self.to_be_drained(observed);
        let serving: Vec<&str> = self.passed_to(status, &drained).collect();
        match serving.as_slice() {
            [] => format!("{} to no instance", self.policy()),
            serving => format!("{} to {}", self.policy(), list(serving)),
        }
    }

    fn passed_to<'a>(
        &'a self,
        status: &'a Status,
        drained: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = &'a str> {
        let names = self.backends.iter().map(|it| it.name().as_str());
        // What is drained now and not any more then is taken to serve once it may.
        let may_serve = |name: &str| status.is_serving(name) || is_drained(status, name);
        names.filter(move |name| !drained.contains(*name) && may_serve(name))
    }

    /// Why it would pass requests to nobody, where it passes some to somebody now.
    fn would_serve_nobody(&self, status: &Status, observed: &Observation) -> Option<Reason> {
        let (before, after) = (now(status), self.to_be_drained(observed));
        let serves = |drained| self.passed_to(status, drained).next().is_some();
        if self.drains.allows_downtime || after.is_subset(&before) || serves(&after) {
            return None;
        }
        let news: Vec<&String> = after.difference(&before).collect();
        let text = format!("clients would be left with nobody without {}", list(&news));
        let reason = Reason::new(ReasonCode::LastServing, text);
        Some(reason.hinted("have another serve first, or give --allow-downtime"))
    }

    /// What it passes requests to, or may at any moment: whatever is known to it and not drained.
    pub(super) fn serves(&self, observed: &Observation) -> Vec<Address> {
        let Some(status) = self.status(observed) else {
            return Vec::new();
        };
        let drained = now(&status);
        let served = status.config.into_iter().flat_map(|config| config.backends);
        let served = served.map(|backend| backend.name);
        let names: BTreeSet<String> = served.chain(status.backends.into_keys()).collect();
        let names = names.iter().filter(|name| !drained.contains(*name));
        names
            .map(|name| Address::nowhere(instance::KIND, name))
            .collect()
    }
}

/// What a running proxy holds drained.
pub(super) fn now(status: &Status) -> BTreeSet<String> {
    let config = status.config.as_ref();
    config.map_or_else(BTreeSet::new, |config| config.drained.clone())
}

fn names(addresses: &BTreeSet<Address>) -> impl Iterator<Item = String> {
    addresses.iter().filter_map(|it| it.name.clone())
}

/// Whether a running proxy holds the instance of this name drained.
pub(super) fn is_drained(status: &Status, name: &str) -> bool {
    let config = status.config.as_ref();
    config.is_some_and(|config| config.drained.contains(name))
}
