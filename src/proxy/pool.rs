//! The backends behind the proxy, and the choice between them.
//!
//! Requests read a [`Fleet`] without a lock; whoever changes it does so under one, and puts a new fleet
//! in place of the old. A request that still has the old one finds its backends as they are: that one
//! drains, and has no place, stands in the backend itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use super::access_log::AccessLog;
use super::account::{self, Inherited, REMEMBERED, Told};
use super::backend::{Backend, InvalidBackend, Tally};
use super::control::{
    self, BackendState, BackendStatus, Config, FormerStart, InstanceLimits, Timeouts,
};
use super::exchange::Exchange;
use super::fleet::{Bounds, Fleet, Telling};
use super::handoffs::Handoffs;
use super::health::{Prober, Probing};
use super::keys::{self, ClientKeys};
use super::nonces::Nonces;
use super::policy::{Policy, PolicySpec};
use super::queue::Queue;
use super::read_ahead::ReadAhead;

/// Why a configuration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Backend(#[from] InvalidBackend),
    #[error("two backends are named `{0}`")]
    Twice(String),
    #[error("the {which} timeout must be a positive number of seconds, and is {seconds}")]
    Timeout {
        which: &'static str,
        seconds: String,
    },
    #[error("generation {offered} is older than {current}, which is in force")]
    Older { offered: u64, current: u64 },
    #[error("another configuration of generation {0} is in force")]
    Different(u64),
    #[error("there is no backend `{0}`")]
    Unknown(String),
    #[error("there is no configuration yet that a backend could be admitted to")]
    Unconfigured,
    #[error("the key `{0}` is spoken of, and was never told")]
    UnknownKey(String),
    #[error("the access log `{name}` cannot be written: {why}")]
    AccessLog { name: String, why: String },
}

fn unwritable(name: &str, error: &std::io::Error) -> Refusal {
    Refusal::AccessLog {
        name: name.to_owned(),
        why: error.to_string(),
    }
}

/// The backends, and the configuration in force.
#[derive(Debug)]
pub(super) struct Pool {
    fleet: Arc<ArcSwap<Fleet>>,
    table: Mutex<Table>,
    prober: Prober,
    emptied: Arc<Notify>,
    /// The requests that wait for a place.
    pub(super) queue: Arc<Queue>,
    pub(super) handoffs: Arc<Handoffs>,
}

#[derive(Debug)]
struct Table {
    config: Option<Config>,
    policy: Arc<dyn Policy>,
    /// The same for who reads prompts for others, with a memory of its own.
    policy_of_readers: Arc<dyn Policy>,
    client_keys: ClientKeys,
    bounds: Bounds,
    /// How many requests may wait for each instance.
    waiting: usize,
    limits: InstanceLimits,
    /// The prompts that are read before anybody has room for their answers.
    ahead: Arc<ReadAhead>,
    telling: Telling,
    members: Vec<Member>,
    /// Declared in the place of members that serve still, and not seen yet.
    coming: Vec<Member>,
    /// Gone from the configuration, and still with requests in flight.
    leaving: Vec<Arc<Backend>>,
    /// The last that have left, for what became of their requests.
    left: VecDeque<Arc<Backend>>,
    /// What the proxy before sent requests to.
    inherited: Inherited,
}

#[derive(Debug)]
struct Member {
    backend: Arc<Backend>,
    /// Probes it for as long as it is a member.
    _watch: Probing,
}

impl Pool {
    /// Makes a pool with nothing in it.
    pub(super) fn new(prober: Prober) -> Self {
        let bounds = Bounds::try_from(&Timeouts::default());
        let queue = Arc::<Queue>::default();
        let table = Table {
            config: None,
            policy: PolicySpec::default().build(),
            policy_of_readers: PolicySpec::default().build(),
            client_keys: ClientKeys::default(),
            bounds: bounds.expect("the defaults are positive"),
            waiting: usize::MAX,
            limits: InstanceLimits::default(),
            ahead: ReadAhead::before(&queue),
            telling: Telling {
                headers: true,
                access_log: None,
            },
            members: Vec::new(),
            coming: Vec::new(),
            leaving: Vec::new(),
            left: VecDeque::new(),
            inherited: Inherited::default(),
        };
        Self {
            fleet: Arc::new(ArcSwap::from_pointee(table.fleet())),
            table: Mutex::new(table),
            prober,
            emptied: Arc::default(),
            queue,
            handoffs: Arc::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics under this lock")
    }

    /// What requests go by from now on, until it is asked for again.
    pub(super) fn fleet(&self) -> Arc<Fleet> {
        self.fleet.load_full()
    }

    /// The same, for who looks at it time and again.
    pub(super) fn fleets(&self) -> Arc<ArcSwap<Fleet>> {
        Arc::clone(&self.fleet)
    }

    /// The same, for who looks at it and does not wait.
    pub(super) fn now(&self) -> Guard<Arc<Fleet>> {
        self.fleet.load()
    }

    /// The access log, where one is written.
    pub(super) fn access_log(&self) -> Option<Arc<AccessLog>> {
        self.fleet.load().telling.access_log.clone()
    }

    /// Has requests go by what the table says now.
    fn publish(&self, table: &Table) {
        self.fleet.store(Arc::new(table.fleet()));
        self.queue.call_all();
    }

    /// How long a client may take nothing of what is written to it, where that is configured.
    pub(super) fn client_patience(&self) -> Option<Duration> {
        self.table().bounds.client
    }

    /// Why nothing can be chosen, or nothing if something can; in words for anybody, without addresses.
    pub(super) fn why_not_ready(&self) -> Option<String> {
        let table = self.table();
        if table.config.is_none() {
            return Some("no configuration is in force yet".to_owned());
        }
        if table.members.is_empty() {
            return Some("the configuration has no backends".to_owned());
        }
        let conditions = table.members.iter().map(|member| &member.backend);
        let mut words = Vec::new();
        for backend in conditions {
            match backend.state() {
                BackendState::Ready => return None,
                state => words.push(format!("{} {}", backend.spec.name, in_words(state))),
            }
        }
        Some(format!("no instance is ready: {}", words.join("; ")))
    }

    /// A configuration with the keys in it that it only speaks of.
    pub(super) fn completed(&self, mut config: Config) -> Result<Config, Refusal> {
        keys::complete(&mut config, self.table().config.as_ref())?;
        Ok(config)
    }

    /// A backend with its key, should it only speak of it.
    pub(super) fn completed_backend(
        &self,
        mut backend: control::Backend,
    ) -> Result<control::Backend, Refusal> {
        keys::complete_backend(&mut backend, self.table().config.as_ref())?;
        Ok(backend)
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<Config> {
        self.table().config.clone()
    }

    /// The members, those that are to be some, and those that are leaving.
    pub(super) fn backends(&self) -> Vec<Arc<Backend>> {
        self.table().backends().cloned().collect()
    }

    /// The members as they stand, and those that leave under a name of their own.
    pub(super) fn statuses(&self) -> BTreeMap<String, BackendStatus> {
        let mut table = self.table();
        table.forget_the_gone();
        let mut statuses = BTreeMap::new();
        for backend in table.backends() {
            statuses
                .entry(backend.spec.name.clone())
                .or_insert_with(|| backend.status());
        }
        statuses
    }

    /// Those that get no requests any more, oldest first: what became of the requests of each. A member that
    /// was declared anew is none.
    pub(super) fn former(&self) -> Vec<FormerStart> {
        let mut table = self.table();
        table.forget_the_gone();
        let members = table.members.iter().chain(&table.coming);
        let known: BTreeSet<_> = members.map(|it| it.backend.start()).collect();
        let own = table.left.iter().chain(&table.leaving);
        let own = own.map(|it| it.account.read(it.start(), it.in_flight()));
        let former = table.inherited.read().chain(own);
        let is_known = |it: &FormerStart| known.contains(&(it.name.as_str(), it.start.as_deref()));
        former.filter(|it| !is_known(it)).collect()
    }

    /// What was counted of the requests of each start, for who takes over.
    pub(super) fn accounts(&self) -> Vec<Told> {
        let table = self.table();
        account::tell(table.left.iter().chain(table.backends()), &table.inherited)
    }

    /// Counts on from the accounts of the proxy before, which were these `before` when they were told last.
    pub(super) fn count_on(&self, accounts: &[Told], before: &[Told]) {
        let mut table = self.table();
        let mut inherited = std::mem::take(&mut table.inherited);
        let own: Vec<_> = table.left.iter().chain(table.backends()).collect();
        account::count_on(&own, &mut inherited, accounts, before);
        table.inherited = inherited;
    }

    /// Whether a configuration would be taken.
    pub(super) fn check(&self, config: &Config) -> Result<(), Refusal> {
        Bounds::try_from(&config.timeouts)?;
        if let Some(name) = &config.access_log {
            AccessLog::check(name).map_err(|error| unwritable(name, &error))?;
        }
        for (at, backend) in config.backends.iter().enumerate() {
            Backend::new(backend.clone(), Arc::default())?;
            if config.backends[..at].iter().any(|b| b.name == backend.name) {
                return Err(Refusal::Twice(backend.name.clone()));
            }
        }
        let table = self.table();
        let Some(current) = &table.config else {
            return Ok(());
        };
        let (offered, current_generation) = (config.generation, current.generation);
        if offered > current_generation || current == config {
            Ok(())
        } else if offered < current_generation {
            let current = current_generation;
            Err(Refusal::Older { offered, current })
        } else {
            Err(Refusal::Different(current_generation))
        }
    }

    /// Serves by a configuration from now on, and returns the backends that are leaving.
    ///
    /// Members that it has too are kept with their connections and their requests; a drain of
    /// theirs ends.
    pub(super) fn install(&self, config: Config) -> Result<Vec<Arc<Backend>>, Refusal> {
        let bounds = Bounds::try_from(&config.timeouts)?;
        let mut table = self.table();
        let is_new = |spec: &&control::Backend| !table.is_known(spec);
        let new = config.backends.iter().filter(is_new);
        let new: Result<Vec<_>, _> = new
            .map(|spec| self.member(spec.clone(), table.tally(&spec.name)))
            .collect();
        // Nothing is touched before everything is known to be possible.
        let mut known = new?;
        table.telling = table.telling_by(&config)?;
        known.append(&mut table.members);
        known.append(&mut table.coming);
        // The table is made anew in the order of the configuration, which policies go by. Who is
        // declared still stays the same member: its requests in flight and its probes are its own.
        for spec in &config.backends {
            if let Some(at) = known.iter().position(|member| member.is(spec)) {
                table.members.push(known.swap_remove(at));
            }
        }
        // Who is left is declared no more: it gets nothing new, and ends what it has.
        for member in known {
            table.retire(member);
        }
        // A policy that stays remembers whose turn it is.
        if table.config.as_ref().map(|c| &c.policy) != Some(&config.policy) {
            table.policy = config.policy.build();
            table.policy_of_readers = config.policy.build();
        }
        table.client_keys = ClientKeys::of(&config);
        for member in &table.members {
            member.go_by(&config);
            member.take_turns(&config.drained);
        }
        table.bounds = bounds;
        table.waiting = room_to_wait(&config.limits);
        table.limits = config.limits.clone();
        table.config = Some(config);
        table.forget_the_gone();
        self.publish(&table);
        Ok(table.leaving.clone())
    }

    /// Serves from one more backend, or from its new epoch. Where the one before serves, it goes on until
    /// the new one was seen, and is then [promoted](Self::promote). Where that one itself is told of again,
    /// nobody takes its place any more.
    pub(super) fn admit(&self, spec: control::Backend) -> Result<Arc<Backend>, Refusal> {
        let mut table = self.table();
        let config = table.config.as_mut().ok_or(Refusal::Unconfigured)?;
        *config = with_backend(config.clone(), spec.clone());
        let drained = config.drained.clone();
        let mut known = table.members.iter().chain(&table.coming);
        if let Some(member) = known.find(|member| member.is(&spec)) {
            member.take_turns(&drained);
            let backend = Arc::clone(&member.backend);
            table.end_coming(|other| other.backend.spec.name == spec.name && !other.is(&spec));
            self.publish(&table);
            return Ok(backend);
        }
        let tally = table.tally(&spec.name);
        let member = self.member(spec, tally)?;
        if let Some(config) = &table.config {
            member.go_by(config);
            member.take_turns(&drained);
        }
        let backend = Arc::clone(&member.backend);
        let is_drained = drained.contains(&backend.spec.name);
        table.take_in(member, is_drained);
        self.publish(&table);
        Ok(backend)
    }

    /// Whether a backend is to take the place of one that serves still.
    pub(super) fn is_coming(&self, backend: &Arc<Backend>) -> bool {
        let table = self.table();
        let mut coming = table.coming.iter();
        coming.any(|member| Arc::ptr_eq(&member.backend, backend))
    }

    /// Has a backend that was seen take the place of the one that served until now, if it is to.
    pub(super) fn promote(&self, backend: &Arc<Backend>) {
        let mut table = self.table();
        let mut coming = table.coming.iter();
        let Some(at) = coming.position(|member| Arc::ptr_eq(&member.backend, backend)) else {
            return;
        };
        let member = table.coming.swap_remove(at);
        table.put_in_place(member);
        self.publish(&table);
    }

    /// What is left of the other epochs of a backend: not of the one that it is to serve as, whose own requests
    /// may go on.
    pub(super) fn leaving(&self, serving: &control::Backend) -> Vec<Arc<Backend>> {
        let table = self.table();
        let start = (serving.name.as_str(), serving.nonce.as_deref());
        let is_other = |it: &&Arc<Backend>| it.spec.name == serving.name && it.start() != start;
        table.leaving.iter().filter(is_other).cloned().collect()
    }

    /// Says what the configuration would be with one more backend.
    pub(super) fn config_with(&self, spec: &control::Backend) -> Result<Config, Refusal> {
        Backend::new(spec.clone(), Arc::default())?;
        let config = self.config().ok_or(Refusal::Unconfigured)?;
        Ok(with_backend(config, spec.clone()))
    }

    /// The names of those that were told to drain and are still configured.
    pub(super) fn draining(&self) -> BTreeSet<String> {
        let table = self.table();
        let members = table.members.iter().map(|member| &member.backend);
        members
            .filter(|backend| backend.state() == BackendState::Draining)
            .map(|backend| backend.spec.name.clone())
            .collect()
    }

    /// Sends no new request to a backend, and returns every epoch of it that may have some.
    pub(super) fn drain(&self, name: &str) -> Vec<Arc<Backend>> {
        let table = self.table();
        let named = table.backends().filter(|b| b.spec.name == name);
        let backends: Vec<_> = named.cloned().collect();
        for backend in &backends {
            backend.drain();
        }
        backends
    }

    /// Ends a drain of a backend that is served from still, and is not to be drained until somebody
    /// says so.
    pub(super) fn readmit(&self, name: &str) {
        let table = self.table();
        let drained = table.config.as_ref().map(|config| &config.drained);
        if drained.is_some_and(|drained| drained.contains(name)) {
            return;
        }
        let named = table.members.iter().map(|member| &member.backend);
        for backend in named.filter(|backend| backend.spec.name == name) {
            backend.readmit();
        }
    }

    /// Says what the configuration would be with these drained, and no others.
    pub(super) fn config_draining(&self, drained: BTreeSet<String>) -> Result<Config, Refusal> {
        let config = self.config().ok_or(Refusal::Unconfigured)?;
        let unknown = |name: &&String| !config.backends.iter().any(|it| it.name == **name);
        if let Some(name) = drained.iter().find(unknown) {
            return Err(Refusal::Unknown(name.clone()));
        }
        Ok(Config {
            generation: config.generation + 1,
            drained,
            ..config
        })
    }

    /// Sends no new request to those that this configuration has drained, and some to those that the one
    /// before had and this has not; all else of the two is the same.
    pub(super) fn drain_by(&self, config: Config) -> Drained {
        let mut table = self.table();
        let before = table.config.take().map(|it| it.drained).unwrap_or_default();
        let (mut draining, mut again) = (Vec::new(), Vec::new());
        for member in &table.members {
            let (backend, name) = (&member.backend, &member.backend.spec.name);
            if config.drained.contains(name) {
                draining.push(Arc::clone(backend));
            } else if before.contains(name) {
                again.push(Arc::clone(backend));
            } else {
                continue;
            }
            member.take_turns(&config.drained);
        }
        // They are looked at now, and not when their next probes are due.
        for backend in &again {
            backend.suspect();
        }
        table.config = Some(config);
        Drained { draining, again }
    }

    /// Waits until something is different about requests in flight: called before the count is
    /// looked at, awaited after.
    pub(super) fn emptied(&self) -> tokio::sync::futures::Notified<'_> {
        self.emptied.notified()
    }

    fn member(&self, spec: control::Backend, tally: Arc<Tally>) -> Result<Member, Refusal> {
        let backend = Backend::new(spec, Arc::clone(&self.emptied))?;
        let backend = backend.counting_on(tally);
        let backend = Arc::new(backend.waited_for_in(Arc::clone(&self.queue)));
        let watch = self.prober.watch(Arc::clone(&backend), self.fleets());
        Ok(Member {
            backend,
            _watch: watch,
        })
    }
}

/// Who gets no requests any more, and who gets some again.
pub(super) struct Drained {
    pub(super) draining: Vec<Arc<Backend>>,
    pub(super) again: Vec<Arc<Backend>>,
}

impl Member {
    /// Takes requests from now on, but where it is drained until somebody says so.
    fn take_turns(&self, drained: &BTreeSet<String>) {
        if drained.contains(&self.backend.spec.name) {
            self.backend.drain();
        } else {
            self.backend.readmit();
        }
    }

    fn is(&self, spec: &control::Backend) -> bool {
        self.backend.spec == *spec
    }

    /// Gives it the weight that a configuration has for it, and as many requests as that lets it have.
    fn go_by(&self, config: &Config) {
        let weight = config.weights.get(&self.backend.spec.name);
        self.backend.share.weigh(weight.copied().unwrap_or(1));
        let in_flight = config.limits.in_flight;
        self.backend.limit(in_flight.map(|it| it.get().into()));
    }
}

fn with_backend(mut config: Config, spec: control::Backend) -> Config {
    match config.backends.iter_mut().find(|b| b.name == spec.name) {
        Some(known) => *known = spec,
        None => config.backends.push(spec),
    }
    config
}

impl Table {
    fn fleet(&self) -> Fleet {
        let members = self.members.iter().map(|member| &member.backend);
        Fleet {
            exchange: Exchange::of(self.members.iter().map(|it| it.backend.spec.role)),
            policy: Arc::clone(&self.policy),
            policy_of_readers: Arc::clone(&self.policy_of_readers),
            client_keys: self.client_keys.clone(),
            bounds: self.bounds,
            waiting: self.waiting,
            in_flight: self.limits.in_flight.map(|it| it.get().into()),
            ahead: Arc::clone(&self.ahead),
            least_shared: self.limits.min_prefill_tokens.unwrap_or(0).into(),
            backends: members.cloned().collect(),
            nonces: Nonces::of(self.backends().filter_map(|it| it.spec.nonce.as_deref())),
            telling: self.telling.clone(),
        }
    }

    /// What was counted of an instance, on which its next epoch counts on.
    fn tally(&self, name: &str) -> Arc<Tally> {
        let mut known = self.backends();
        let same = known.find(|backend| backend.spec.name == name);
        same.map(|backend| Arc::clone(&backend.tally))
            .unwrap_or_default()
    }

    /// What is told by a configuration. A log that it has too is written on.
    fn telling_by(&self, config: &Config) -> Result<Telling, Refusal> {
        let open = |name: &String| {
            let current = self.telling.access_log.as_ref();
            if let Some(same) = current.filter(|log| log.name() == name) {
                return Ok(Arc::clone(same));
            }
            let opened = AccessLog::open(name).map(Arc::new);
            opened.map_err(|error| unwritable(name, &error))
        };
        Ok(Telling {
            headers: config.headers,
            access_log: config.access_log.as_ref().map(open).transpose()?,
        })
    }

    /// What is to come is told of before what it takes over from.
    fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let members = self.coming.iter().chain(&self.members);
        let members = members.map(|member| &member.backend);
        members.chain(&self.leaving)
    }

    fn is_known(&self, spec: &control::Backend) -> bool {
        let mut known = self.members.iter().chain(&self.coming);
        known.any(|member| member.is(spec))
    }

    /// The place of the member of a name.
    fn place(&self, name: &str) -> Option<usize> {
        let mut members = self.members.iter();
        members.position(|member| member.backend.spec.name == *name)
    }

    /// Takes a new member in: beside the one before it where that serves, else in its place.
    fn take_in(&mut self, member: Member, is_drained: bool) {
        let name = &member.backend.spec.name;
        let before = self.place(name).map(|at| &self.members[at].backend);
        let serves = before.is_some_and(|before| before.state() == BackendState::Ready);
        self.end_coming(|other| other.backend.spec.name == *name);
        if serves && !is_drained {
            self.coming.push(member);
        } else {
            self.put_in_place(member);
        }
    }

    /// Forgets of those that are to come the ones for which `is_outdated` says so.
    fn end_coming(&mut self, is_outdated: impl Fn(&Member) -> bool) {
        let outdated = self.coming.extract_if(.., |member| is_outdated(member));
        for member in outdated.collect::<Vec<_>>() {
            self.retire(member);
        }
    }

    fn put_in_place(&mut self, member: Member) {
        match self.place(&member.backend.spec.name) {
            Some(at) => {
                let before = std::mem::replace(&mut self.members[at], member);
                self.retire(before);
            }
            None => self.members.push(member),
        }
    }

    fn retire(&mut self, member: Member) {
        member.backend.drain();
        member.backend.connections.clear();
        self.leaving.push(member.backend);
    }

    fn forget_the_gone(&mut self) {
        let is_gone = |backend: &mut Arc<Backend>| backend.unfinished() == 0;
        self.left.extend(self.leaving.extract_if(.., is_gone));
        let surplus = self.left.len().saturating_sub(REMEMBERED);
        self.left.drain(..surplus);
    }
}

/// How many requests may wait for an instance, by itself twice as many as it may have.
fn room_to_wait(limits: &InstanceLimits) -> usize {
    let Some(in_flight) = limits.in_flight else {
        return usize::MAX;
    };
    let twice = u64::from(in_flight.get()) * 2;
    let waiting = limits.queue.map_or(twice, u64::from);
    usize::try_from(waiting).unwrap_or(usize::MAX)
}

fn in_words(state: BackendState) -> &'static str {
    match state {
        BackendState::Pending => "was not seen yet",
        BackendState::Ready => "is ready",
        BackendState::Draining => "is draining",
        BackendState::Ejected => "was taken out",
    }
}
