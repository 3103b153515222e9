//! The engine's clock: turns a [`Scheduler`] into something that answers in real (or paused) time.
//!
//! One task owns the time; everyone else submits through an [`Engine`] and listens to a
//! [`Generation`]. Dropping the generation aborts it, as a client that goes away does in vLLM.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::kv::Connector;
use super::kv::pull::Outcome;
use super::log::Log;
use super::scheduler::{Output, Scheduler, SequenceId, Work};

/// Faults that a test may ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    /// Stop computing after so many completions.
    pub(super) wedge_after: Option<u64>,
    /// How much longer one step takes: the first once more than one token was asked for.
    pub(super) cold: Duration,
    /// How many completions come before that step.
    pub(super) cold_after: u64,
}

/// What the rest of the program has decided about the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    /// It computes.
    On,
    /// It was stopped on purpose: those who wait get no more tokens and no end, as in vLLM 0.13.
    Off,
    /// Its process is gone: those who wait are told.
    Dead,
}

/// The way to the engine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    scheduler: Arc<Mutex<Scheduler>>,
    orders: mpsc::UnboundedSender<Order>,
    power: watch::Sender<Power>,
    next: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    Submit {
        work: Work,
        reply: mpsc::UnboundedSender<Output>,
    },
    Abort(Vec<SequenceId>),
    /// Blocks were fetched from another engine, or were not.
    Pulled(SequenceId, Outcome),
    /// Another engine has fetched what was kept of a request.
    Fetched(String),
}

/// The answers that one request waits for.
#[derive(Debug)]
pub(super) struct Generation {
    ids: Vec<SequenceId>,
    outputs: mpsc::UnboundedReceiver<Output>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Engine {
    /// Starts the engine's task.
    pub(super) fn start(
        scheduler: Scheduler,
        faults: Faults,
        connector: Option<Arc<Connector>>,
        log: Log,
    ) -> Self {
        let scheduler = Arc::new(Mutex::new(scheduler));
        let (orders, inbox) = mpsc::unbounded_channel();
        let (power, switch) = watch::channel(Power::On);
        let core = Core {
            scheduler: Arc::clone(&scheduler),
            inbox,
            own_orders: orders.downgrade(),
            switch,
            power: power.clone(),
            connector,
            replies: HashMap::new(),
            origin: Instant::now(),
            faults,
            completed: 0,
            decodes: false,
            log,
        };
        tokio::spawn(core.run());
        Self {
            scheduler,
            orders,
            power,
            next: Arc::default(),
        }
    }

    /// Asks for one answer a work; their sequence numbers are given here.
    pub(super) fn generate(&self, works: impl IntoIterator<Item = Work>) -> Generation {
        let (reply, outputs) = mpsc::unbounded_channel();
        let mut ids = Vec::new();
        for mut work in works {
            work.id = self.next.fetch_add(1, Ordering::Relaxed);
            ids.push(work.id);
            // A failed send means that the engine is dead, which the listener sees by itself.
            let _ = self.orders.send(Order::Submit {
                work,
                reply: reply.clone(),
            });
        }
        Generation {
            ids,
            outputs,
            orders: self.orders.clone(),
        }
    }

    /// The engine's books.
    pub(super) fn books(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.scheduler)
    }

    /// Stops the engine, or says that it is dead.
    pub(super) fn switch(&self, power: Power) {
        self.power.send_replace(power);
    }

    /// Waits until the engine is dead.
    pub(super) async fn died(&self) {
        let mut power = self.power.subscribe();
        // Its sender is here, so that it cannot be gone.
        let _ = power.wait_for(|power| *power == Power::Dead).await;
    }

    /// Waits until the engine computes no more.
    pub(super) async fn stopped(&self) {
        let mut power = self.power.subscribe();
        let _ = power.wait_for(|power| *power != Power::On).await;
    }

    /// Says that another engine has what was kept of a request.
    pub(super) fn fetched(&self, request: String) {
        let _ = self.orders.send(Order::Fetched(request));
    }

    /// What was decided about the engine.
    pub(super) fn power(&self) -> Power {
        *self.power.borrow()
    }
}

impl Generation {
    /// Which answer of this request a sequence is, from 0.
    pub(super) fn index_of(&self, id: SequenceId) -> usize {
        self.ids
            .iter()
            .position(|known| *known == id)
            .expect("only this request's outputs arrive here")
    }

    /// Ends one answer, which nobody wants to go on.
    pub(super) fn abort(&self, id: SequenceId) {
        let _ = self.orders.send(Order::Abort(vec![id]));
    }

    /// The next token of any answer; nothing after the last one, or when the engine died.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Output>> {
        self.outputs.poll_recv(context)
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let _ = self
            .orders
            .send(Order::Abort(std::mem::take(&mut self.ids)));
    }
}

/// The task that owns the time.
struct Core {
    scheduler: Arc<Mutex<Scheduler>>,
    inbox: mpsc::UnboundedReceiver<Order>,
    /// For what the engine has done on its behalf; it does not keep the engine alive.
    own_orders: mpsc::WeakUnboundedSender<Order>,
    power: watch::Sender<Power>,
    connector: Option<Arc<Connector>>,
    switch: watch::Receiver<Power>,
    replies: HashMap<SequenceId, mpsc::UnboundedSender<Output>>,
    origin: Instant,
    faults: Faults,
    completed: u64,
    /// More was asked for than one token, which a readiness check asks for and which decodes nothing.
    decodes: bool,
    log: Log,
}

/// How far the engine may lag behind its own schedule and still catch up: short hiccups of the
/// machine do not change the rate, a suspended laptop does not cause a flood.
const CATCH_UP: Duration = Duration::from_millis(100);

impl Core {
    async fn run(mut self) {
        let mut switch = self.switch.clone();
        tokio::select! {
            biased;
            _ = switch.wait_for(|power| *power != Power::On) => {}
            () = self.work() => {}
        }
        if *switch.borrow() == Power::Off {
            // Parked for ever with the replies in hand: nobody sees an end.
            std::future::pending::<()>().await;
        }
    }

    async fn work(&mut self) {
        let mut ready_at = Instant::now();
        loop {
            while let Ok(order) = self.inbox.try_recv() {
                self.obey(order);
            }
            let begun = ready_at.max(Instant::now().checked_sub(CATCH_UP).unwrap_or(ready_at));
            self.expire(begun);
            let step = if self.is_wedged() {
                None
            } else {
                lock(&self.scheduler).begin(begun - self.origin)
            };
            self.fetch_what_is_ordered();
            let Some(step) = step else {
                if self.idle().await.is_err() {
                    return;
                }
                ready_at = Instant::now();
                continue;
            };
            ready_at = begun + step + self.warm_up();
            sleep_until(ready_at).await;
            self.deliver(ready_at);
        }
    }

    /// Waits until there may be something to do; an error when nobody can ask for anything any more.
    async fn idle(&mut self) -> Result<(), NobodyAsks> {
        let expiry = lock(&self.scheduler).next_expiry();
        let expiry = async {
            match expiry {
                Some(expiry) => sleep_until(self.origin + expiry).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.inbox.recv() => {
                let order = order.ok_or(NobodyAsks)?;
                self.obey(order);
            }
            () = expiry => {}
        }
        Ok(())
    }

    fn expire(&self, now: Instant) {
        for request in lock(&self.scheduler).expire(now - self.origin) {
            let warning = format!(
                "Releasing expired KV blocks for request {request} which were retrieved by 0 decode worker(s)."
            );
            self.log.warning("nixl_connector.py:1818", &warning);
        }
    }

    fn fetch_what_is_ordered(&self) {
        let Some(connector) = &self.connector else {
            return;
        };
        for (id, pull) in lock(&self.scheduler).take_pulls() {
            let Some(orders) = self.own_orders.upgrade() else {
                return;
            };
            let (connector, mut switch) = (Arc::clone(connector), self.switch.clone());
            tokio::spawn(async move {
                tokio::select! {
                    outcome = connector.fetch(pull) => {
                        let _ = orders.send(Order::Pulled(id, outcome));
                    }
                    // An engine that is gone fetches nothing, and tells nobody.
                    _ = switch.wait_for(|power| *power != Power::On) => {}
                }
            });
        }
    }

    fn is_wedged(&self) -> bool {
        self.faults
            .wedge_after
            .is_some_and(|limit| self.completed >= limit)
    }

    /// What a cold first step costs; nothing from then on.
    fn warm_up(&mut self) -> Duration {
        if !self.decodes || self.completed < self.faults.cold_after {
            return Duration::ZERO;
        }
        let cold = std::mem::take(&mut self.faults.cold);
        if !cold.is_zero() {
            self.log.warning(
                "jit_monitor.py:103",
                "Triton kernel JIT compilation during inference: _compute_slot_mapping_kernel. This causes a latency \
                 spike; consider extending warmup to cover this shape/config.",
            );
        }
        cold
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Submit { work, reply } => {
                self.decodes |= work.max_tokens > 1;
                self.replies.insert(work.id, reply);
                lock(&self.scheduler).submit(work, self.origin.elapsed());
            }
            Order::Abort(ids) => {
                for id in ids
                    .into_iter()
                    .filter(|id| self.replies.remove(id).is_some())
                {
                    lock(&self.scheduler).abort(id);
                }
            }
            Order::Pulled(_, Outcome::Fatal(cause)) => self.die(&cause),
            Order::Pulled(id, outcome) => self.settle(id, outcome),
            Order::Fetched(request) => {
                if !lock(&self.scheduler).fetched(&request) {
                    let error = format!(
                        "Potentially invalid KV blocks for unrecognized request {request} were retrieved by a decode \
                         worker. They may have expired."
                    );
                    self.log.error("nixl_connector.py:1850", &error);
                }
            }
        }
    }

    /// Ends the engine, as an error that nobody catches ends vLLM's.
    fn die(&self, cause: &str) {
        let traceback = "EngineCore encountered a fatal error.\nTraceback (most recent call last):";
        self.log
            .error("core.py:866", &format!("{traceback}\n{cause}"));
        self.power.send_replace(Power::Dead);
    }

    fn settle(&mut self, id: SequenceId, outcome: Outcome) {
        let Some(connector) = &self.connector else {
            return;
        };
        let policy = connector.failure_policy();
        let failed = lock(&self.scheduler).pulled(id, outcome, policy);
        self.hand_out(failed);
    }

    fn deliver(&mut self, at: Instant) {
        let outputs = lock(&self.scheduler).complete(at - self.origin);
        self.hand_out(outputs);
    }

    fn hand_out(&mut self, outputs: impl IntoIterator<Item = Output>) {
        for output in outputs {
            let reply = match output.finish {
                None => self.replies.get(&output.id).cloned(),
                Some(_) => self.replies.remove(&output.id),
            };
            self.completed += u64::from(output.finish.is_some());
            if let Some(reply) = reply {
                // Nobody listens: the abort is already on its way.
                let _ = reply.send(output);
            }
        }
    }
}

/// Everyone who could ask the engine for something is gone.
struct NobodyAsks;

fn lock(scheduler: &Mutex<Scheduler>) -> MutexGuard<'_, Scheduler> {
    scheduler.lock().unwrap_or_else(PoisonError::into_inner)
}
