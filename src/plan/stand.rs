//! How one thing stands and what ties it to others: the values that deciding works on.

use std::fmt;

use serde::Serialize;

use super::{
    Action, Address, Change, MemoryNeed, Operation, Readiness, Reason, RollingGroup, Service,
};
use crate::name::NodeName;

/// How one thing stands: what is to become of it, by which operations, and what ties it to others.
///
/// It is plain data, so that a command which wants something else than the manifest (`bench`: to
/// measure once more) changes a copy and keeps everything that it does not name:
///
/// ```
/// use replica::plan::{Action, Change, Relations, Stand};
///
/// let address = "benchmark.batch".parse().unwrap();
/// let measured = Stand {
///     relations: Relations {
///         concurrency_group: Some("measuring".to_owned()),
///         ..Relations::default()
///     },
///     ..Stand::new(Change::keep(&address, "118.6 tok/s"))
/// };
/// let again = Stand {
///     change: Change::new(&address, Action::Create, Vec::new()),
///     ..measured.clone()
/// };
/// assert_eq!(again.relations, measured.relations);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Stand {
    /// What is to become of it, and why.
    pub change: Change,
    /// What would start, change and end it, whatever of this the change asks for.
    pub operations: Operations,
    /// What ties it to other things.
    pub relations: Relations,
    /// What it serves as, where it is something that serves.
    pub service: Option<Service>,
    /// What was seen of it, in one text, which is another when that is: `start 3, pid 4711`. Nothing
    /// where there is nothing of it, or nothing that a plan could rest on.
    pub seen: Option<String>,
}

impl Stand {
    /// A thing that nothing is done for, that stands alone and serves nobody.
    pub fn new(change: Change) -> Self {
        Self {
            change,
            operations: Operations::default(),
            relations: Relations::default(),
            service: None,
            seen: None,
        }
    }

    /// The thing.
    pub fn address(&self) -> &Address {
        &self.change.address
    }

    /// Whether it serves now, by whichever start of it, as far as it was seen.
    pub fn is_ready(&self) -> bool {
        let service = self.service.as_ref();
        service.is_some_and(|it| it.readiness == Readiness::Ready || it.has_stand_in)
    }

    /// Whether it is replaced by a successor, and serves meanwhile.
    pub fn is_succeeded(&self) -> bool {
        self.change.action == Action::Replace && !self.operations.succeed.is_empty()
    }

    /// Whether what runs of it goes on, as it is or by a successor: what stops itself, or is not there yet,
    /// passes nobody's requests on, and what is blocked may not be told anything.
    pub fn goes_on(&self) -> bool {
        matches!(self.change.action, Action::Keep | Action::Update) || self.is_succeeded()
    }

    /// Whether something that runs is ended in its chain once it serves itself.
    pub fn retires_another(&self) -> bool {
        (self.is_begun() || self.is_succeeded()) && !self.operations.retire.is_empty()
    }

    /// Whether it runs beside a start of it that ends once it serves, as a run left them that came no further.
    pub fn is_begun(&self) -> bool {
        self.change.action == Action::Update && !self.operations.retire.is_empty()
    }

    /// Whether a port on which it listens is free once its change is made.
    pub fn leaves(&self, port: &NodePort) -> bool {
        self.change.action.stops()
            || (self.is_begun() && !self.relations.wants_ports.contains(port))
    }

    /// What it serves as, of a thing that serves.
    pub fn serving(self) -> Option<(Address, Service)> {
        Some((self.change.address, self.service?))
    }

    /// The same thing, for which something else is done because somebody asked for it. What cannot
    /// be done stays so.
    #[must_use]
    pub fn forced(self, action: Action, reason: Reason) -> Self {
        if self.change.action == Action::Blocked {
            return self;
        }
        let change = Change {
            action,
            reasons: vec![reason],
            ..self.change
        };
        Self { change, ..self }
    }
}

/// What would start, change and end a thing. Its [`Action`] picks among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Operations {
    /// What must succeed before anything is stopped for a replace: of itself, or what is in its way.
    pub before_stop: Vec<Operation>,
    /// Brings it about: all of a create, and of a replace what comes after the stop.
    pub start: Vec<Operation>,
    /// Replaces it without a gap, where that can be done: a successor is started beside it and takes
    /// over, and it ends by itself. Then neither `stop` nor `start` is done for a replace.
    pub succeed: Vec<Operation>,
    /// Ends what it took over from, once that gets no more requests: of what starts first, or was begun to.
    pub retire: Vec<Operation>,
    /// Changes it while it goes on serving.
    pub update: Vec<Operation>,
    /// Ends what runs of it, so that others can have what it occupies.
    pub stop: Vec<Operation>,
    /// Removes what is left of it once it is stopped.
    pub remove: Vec<Operation>,
}

impl Operations {
    /// What is done for an action, apart from the stop that comes before it.
    pub fn of(&self, action: Action) -> &[Operation] {
        match action {
            Action::Replace if !self.succeed.is_empty() => &self.succeed,
            Action::Create | Action::Replace => &self.start,
            Action::Update => &self.update,
            Action::Destroy => &self.remove,
            Action::Keep | Action::Blocked => &[],
        }
    }
}

/// What ties a thing to others. A thing that says nothing is tied to nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Relations {
    /// What must have succeeded before this is done, as systemd's `Requires` with `After`. What
    /// cannot be brought about blocks it.
    pub requires: Vec<Address>,
    /// What this comes after, however that ended, as systemd's `After` alone.
    pub after: Vec<Address>,
    /// What this is made of: while that changes, what becomes of this is known after apply only
    /// (terraform's word), and is planned anew then.
    pub replan_after: Vec<Address>,
    /// What must have converged before this is changed, though this could be without it: what it
    /// would be told of otherwise than that is, were that to stay as it is.
    pub waits_for: Vec<Address>,
    /// The ports that it is to listen on.
    pub wants_ports: Vec<NodePort>,
    /// The ports that it listens on now.
    pub occupies: Vec<NodePort>,
    /// Of the things that name one group, only one changes at a time, such as those that load
    /// weights into the memory of one node.
    pub concurrency_group: Option<String>,
    /// Of the things of one group, only so many at a time are replaced while they serve as it says. The
    /// first is the canary: when it fails, the others stay as they are.
    pub rolling_group: Option<RollingGroup>,
    /// What clients reach by way of this now: each without its node.
    pub serves: Vec<Address>,
    /// What this is told before another thing stops, so that no client notices.
    pub drain: Vec<Hook>,
    /// What this is told once another thing runs again.
    pub admit: Vec<Hook>,
    /// What this is told before that which another thing took over from stops, so that no client notices.
    pub take_over: Vec<Hook>,
    /// Whether it could start while all that runs on its node runs on.
    pub beside: Beside,
    /// That which runs on another node until this serves, once that is decided.
    pub takes_over_from: Option<Address>,
    /// That which serves on another node before this stops, once that is decided.
    pub handed_to: Option<Address>,
}

/// What it takes to start something while all that runs on its node runs on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// The memory that it asks for, and what can be had of it: nothing where none is counted.
    pub memory: Option<MemoryNeed>,
    /// What goes from its node and has to be gone before it starts, for its memory.
    pub until_gone: Vec<Address>,
}

/// What is done at one thing when another one stops or starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The other thing, without its node: one that moves is the same to whoever serves from it.
    pub of: Address,
    /// What is done: each at the node that it names.
    pub operations: Vec<Operation>,
}

/// A port of a node, which one thing at a time can listen on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodePort {
    /// The node.
    pub node: NodeName,
    /// The port.
    pub port: u16,
}

impl NodePort {
    /// A port of a node.
    pub fn new(node: &NodeName, port: u16) -> Self {
        Self {
            node: node.clone(),
            port,
        }
    }
}

impl fmt::Display for NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} of {}", self.port, self.node)
    }
}
