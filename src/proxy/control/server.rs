//! The proxy's side of the control socket.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use super::{Backend as Spec, BackendState, Config, Reply, Request, Status};
use crate::proxy::backend::{Backend, Condition};
use crate::proxy::keys;
use crate::proxy::pool::{Drained, Refusal};
use crate::proxy::route::Front;
use crate::proxy::store::{Kept, Store};
use crate::proxy::succession::{Asked, Estate, Place};
use crate::proxy::{Declared, Options, ProxyError};

/// How often one who waits is told for what.
const NEWS: Duration = Duration::from_millis(500);

/// For how long a request is in flight that is worth telling.
const LONG: Duration = Duration::from_secs(10);

/// What is done when the proxy is told something.
#[derive(Debug)]
pub(in crate::proxy) struct Control {
    front: Arc<Front>,
    declared: Option<Declared>,
    /// Held while a change is checked, kept and made: changes come one after another. Nobody holds
    /// it while waiting for a drain.
    store: Mutex<Store>,
    /// Who waits for the drains of each backend.
    drains: std::sync::Mutex<BTreeMap<String, Drain>>,
    fd_limit: u64,
    /// What a successor is given.
    pub(in crate::proxy) estate: Estate,
}

/// Those who had a backend drained.
#[derive(Debug, Default)]
struct Drain {
    /// How many wait until it is.
    waiting: u64,
    /// Whether somebody was told that it is, and may be about to stop it.
    is_told: bool,
}

/// Why a request gets no answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("{0}")]
    Refused(String),
    /// Who asked went away: what was asked for goes on, but for a drain that did not come to its end.
    #[error("nobody listens any more: {0}")]
    Gone(#[from] std::io::Error),
}

impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

/// Answers whoever connects, for as long as it is polled. Where there is nothing to connect to,
/// nobody does.
pub(in crate::proxy) async fn serve(listener: Option<UnixListener>, control: Arc<Control>) {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move { control.converse(stream).await });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection was not accepted");
                tokio::time::sleep(NEWS).await;
            }
        }
    }
}

impl Control {
    pub(in crate::proxy) fn new(
        front: Arc<Front>,
        options: &Options,
        fd_limit: u64,
        estate: Estate,
    ) -> Self {
        Self {
            front,
            declared: options.declared.clone(),
            store: Mutex::new(Store::new(options.state.clone())),
            drains: std::sync::Mutex::default(),
            fd_limit,
            estate,
        }
    }

    /// Serves by what is declared, or else by what it inherited, or else by what was kept when the proxy
    /// last ran.
    pub(in crate::proxy) async fn begin(&self, inherited: Option<Kept>) -> Result<(), ProxyError> {
        let store = self.store.lock().await;
        let unusable = |why: String| ProxyError::State {
            path: store.path().to_owned(),
            why,
        };
        let kept = match inherited {
            Some(kept) => {
                let saved = store.save(&kept).await;
                saved.map_err(|error| unusable(error.to_string()))?;
                Some(kept)
            }
            None => store.load().await.map_err(|e| unusable(e.to_string()))?,
        };
        if let Some(declared) = &self.declared {
            let generation = kept.map_or(0, |kept| kept.config.generation) + 1;
            let config = Config {
                generation,
                ..declared.config.clone()
            };
            return self.begin_by(&store, config).await;
        }
        let Some(Kept { config, draining }) = kept else {
            return Ok(());
        };
        let pool = &self.front.pool;
        let generation = config.generation;
        pool.check(&config)
            .and_then(|()| pool.install(config))
            .map_err(|refusal| unusable(refusal.to_string()))?;
        for name in &draining {
            pool.drain(name);
        }
        self.front.opening.begin(pool.backends());
        tracing::info!(generation, "serving by the configuration that was kept");
        Ok(())
    }

    async fn begin_by(&self, store: &Store, config: Config) -> Result<(), ProxyError> {
        let installed = self.install(store, config).await;
        installed.map_err(|unanswered| ProxyError::Declared(unanswered.to_string()))?;
        self.front.opening.begin(self.front.pool.backends());
        Ok(())
    }

    /// Opens the access log anew and reads again what the proxy was declared by, as a signal asks. Nobody waits for the answer: it
    /// is in the log.
    pub(in crate::proxy) async fn hung_up(&self) {
        if let Some(log) = self.front.pool.access_log() {
            log.reopen();
        }
        if self.declared.is_none() {
            return;
        }
        // What it says is in the log already.
        let _ = self.declare_again().await;
    }

    async fn converse(&self, stream: UnixStream) {
        let (read, write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut replies = Replies(write);
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(Asked::Succeed(place)) = serde_json::from_str(&line) {
                return self.hand_over(lines.into_inner(), replies, &place).await;
            }
            let answered = match serde_json::from_str(&line) {
                Ok(request) => self.answer(request, &mut replies).await,
                Err(error) => Err(Unanswered::Refused(format!("not a request: {error}"))),
            };
            let reply = match answered {
                Ok(()) => Reply::Done(Box::new(self.status())),
                Err(Unanswered::Refused(message)) => Reply::Refused { message },
                Err(Unanswered::Gone(_)) => return,
            };
            if replies.send(&reply).await.is_err() {
                return;
            }
        }
    }

    /// Hands everything over to a successor.
    async fn hand_over(&self, read: BufReader<OwnedReadHalf>, replies: Replies, place: &Place) {
        let Ok(stream) = read.into_inner().reunite(replies.0) else {
            return;
        };
        // What is changed now is changed at the one before, and is not known to the successor.
        let store = self.store.lock().await;
        let draining = self.front.pool.draining();
        let kept = self.front.pool.config();
        let kept = kept.map(|config| Kept { config, draining });
        let handed = self.estate.hand_over(stream, place, kept, store).await;
        if let Err(error) = handed {
            tracing::warn!(%error, "a successor went away");
        }
    }

    async fn answer(&self, request: Request, replies: &mut Replies) -> Result<(), Unanswered> {
        match request {
            Request::Configure(config) => self.configure(config, replies).await,
            Request::Drain { backend, wait } => self.drain(&backend, wait, replies).await,
            Request::Drained(names) => self.set_drained(names, replies).await,
            Request::Admit(backend) => self.admit(backend, replies).await,
            Request::TakeOver(backend) => self.take_over(backend, replies).await,
            Request::Reload => self.reload(replies).await,
            Request::Status => Ok(()),
        }
    }

    async fn configure(&self, config: Config, replies: &mut Replies) -> Result<(), Unanswered> {
        let store = self.store.lock().await;
        let leaving = self.install(&store, config).await?;
        drop(store);
        self.wait_until_empty(&leaving, replies).await
    }

    /// Checks a configuration, keeps it and serves by it; returns the backends that are leaving.
    async fn install(
        &self,
        store: &Store,
        config: Config,
    ) -> Result<Vec<Arc<Backend>>, Unanswered> {
        let config = self.front.pool.completed(config)?;
        self.front.pool.check(&config)?;
        let kept = Kept {
            config: config.clone(),
            draining: std::collections::BTreeSet::new(),
        };
        keep(store, &kept).await?;
        tracing::info!(generation = config.generation, "configured");
        Ok(self.front.pool.install(config)?)
    }

    async fn reload(&self, replies: &mut Replies) -> Result<(), Unanswered> {
        let leaving = self.declare_again().await?;
        self.wait_until_empty(&leaving, replies).await
    }

    /// Serves by what the proxy is declared by now. Where that is wrong, nothing is changed.
    async fn declare_again(&self) -> Result<Vec<Arc<Backend>>, Unanswered> {
        let store = self.store.lock().await;
        let read = match &self.declared {
            Some(declared) => declared.read_again().await,
            None => None,
        };
        let nothing = "there is nothing to read again: it was started without `--config`";
        let read = read.unwrap_or_else(|| Err(nothing.to_owned()));
        let installed = match read {
            Ok(config) => {
                let current = self.front.pool.config();
                let generation = current.as_ref().map_or(0, |it| it.generation) + 1;
                let mut drained = current.map(|it| it.drained).unwrap_or_default();
                drained.retain(|name| config.backends.iter().any(|it| it.name == *name));
                let config = Config {
                    generation,
                    drained,
                    ..config
                };
                self.install(&store, config).await
            }
            Err(why) => Err(Unanswered::Refused(why)),
        };
        let pool = &self.front.pool;
        match &installed {
            // All that it names is new: who asks waits for the first probes, as after a start.
            Ok(_) if pool.why_not_ready().is_some() => self.front.opening.begin(pool.backends()),
            Ok(_) => {}
            Err(why) => tracing::warn!(%why, "the configuration stays as it was"),
        }
        installed
    }

    async fn drain(&self, name: &str, wait: bool, replies: &mut Replies) -> Result<(), Unanswered> {
        let began = Instant::now();
        let store = self.store.lock().await;
        let is_begun = self.front.pool.draining().contains(name);
        let waiter = self.wait_for_drain(name, is_begun);
        let draining = self.front.pool.drain(name);
        tracing::info!(backend = name, "draining");
        self.keep_drains(&store).await;
        drop(store);
        let waited = if wait {
            self.wait_until_empty(&draining, replies).await
        } else {
            for backend in &draining {
                backend.account.is_abandoned(backend.in_flight());
            }
            Ok(())
        };
        if wait && waited.is_ok() {
            self.front.drains.observe(began.elapsed());
        }
        let is_left = waiter.leaves(waited.is_ok());
        if is_left {
            self.end_drain(name).await;
        }
        waited
    }

    async fn set_drained(
        &self,
        names: BTreeSet<String>,
        replies: &mut Replies,
    ) -> Result<(), Unanswered> {
        let store = self.store.lock().await;
        let pool = &self.front.pool;
        let config = pool.config_draining(names)?;
        let before = pool.config().map(|it| it.drained).unwrap_or_default();
        let kept = Kept {
            config: config.clone(),
            draining: pool.draining().difference(&before).cloned().collect(),
        };
        keep(&store, &kept).await?;
        tracing::info!(drained = ?config.drained, "drained until told otherwise");
        let Drained { draining, again } = pool.drain_by(config);
        drop(store);
        self.wait_until_empty(&draining, replies).await?;
        for backend in &again {
            wait_until_ready(backend, replies).await?;
        }
        Ok(())
    }

    /// Counts one more who waits for the drain of a backend.
    fn wait_for_drain(&self, name: &str, is_begun: bool) -> Waiter<'_> {
        let mut drains = self.drains();
        let drain = drains.entry(name.to_owned()).or_default();
        drain.waiting += 1;
        drain.is_told &= is_begun;
        Waiter {
            control: self,
            name: name.to_owned(),
        }
    }

    fn drains(&self) -> MutexGuard<'_, BTreeMap<String, Drain>> {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves again from what was to be drained for somebody who went away before it was.
    async fn end_drain(&self, name: &str) {
        let store = self.store.lock().await;
        // Somebody else may have come meanwhile.
        if self.drains().get(name).is_some_and(Drain::is_wanted) {
            return;
        }
        self.front.pool.readmit(name);
        tracing::warn!(
            backend = name,
            "whoever had it drained is gone: it serves again"
        );
        self.keep_drains(&store).await;
    }

    /// Keeps for the next start what is to be drained. Only that needs it: no drain, and no end of
    /// one, fails for a full disk.
    async fn keep_drains(&self, store: &Store) {
        let Some(config) = self.front.pool.config() else {
            return;
        };
        let draining = self.front.pool.draining();
        if let Err(error) = store.save(&Kept { config, draining }).await {
            tracing::warn!(%error, "what is to be drained cannot be kept");
        }
    }

    async fn admit(&self, spec: Spec, replies: &mut Replies) -> Result<(), Unanswered> {
        let store = self.store.lock().await;
        let spec = self.front.pool.completed_backend(spec)?;
        let config = self.front.pool.config_with(&spec)?;
        let mut draining = self.front.pool.draining();
        draining.remove(&spec.name);
        keep(&store, &Kept { config, draining }).await?;
        tracing::info!(backend = %spec.name, authority = %spec.authority, "admitting");
        let name = spec.name.clone();
        let backend = self.front.pool.admit(spec)?;
        self.promote_once_seen(&backend);
        drop(store);
        let config = self.front.pool.config();
        if config.is_some_and(|config| config.drained.contains(&name)) {
            // It is known again, and gets nothing until somebody says so.
            return Ok(());
        }
        wait_until_ready(&backend, replies).await?;
        self.front.pool.promote(&backend);
        Ok(())
    }

    /// Has a backend take the place of its former start once it was seen, also where whoever asked for
    /// that goes away.
    fn promote_once_seen(&self, backend: &Arc<Backend>) {
        if !self.front.pool.is_coming(backend) {
            return;
        }
        let (front, backend) = (Arc::clone(&self.front), Arc::clone(backend));
        tokio::spawn(async move {
            let mut conditions = backend.watch();
            let is_settled = |condition: &Condition| {
                matches!(
                    condition.state,
                    BackendState::Ready | BackendState::Draining
                )
            };
            let settled = conditions.wait_for(is_settled).await;
            let is_seen = settled.is_ok_and(|it| it.state == BackendState::Ready);
            if is_seen {
                front.pool.promote(&backend);
            }
        });
    }

    /// Serves from a backend alone of all that have its name.
    async fn take_over(&self, spec: Spec, replies: &mut Replies) -> Result<(), Unanswered> {
        self.admit(spec.clone(), replies).await?;
        let former = self.front.pool.leaving(&spec);
        self.wait_until_empty(&former, replies).await
    }

    async fn wait_until_empty(
        &self,
        backends: &[Arc<Backend>],
        replies: &mut Replies,
    ) -> Result<(), Unanswered> {
        loop {
            let mut emptied = std::pin::pin!(self.front.pool.emptied());
            // From here on nothing is missed, whatever happens before it is awaited.
            emptied.as_mut().enable();
            let in_flight = backends.iter().map(|backend| backend.unfinished()).sum();
            if in_flight == 0 {
                return Ok(());
            }
            let what = waited_for(in_flight, backends);
            tokio::select! {
                () = emptied => {}
                () = tokio::time::sleep(NEWS) => {
                    replies.send(&Reply::Waiting { what, in_flight }).await?;
                }
            }
        }
    }

    fn status(&self) -> Status {
        Status {
            config: self.front.pool.config().map(keys::told),
            backends: self.front.pool.statuses(),
            requests: self.front.ledger.read(),
            waiting: self.front.pool.queue.length(),
            fd_limit: self.fd_limit,
            hands_over: true,
            takes_over: true,
            former: self.front.pool.former(),
        }
    }
}

impl Drain {
    fn is_wanted(&self) -> bool {
        self.is_told || self.waiting > 0
    }
}

/// One who waits for a drain.
struct Waiter<'a> {
    control: &'a Control,
    name: String,
}

impl Waiter<'_> {
    /// Counts it out, and returns whether nobody wants the drain any more.
    fn leaves(self, is_drained: bool) -> bool {
        let mut drains = self.control.drains();
        let drain = drains.entry(self.name).or_default();
        drain.waiting = drain.waiting.saturating_sub(1);
        drain.is_told |= is_drained;
        !drain.is_wanted()
    }
}

async fn wait_until_ready(backend: &Backend, replies: &mut Replies) -> Result<(), Unanswered> {
    let name = &backend.spec.name;
    let mut conditions = backend.watch();
    loop {
        let condition = conditions.borrow_and_update().clone();
        match condition.state {
            BackendState::Ready => return Ok(()),
            BackendState::Draining => {
                let message = format!("{name} was told to drain before it was seen");
                return Err(Unanswered::Refused(message));
            }
            BackendState::Pending | BackendState::Ejected => {}
        }
        tokio::select! {
            _ = conditions.changed() => {}
            () = tokio::time::sleep(NEWS) => {
                let trouble = condition.trouble.as_deref().unwrap_or("not probed yet");
                let what = format!("{name} was not seen yet: {trouble}");
                let in_flight = backend.unfinished();
                replies.send(&Reply::Waiting { what, in_flight }).await?;
            }
        }
    }
}

async fn keep(store: &Store, kept: &Kept) -> Result<(), Unanswered> {
    store.save(kept).await.map_err(|error| {
        let path = store.path().display();
        Unanswered::Refused(format!(
            "cannot keep the configuration in `{path}`: {error}"
        ))
    })
}

/// What is in flight at backends that drain, and for how long it has been once that is long.
fn waited_for(in_flight: u64, backends: &[Arc<Backend>]) -> String {
    let what = format!("{} in flight at {}", requests(in_flight), names(backends));
    let oldest = backends.iter().filter_map(|backend| backend.oldest()).min();
    match oldest.map(|began| began.elapsed()) {
        Some(age) if age >= LONG => format!("{what}, the oldest for {} s", age.as_secs()),
        _ => what,
    }
}

fn requests(count: u64) -> String {
    match count {
        1 => "1 request".to_owned(),
        _ => format!("{count} requests"),
    }
}

fn names(backends: &[Arc<Backend>]) -> String {
    let busy = backends.iter().filter(|backend| backend.unfinished() > 0);
    let names: Vec<_> = busy.map(|backend| backend.spec.name.as_str()).collect();
    names.join(", ")
}

/// The way back to the one who asked.
struct Replies(OwnedWriteHalf);

impl Replies {
    async fn send(&mut self, reply: &Reply) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_for_long_is_told_with_its_age() {
        let spec = Spec {
            name: "a".to_owned(),
            authority: "127.0.0.1:1".to_owned(),
            role: Role::Both,
            nonce: Some("replica-1".to_owned()),
            key: None,
        };
        let backend = Arc::new(Backend::new(spec, Arc::default()).unwrap());
        let told = |in_flight| waited_for(in_flight, std::slice::from_ref(&backend));
        backend.seen();
        let first = backend.claim(None);
        assert_eq!(told(1), "1 request in flight at a");
        tokio::time::advance(Duration::from_secs(62)).await;
        let _second = backend.claim(None);
        assert_eq!(told(2), "2 requests in flight at a, the oldest for 62 s");
        drop(first);
        assert_eq!(told(1), "1 request in flight at a");
    }
}
