//! Whether what is to start finds the memory that it will ask for.
//!
//! vLLM makes this test itself, minutes later: what is free must be at least its share
//! (`gpu_memory_utilization`) of all there is. On a machine whose GPU has no memory of its own, as a
//! GB10, free is what the kernel says is available. Those of one node start one after another, so
//! each is given what those before it leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::known::release;
use super::{Instance, KIND};
use crate::plan::{Address, MemoryNeed, Reason, ReasonCode};
use crate::resource::contract::Observation;
use crate::resource::machine::{Bytes, Machine, Memory};
use crate::resource::model::Cached;
use crate::resource::process::{Owner, ProcessTable, Session};

/// What must be available on any machine before something is started there without anybody's looking.
const LEAST: Bytes = Bytes(512 << 20);

/// What Python, torch and vLLM take for themselves where a server computes on processors, beside its weights
/// and its cache: 1.6 GiB were seen with 0.13, and nearly as much again.
const PROGRAMS: Bytes = Bytes(3 << 30);

/// What can be had of each memory of one machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Budget {
    kind: Kind,
    pools: Vec<Pool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// There is no GPU.
    Cpu,
    /// GPUs and programs share one memory.
    Unified,
    /// Each GPU has its own.
    Own,
}

/// One memory.
#[derive(Debug, Clone, PartialEq)]
struct Pool {
    name: String,
    total: Bytes,
    free: Bytes,
    /// What must stay free, so that the machine itself stays alive.
    margin: Bytes,
}

/// What a server asks of one memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pool: usize,
    amount: Bytes,
    because: String,
}

impl Budget {
    /// What a machine has, where it tells.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        let kind = if machine.gpus.is_empty() {
            Kind::Cpu
        } else if machine.is_unified() {
            Kind::Unified
        } else {
            Kind::Own
        };
        if kind == Kind::Own {
            let own = machine.gpus.iter().enumerate().map(|(number, gpu)| {
                let Memory::Own(memory) = gpu.memory else {
                    return None;
                };
                Some(Pool {
                    name: format!("GPU {number}"),
                    total: memory.total,
                    free: memory.free,
                    margin: Bytes(0),
                })
            });
            let pools = own.collect::<Option<_>>()?;
            return Some(Self { kind, pools });
        }
        let total = machine.memory_total?;
        // A driver that finds no memory at once takes a machine without swap down with it.
        let margin = Bytes(if kind == Kind::Unified {
            total.0 / 32
        } else {
            0
        });
        let pool = Pool {
            name: "the node".to_owned(),
            total,
            free: machine.memory_available?,
            margin,
        };
        Some(Self {
            kind,
            pools: vec![pool],
        })
    }

    /// What a server asks for that was, or is to be, started as this specification says.
    /// Where that cannot be told it asks for nothing.
    pub(super) fn asks(&self, spec: &Value) -> Vec<Ask> {
        if spec.pointer("/engine/simulate").is_some() {
            return Vec::new();
        }
        match self.kind {
            Kind::Cpu => cache_of_cpu(spec).into_iter().collect(),
            Kind::Unified => self.shares(spec, vec![0]),
            Kind::Own => self.shares(spec, devices(spec).unwrap_or_default()),
        }
    }

    fn shares(&self, spec: &Value, devices: Vec<usize>) -> Vec<Ask> {
        let Some(share) = share(spec) else {
            return Vec::new();
        };
        let because = format!("gpu_memory_utilization {share}");
        let ask = |pool: usize| {
            let total = self.pools.get(pool)?.total;
            Some(Ask {
                pool,
                amount: Bytes((total.0 as f64 * share) as u64),
                because: because.clone(),
            })
        };
        // One that is not there is for vLLM to complain of.
        let asks: Option<_> = devices.into_iter().map(ask).collect();
        asks.unwrap_or_default()
    }

    /// What a machine must have available before such a server is started on it without anybody's
    /// looking: what it asks of the memory that programs have, and what must stay free.
    fn floor(&self, spec: &Value) -> Bytes {
        if self.kind == Kind::Own {
            return Bytes(0);
        }
        let amounts = self.asks(spec).into_iter().map(|ask| ask.amount.0);
        let margins = self.pools.iter().map(|pool| pool.margin.0);
        Bytes(amounts.chain(margins).sum())
    }

    /// Takes what is asked, or says in words what is short.
    pub(super) fn take(&mut self, asks: &[Ask]) -> Result<(), String> {
        if let Some(short) = asks.iter().find(|ask| self.is_short(ask)) {
            return Err(self.shortage(short));
        }
        self.take_what_is_there(asks);
        Ok(())
    }

    /// Takes what is asked, or what is there of it.
    fn take_what_is_there(&mut self, asks: &[Ask]) {
        for ask in asks {
            let free = &mut self.pools[ask.pool].free;
            free.0 = free.0.saturating_sub(ask.amount.0);
        }
    }

    /// What is asked of the memory that has the least to spare for it.
    fn scarcest(&self, asks: &[Ask]) -> Option<MemoryNeed> {
        let need = |ask: &Ask| {
            let pool = &self.pools[ask.pool];
            MemoryNeed {
                of: pool.name.clone(),
                asks: ask.amount.0,
                free: pool.free.0,
                must_stay_free: pool.margin.0,
            }
        };
        let needs = asks.iter().map(need);
        needs.min_by_key(|need| i128::from(need.free) - i128::from(need.asks))
    }

    /// Gives back what a server that comes to its end was given.
    pub(super) fn give_back(&mut self, asks: &[Ask]) {
        for ask in asks {
            let pool = &mut self.pools[ask.pool];
            pool.free = Bytes(pool.free.0 + ask.amount.0).min(pool.total);
        }
    }

    fn is_short(&self, ask: &Ask) -> bool {
        let pool = &self.pools[ask.pool];
        pool.free < Bytes(ask.amount.0 + pool.margin.0)
    }

    fn shortage(&self, ask: &Ask) -> String {
        let pool = &self.pools[ask.pool];
        let margin = match pool.margin {
            Bytes(0) => String::new(),
            margin => format!(", {margin} must stay free"),
        };
        let (name, total, free) = (&pool.name, pool.total, pool.free);
        format!(
            "it asks for {} of the {total} of {name} ({}){margin}, and {free} can be had",
            ask.amount, ask.because
        )
    }
}

/// The share of a GPU's memory that a server takes; nothing where it is told how much to
/// take, and does not look at its share.
fn share(spec: &Value) -> Option<f64> {
    let version = spec.pointer("/engine/vllm").and_then(Value::as_str);
    let version: Vec<u32> = release(version.unwrap_or_default())
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    if spec.pointer("/args/kv_cache_memory_bytes").is_some() && version > vec![0, 14] {
        return None;
    }
    match spec.pointer("/args/gpu_memory_utilization") {
        Some(share) => share.as_f64(),
        None if version.is_empty() => None,
        None if version < vec![0, 20] => Some(0.9),
        None => Some(0.92),
    }
}

/// The numbers of the GPUs that a server uses, where its environment does not name them in
/// another way.
fn devices(spec: &Value) -> Option<Vec<usize>> {
    let size = |name: &str| match spec.pointer(&format!("/args/{name}")) {
        Some(size) => size.as_u64().and_then(|size| usize::try_from(size).ok()),
        None => Some(1),
    };
    let sizes = [
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
    ];
    let count = sizes.into_iter().map(size).product::<Option<usize>>()?;
    let visible = match spec.pointer("/env/CUDA_VISIBLE_DEVICES") {
        Some(numbers) => {
            let numbers = numbers.as_str()?.split(',');
            numbers.map(|number| number.trim().parse().ok()).collect()
        }
        None => Some((0..count).collect::<Vec<usize>>()),
    }?;
    Some(visible.into_iter().take(count).collect())
}

/// The cache that vLLM sets aside on a CPU, where it is said how large that is.
fn cache_of_cpu(spec: &Value) -> Option<Ask> {
    if spec.pointer("/args/num_gpu_blocks_override").is_some() {
        return None;
    }
    let space = spec.pointer("/env/VLLM_CPU_KVCACHE_SPACE")?.as_str()?;
    Some(Ask {
        pool: 0,
        amount: Bytes::gib(space.trim().parse().ok()?),
        because: format!("VLLM_CPU_KVCACHE_SPACE {space}"),
    })
}

/// What a server has been given: nothing as long as it loads, for it may still ask.
fn held(budget: &Budget, session: &Session, table: &ProcessTable) -> Vec<Ask> {
    let holds = |owner: &Owner| owner.session == session.id;
    let mut owners = table.listeners.iter().flat_map(|listener| &listener.owners);
    // What is left of a server whose leader is gone holds what it held.
    if session.leader().is_none() || owners.any(holds) {
        budget.asks(&session.spec)
    } else {
        Vec::new()
    }
}

impl Instance {
    /// How many bytes of memory must be available before it is started again, as far as the machine
    /// tells what it has.
    pub(super) fn memory_floor(&self, observed: &Observation) -> u64 {
        let machine = observed.of(&self.managed.node).map(Machine::read);
        let budget = machine.and_then(|machine| Budget::of(&machine));
        let floor = budget.map_or(Bytes(0), |budget| budget.floor(&self.spec(observed)));
        floor.max(LEAST).0
    }

    /// Why the memory of its node does not suffice for its start, and who has it.
    pub(super) fn memory_short(&self, observed: &Observation) -> Vec<Reason> {
        let (Some(facts), Some(mut budget)) =
            (observed.of(&self.managed.node), self.finds(observed))
        else {
            return Vec::new();
        };
        let (machine, table) = (Machine::read(facts), ProcessTable::read(facts));
        let Err(shortage) = self.start_in(&mut budget, &table, observed) else {
            return Vec::new();
        };
        let hint = "lower what it asks for, or stop what holds the memory";
        let mut reasons = vec![Reason::new(ReasonCode::NoMemory, shortage).hinted(hint)];
        let before = self.those_before(observed);
        let first = before.iter().map(|mate| {
            let text = format!(
                "{} starts before it and takes its own",
                mate.managed.address
            );
            Reason::new(ReasonCode::MemoryHeld, text)
        });
        reasons.extend(first);
        let is_named = |session: &Session| {
            self.is_left_over(session)
                || self.is_of(session)
                || before.iter().any(|mate| mate.is_of(session))
        };
        reasons.extend(holders(&table, &machine, is_named));
        reasons
    }

    /// The memory that it finds when its turn to start comes. Nothing where the machine does not
    /// tell, or where servers that are not ours end first: what those hold is seen once they are
    /// gone, and until then nothing is started.
    fn finds(&self, observed: &Observation) -> Option<Budget> {
        match &self.before {
            // Those of a node are asked in the order in which they start, so that this goes no
            // deeper than one: what is left is kept.
            Some(before) => before.leaves(observed).as_ref().clone(),
            None => self.node_has(observed),
        }
    }

    /// The memory that it leaves to those that start after it.
    fn leaves(&self, observed: &Observation) -> Arc<Option<Budget>> {
        self.leaves.of(observed, || {
            let (mut budget, facts) = (self.finds(observed)?, observed.of(&self.managed.node)?);
            if self.by_itself(observed).action.starts() {
                // What does not fit does not start, and takes nothing.
                let _ = self.start_in(&mut budget, &ProcessTable::read(facts), observed);
            }
            Some(budget)
        })
    }

    /// What its node has once what it is to run no longer is gone.
    fn node_has(&self, observed: &Observation) -> Option<Budget> {
        let facts = observed.of(&self.managed.node)?;
        let table = ProcessTable::read(facts);
        let mut budget = Budget::of(&Machine::read(facts))?;
        if !self.managed.ended_beside(&table).is_empty() {
            return None;
        }
        for session in table.sessions.iter().filter(|s| self.is_left_over(s)) {
            budget.give_back(&held(&budget, session, &table));
        }
        Some(budget)
    }

    /// Those that start before it on its node and take memory, in the order in which they start.
    fn those_before(&self, observed: &Observation) -> Vec<&Self> {
        let mut mates: Vec<_> =
            std::iter::successors(self.before.as_deref(), |mate| mate.before.as_deref())
                .filter(|mate| mate.change(observed).action.starts())
                .collect();
        mates.reverse();
        mates
    }

    /// Starts in a budget, where it fits: what runs of it has come to its end by then.
    fn start_in(
        &self,
        budget: &mut Budget,
        table: &ProcessTable,
        observed: &Observation,
    ) -> Result<(), String> {
        let mut after = budget.clone();
        self.end_in(&mut after, table);
        after.take(&self.asks(&after, observed))?;
        *budget = after;
        Ok(())
    }

    /// Gives back what it holds, once what runs of it has ended.
    fn end_in(&self, budget: &mut Budget, table: &ProcessTable) {
        for session in self.managed.sessions(table) {
            budget.give_back(&held(budget, session, table));
        }
    }

    /// What it asks for, as far as that is counted.
    fn asks(&self, budget: &Budget, observed: &Observation) -> Vec<Ask> {
        if self.is_for_cpus() && budget.kind != Kind::Cpu {
            return Vec::new();
        }
        budget.asks(&self.spec(observed))
    }

    fn is_for_cpus(&self) -> bool {
        let vllm = self.server.runtime.vllm();
        vllm.is_some_and(|vllm| vllm.engine.is_for_cpus())
    }

    /// What it takes where it computes on processors, as far as its cache is said and nobody starts before it.
    /// It is more than what is counted elsewhere: no server of this sort makes such a test itself.
    fn memory_of_cpus(&self, observed: &Observation) -> Option<MemoryNeed> {
        let (vllm, facts) = (self.server.runtime.vllm()?, observed.of(self.node())?);
        let machine = Machine::read(facts);
        let spec = self.spec(observed);
        let cache = spec.pointer("/env/VLLM_CPU_KVCACHE_SPACE")?.as_str()?;
        let cache = Bytes::gib(cache.trim().parse().ok()?);
        if !self.those_before(observed).is_empty() {
            return None;
        }
        let weights = Cached::read(&vllm.model, facts).bytes();
        Some(MemoryNeed {
            of: "the node".to_owned(),
            asks: cache.0 + weights.0 + PROGRAMS.0,
            free: machine.memory_available?.0,
            must_stay_free: machine.memory_total?.0 / 32,
        })
    }

    /// What it asks for and finds beside what runs of it, once what its node is to run no longer is gone.
    pub(super) fn memory_beside(&self, observed: &Observation) -> Option<MemoryNeed> {
        if self.is_for_cpus() {
            return self.memory_of_cpus(observed);
        }
        let (mut budget, facts) = (self.finds(observed)?, observed.of(self.node())?);
        let table = ProcessTable::read(facts);
        // Who has the port that it is to have is stopped before it is started.
        let port = Some(self.server.port.get());
        let is_mate = |it: &&Session| {
            let is_ours = it.mark.topology == self.managed.topology.as_str();
            is_ours && it.port() == port && !self.is_of(it) && !self.is_left_over(it)
        };
        for mate in table.sessions.iter().filter(is_mate) {
            budget.give_back(&held(&budget, mate, &table));
        }
        // What answers nobody makes room, too.
        if let Some(given_up) = self.given_up(observed, &table) {
            budget.give_back(&held(&budget, given_up.silent, &table));
        }
        let asks = self.asks(&budget, observed);
        budget.scarcest(&asks).filter(|_| budget.kind != Kind::Cpu)
    }

    /// The same while all of that runs; where it stops first, what runs of it is gone by then.
    pub(super) fn memory_now(
        &self,
        observed: &Observation,
        stops_first: bool,
    ) -> Option<MemoryNeed> {
        let (mut budget, facts) = (self.finds_now(observed)?, observed.of(self.node())?);
        if stops_first {
            self.end_in(&mut budget, &ProcessTable::read(facts));
        }
        budget.scarcest(&self.asks(&budget, observed))
    }

    fn finds_now(&self, observed: &Observation) -> Option<Budget> {
        match &self.before {
            Some(before) => before.leaves_now(observed).as_ref().clone(),
            None => Budget::of(&Machine::read(observed.of(&self.managed.node)?)),
        }
    }

    fn leaves_now(&self, observed: &Observation) -> Arc<Option<Budget>> {
        self.leaves_now.of(observed, || {
            let (mut budget, facts) = (self.finds_now(observed)?, observed.of(self.node())?);
            if self.by_itself(observed).action.starts() {
                self.end_in(&mut budget, &ProcessTable::read(facts));
                budget.take_what_is_there(&self.asks(&budget, observed));
            }
            Some(budget)
        })
    }

    /// What its node is to run no longer, and holds memory.
    pub(super) fn those_left_over(&self, observed: &Observation) -> Vec<Address> {
        let Some(facts) = observed.of(self.node()) else {
            return Vec::new();
        };
        let table = ProcessTable::read(facts);
        let Some(budget) = Budget::of(&Machine::read(facts)) else {
            return Vec::new();
        };
        let left_over = table.sessions.iter().filter(|it| self.is_left_over(it));
        let holding = left_over.filter(|it| !held(&budget, it, &table).is_empty());
        let mut all: Vec<Address> = holding.map(|it| it.mark.address(self.node())).collect();
        all.dedup();
        all
    }

    fn is_of(&self, session: &Session) -> bool {
        let mark = &session.mark;
        mark.topology == self.managed.topology.as_str()
            && mark.kind == KIND
            && mark.name == self.managed.address.name
    }

    /// Whether this is a server of its topology that its node is to run no longer.
    fn is_left_over(&self, session: &Session) -> bool {
        let name = session.mark.name.as_deref().unwrap_or_default();
        session.mark.topology == self.managed.topology.as_str()
            && session.mark.kind == KIND
            && !name.parse().is_ok_and(|name| self.mates.contains(&name))
    }
}

/// Who holds memory: servers that run on, vLLM processes that are not ours, and what is
/// largest beside them.
fn holders(
    table: &ProcessTable,
    machine: &Machine,
    is_named: impl Fn(&Session) -> bool,
) -> Vec<Reason> {
    let is_real = |session: &&Session| {
        session.mark.kind == KIND && session.spec.pointer("/engine/simulate").is_none()
    };
    let servers = table.sessions.iter().filter(is_real);
    let servers = servers.filter(|session| !is_named(session));
    let mut words: Vec<_> = servers
        .map(|session| {
            let (what, topology) = (session.mark.address_in_words(), &session.mark.topology);
            format!("{what} of topology `{topology}` runs (pid {})", session.id)
        })
        .collect();
    let unmanaged = || table.unmanaged.iter().map(|it| &it.process);
    words.extend(unmanaged().map(|process| table.describe(process)));
    let processes = table.sessions.iter().flat_map(|session| &session.processes);
    let told: BTreeSet<u32> = processes.chain(unmanaged()).map(|p| p.pid).collect();
    let large = machine
        .holders
        .iter()
        .filter(|holder| !told.contains(&holder.pid));
    words.extend(large.map(|holder| {
        format!(
            "pid {} ({}) holds {}",
            holder.pid, holder.name, holder.memory
        )
    }));
    let reason = |words| Reason::new(ReasonCode::MemoryHeld, words);
    words.into_iter().map(reason).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::facts::Facts;

    fn budget(answer: &str) -> Budget {
        let facts: Facts = [("machine".to_owned(), answer.to_owned())]
            .into_iter()
            .collect();
        Budget::of(&Machine::read(&facts)).unwrap()
    }

    /// A machine with 120 GiB that it shares with its GPU, and 100 GiB of them available.
    fn spark() -> Budget {
        budget("total 125829120\navailable 104857600\ngpu NVIDIA GB10, [N/A], [N/A], [N/A]\n")
    }

    fn spec(args: &Value, env: &Value) -> Value {
        json!({"engine": {"vllm": "0.13.0+cu130"}, "args": args, "env": env})
    }

    fn with(share: f64) -> Value {
        spec(&json!({"gpu_memory_utilization": share}), &json!({}))
    }

    #[test]
    fn each_is_given_what_those_before_it_leave() {
        let mut spark = spark();
        let third = spark.asks(&with(0.4));
        assert_eq!(spark.take(&third), Ok(()));
        insta::assert_snapshot!(spark.take(&spark.clone().asks(&with(0.5))).unwrap_err(),
            @"it asks for 60.0 GiB of the 120.0 GiB of the node (gpu_memory_utilization 0.5), 3.8 GiB must stay free, and 52.0 GiB can be had");
        spark.give_back(&third);
        assert_eq!(spark.take(&spark.clone().asks(&with(0.5))), Ok(()));
    }

    #[test]
    fn what_nobody_says_is_what_the_version_takes() {
        let of = |version: &str, args: Value| {
            let spec = json!({"engine": {"vllm": version}, "args": args});
            share(&spec)
        };
        assert_eq!(of("0.13.0+cu130", json!({})), Some(0.9));
        assert_eq!(of("0.20.2", json!({})), Some(0.92));
        assert_eq!(of("nightly", json!({})), None);
        let told = json!({"kv_cache_memory_bytes": 1});
        assert_eq!(of("0.13.0", told.clone()), Some(0.9));
        assert_eq!(of("0.20.2", told), None);
    }

    #[test]
    fn gpus_with_memory_of_their_own_are_counted_one_by_one() {
        let two = budget("gpu A, 1000, 0, 1000\ngpu A, 1000, 400, 600\n");
        let pools = |args: Value, env: Value| -> Vec<_> {
            let asks = two.asks(&spec(&args, &env));
            asks.iter().map(|ask| ask.pool).collect()
        };
        assert_eq!(pools(json!({}), json!({})), [0]);
        assert_eq!(pools(json!({"tensor_parallel_size": 2}), json!({})), [0, 1]);
        assert_eq!(pools(json!({}), json!({"CUDA_VISIBLE_DEVICES": "1"})), [1]);
        assert!(pools(json!({}), json!({"CUDA_VISIBLE_DEVICES": "GPU-7f"})).is_empty());
        assert!(pools(json!({"tensor_parallel_size": 3}), json!({})).is_empty());
        let second = spec(&json!({}), &json!({"CUDA_VISIBLE_DEVICES": "1"}));
        insta::assert_snapshot!(two.clone().take(&two.asks(&second)).unwrap_err(),
            @"it asks for 0.9 GiB of the 1.0 GiB of GPU 1 (gpu_memory_utilization 0.9), and 0.6 GiB can be had");
    }

    #[test]
    fn a_machine_without_gpu_holds_the_cache() {
        let machine = budget("total 8388608\navailable 2097152\n");
        let asks = |space: &str| {
            let env = json!({"VLLM_CPU_KVCACHE_SPACE": space});
            machine.asks(&spec(&json!({}), &env))
        };
        assert_eq!(machine.clone().take(&asks("2")), Ok(()));
        assert!(machine.clone().take(&asks("3")).is_err());
        assert!(asks("much").is_empty());
        assert!(machine.asks(&with(0.9)).is_empty());
        let simulated = json!({"engine": {"simulate": {}}, "env": {"VLLM_CPU_KVCACHE_SPACE": "9"}});
        assert!(machine.asks(&simulated).is_empty());
    }

    #[test]
    fn what_a_machine_does_not_tell_is_not_counted() {
        let read = |answer: &str| {
            let facts: Facts = [("machine".to_owned(), answer.to_owned())]
                .into_iter()
                .collect();
            Budget::of(&Machine::read(&facts))
        };
        assert_eq!(read(""), None);
        assert_eq!(read("total 1\n"), None);
        assert_eq!(
            read("gpu A, 1000, 0, 1000\ngpu B, [N/A], [N/A], [N/A]\n"),
            None
        );
    }
}
