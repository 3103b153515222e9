//! How a backend is chosen: one file a policy, and its line in the list below.
//!
//! A policy sees the request and the backends that it may go to, chooses one and counts the request in
//! there in one step. What it returns is held until the answer is over: so it hears of the end, too.

mod least_connections;
mod outstanding_tokens;
mod prefix;
mod random;
mod round_robin;
mod session;
mod two_choices;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backend::{Backend, BackendId, Claim};
use super::control::BackendState;
use super::part::Part;
use super::read_ahead::Ahead;
use super::request_view::RequestView;

/// Makes of the list of policies what a manifest can name, and what it names.
macro_rules! policies {
    (
        plain { $($(#[$what:meta])* $module:ident::$Policy:ident,)+ }
        with settings { $($(#[$said:meta])* $room:ident::$Set:ident($Settings:ident),)+ }
    ) => {
        /// The policies a manifest can name. Where one has settings, its name alone stands for those that
        /// it has by itself.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[schemars(transform = names_alone)]
        pub enum PolicySpec {
            $($(#[$what])* $Policy,)+
            $($(#[$said])* $Set($room::$Settings),)+
        }

        impl PolicySpec {
            /// The policy that it names, with nothing remembered yet.
            pub(super) fn build(&self) -> Arc<dyn Policy> {
                match self {
                    $(Self::$Policy => Arc::<$module::$Policy>::default(),)+
                    $(Self::$Set(settings) => Arc::new($room::$Set::new(settings)),)+
                }
            }

            /// What a manifest calls them: as the modules that they are in.
            pub const NAMES: &[&str] = &[$(stringify!($module),)+ $(stringify!($room),)+];

            /// What a manifest calls it, whatever its settings.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$Policy => stringify!($module),)+
                    $(Self::$Set(_) => stringify!($room),)+
                }
            }

            /// The one that is called so, with the settings that it has by itself.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($module) => Some(Self::$Policy),)+
                    $(stringify!($room) => Some(Self::$Set($room::$Settings::default())),)+
                    _ => None,
                }
            }
        }

        $(pub use $room::$Settings;)+
    };
}

policies! {
    plain {
        /// Each instance in turn.
        #[default]
        round_robin::RoundRobin,
        /// The instance with the fewest requests in flight; the first of equals in turn.
        least_connections::LeastConnections,
        /// Of two that are drawn, the one with fewer requests in flight.
        two_choices::TwoChoices,
        /// The instance with the fewest tokens still to be read and written, by the length of prompts and
        /// `max_tokens`.
        outstanding_tokens::OutstandingTokens,
        /// Any instance, all alike likely.
        random::Random,
    }
    with settings {
        /// The same instance for each request of a session, unless it has many more than others.
        session::Session(SessionSettings),
        /// The instance that has most likely read the beginning of the prompt, unless it has many more
        /// requests than others.
        prefix::Prefix(PrefixSettings),
    }
}

/// In a schema, a policy with settings may be named alone.
fn names_alone(schema: &mut Schema) {
    let Some(forms) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else {
        return;
    };
    let named = |form: &Value| {
        let name = form.get("properties")?.as_object()?.keys().next()?.clone();
        let description = format!("`{name}`, with its settings as they are by themselves.");
        Some(json!({"type": "string", "const": name, "description": description}))
    };
    let alone: Vec<_> = forms.iter().filter_map(named).collect();
    forms.extend(alone);
}

/// Chooses a backend for a request.
pub(super) trait Policy: Debug + Send + Sync {
    /// Chooses one of these and counts the request in there; nothing if there is none. Where it is no
    /// longer as it was when it was looked at, another look is taken.
    fn choose(&self, request: &RequestView<'_>, ready: &Ready<'_>) -> Option<Charge>;

    /// How much of its prompt the one has read already that would be chosen now, or has fetched from who read
    /// it: from 0 to 1, and 0 where nothing is remembered.
    fn part_read(&self, _request: &RequestView<'_>, _ready: &Ready<'_>) -> f64 {
        0.0
    }
}

/// The backends that a request may go to: those of a fleet that are ready, have room for it and were not
/// tried. They are looked for anew each time, so it is no list, and no room is made for one.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    fleet: &'a [Arc<Backend>],
    part: Part,
    tried: &'a [Arc<Backend>],
    /// Whether those are left out that fail too often: rather one of them than none.
    is_choosy: bool,
}

impl<'a> Ready<'a> {
    /// Those of a fleet that are ready and were not tried.
    #[cfg(test)]
    pub(super) fn of(fleet: &'a [Arc<Backend>], tried: &'a [Arc<Backend>]) -> Self {
        Self::for_part(fleet, Part::Whole, tried)
    }

    /// Those of a fleet that are for this part of a request, ready, and were not tried.
    pub(super) fn for_part(
        fleet: &'a [Arc<Backend>],
        part: Part,
        tried: &'a [Arc<Backend>],
    ) -> Self {
        let ready = Self {
            fleet,
            part,
            tried,
            is_choosy: false,
        };
        ready.welcome();
        // Whoever else is full: rather wait for one of the good ones.
        let is_choosy = ready.untried().any(|it| !it.history.is_aside());
        Self { is_choosy, ..ready }
    }

    /// Who has just become ready begins slowly where others are at work: it is the idle one among them,
    /// and has nothing cached. Among idle ones, and where all are new, nobody would be overrun.
    fn welcome(&self) {
        let ready = || self.all();
        if ready().any(|it| it.share.is_new()) {
            let is_at_work = |it: &Arc<Backend>| !it.share.is_new() && it.in_flight() > 0;
            let slowly = ready().any(is_at_work);
            ready().for_each(|it| it.share.begin(slowly));
        }
    }

    /// Each of them, in the order of the configuration.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Arc<Backend>> {
        let is_choosy = self.is_choosy;
        let is_left_out = move |it: &Arc<Backend>| is_choosy && it.history.is_aside();
        self.untried()
            .filter(move |it| it.has_room() && !is_left_out(it))
    }

    /// Those that are ready and were not tried, be there room for another request or not.
    fn untried(&self) -> impl Iterator<Item = &'a Arc<Backend>> {
        let tried = self.tried;
        let was_tried = move |it: &Arc<Backend>| tried.iter().any(|other| Arc::ptr_eq(other, it));
        self.all().filter(move |it| !was_tried(it))
    }

    /// Those that are ready, be there room for another request or not.
    fn all(&self) -> impl Iterator<Item = &'a Arc<Backend>> {
        let part = self.part;
        let members = self.fleet.iter();
        members.filter(move |it| part.is_for(it.spec.role) && is_ready(it))
    }

    /// Whether this backend belongs to the fleet, ready or not.
    pub(super) fn has_member(&self, id: BackendId) -> bool {
        self.fleet.iter().any(|backend| backend.id == id)
    }

    /// How many belong to the fleet, ready or not.
    pub(super) fn members(&self) -> usize {
        self.fleet.len()
    }

    /// The mean of their shares.
    pub(super) fn mean_share(&self) -> f64 {
        let shares = self.iter().map(|it| it.share.now());
        let (count, all) = shares.fold((0.0, 0.0), |(count, all), it| (count + 1.0, all + it));
        if count > 0.0 { all / count } else { 1.0 }
    }

    /// One of them by chance, each as likely as its share is large; never this one.
    pub(super) fn draw(&self, except: Option<BackendId>) -> Option<&'a Arc<Backend>> {
        let drawn = || self.iter().filter(|it| Some(it.id) != except);
        let all: f64 = drawn().map(|it| it.share.now()).sum();
        let mut left = fastrand::f64() * all;
        let mut last = None;
        for backend in drawn() {
            last = Some(backend);
            left -= backend.share.now();
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Claims the one with the least of something; equals take turns. `load` says how much it has, with
    /// as many requests in flight as stand beside it.
    pub(super) fn claim_least<L: PartialOrd>(
        &self,
        turn: usize,
        load: impl Fn(&Backend, u64) -> L,
    ) -> Option<Claim> {
        // Whoever took the place in between has changed the count: then there is a new least.
        for _ in 0..LOOKS {
            let (backend, in_flight) = self.least(turn, &load)?;
            if let Some(claim) = backend.claim(Some(in_flight)) {
                return Some(claim);
            }
        }
        self.iter().find_map(|backend| backend.claim(None))
    }

    /// The one with the least, and how many requests it had in flight then.
    pub(super) fn least<L: PartialOrd>(
        &self,
        turn: usize,
        load: &impl Fn(&Backend, u64) -> L,
    ) -> Option<(&'a Arc<Backend>, u64)> {
        let mut least: Option<(L, &'a Arc<Backend>, u64)> = None;
        let mut equals = 0;
        for backend in self.iter() {
            let in_flight = backend.in_flight();
            let own = load(backend, in_flight);
            equals = match &least {
                Some((other, ..)) if own > *other => continue,
                Some((other, ..)) if own == *other => equals + 1,
                _ => 1,
            };
            if equals == 1 {
                least = Some((own, backend, in_flight));
            }
        }
        let (least, first, among) = least?;
        let loaded = self.iter().map(|it| (it, it.in_flight()));
        let mut equal = loaded.filter(|(it, in_flight)| load(it, *in_flight) <= least);
        // Where fewer are equal by now, the first one was.
        equal.nth(turn % equals).or(Some((first, among)))
    }
}

/// Whether requests go there.
pub(super) fn is_ready(backend: &Backend) -> bool {
    backend.state() == BackendState::Ready
}

/// How full a backend would be with one more request, for the share that it is to have. What it has
/// failed lately counts as if it were in flight.
fn crowd(backend: &Backend, in_flight: u64) -> f64 {
    (in_flight + backend.history.weight() + 1) as f64 / backend.share.now()
}

/// Among so many who choose at once somebody got his way each time.
const LOOKS: usize = 64;

/// A request at its backend: counted in there, and whatever the policy keeps for it, until it is
/// dropped.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) claim: Claim,
    /// Its place among the prompts that are read ahead, where it is to read one and those are counted.
    pub(super) ahead: Option<Ahead>,
    _kept: Option<Box<dyn Kept>>,
}

/// What a policy keeps for a request; its drop is the end of the request.
pub(super) trait Kept: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Kept for T {}

impl Charge {
    /// The same, with something that is dropped with it.
    pub(super) fn keeping(claim: Claim, kept: impl Kept) -> Self {
        Self {
            claim,
            ahead: None,
            _kept: Some(Box::new(kept)),
        }
    }
}

impl From<Claim> for Charge {
    fn from(claim: Claim) -> Self {
        Self {
            claim,
            ahead: None,
            _kept: None,
        }
    }
}

#[cfg(test)]
mod tests;
