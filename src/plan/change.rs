//! What is to become of one thing, and why.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{Address, Order, Reason, ReasonCode};

/// What is done to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is as declared.
    Keep,
    /// It is not there and will be.
    Create,
    /// It changes while it goes on serving.
    Update,
    /// It is stopped, and started as declared.
    Replace,
    /// It is removed.
    Destroy,
    /// Nothing can be done until somebody removes what is in the way.
    Blocked,
}

impl Action {
    /// The sign that stands before the address in a plan, readable without colour.
    pub fn sign(self) -> &'static str {
        match self {
            Action::Keep => "=",
            Action::Create => "+",
            Action::Update => "~",
            Action::Replace => "-/+",
            Action::Destroy => "-",
            Action::Blocked => "!",
        }
    }

    /// Whether the thing as it runs now comes to an end.
    pub fn stops(self) -> bool {
        matches!(self, Action::Replace | Action::Destroy)
    }

    /// Whether the thing runs anew when this is done.
    pub fn starts(self) -> bool {
        matches!(self, Action::Create | Action::Replace)
    }

    /// Whether anything at all is done.
    pub fn acts(self) -> bool {
        !matches!(self, Action::Keep | Action::Blocked)
    }
}

/// What a field will hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// Exactly this.
    Known(Value),
    /// Something that only the apply can tell, such as a pid.
    AfterApply,
    /// Nothing: the field goes away.
    Gone,
}

impl Serialize for Planned {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Planned::Known(value) => value.serialize(out),
            Planned::AfterApply => out.serialize_str("(known after apply)"),
            Planned::Gone => out.serialize_none(),
        }
    }
}

/// One field that differs: what it holds and what it will hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Where it stands in the thing's specification: `args.max_num_seqs`.
    pub path: String,
    /// What it holds now; nothing where it is not there.
    pub old: Option<Value>,
    /// What it will hold.
    pub new: Planned,
    /// Whether this difference alone forces a replacement.
    pub forces_replacement: bool,
}

/// What is to become of one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The thing.
    pub address: Address,
    /// The node that holds it.
    pub node: Option<crate::name::NodeName>,
    /// What is done to it.
    pub action: Action,
    /// Why.
    #[serde(serialize_with = "super::reason::with_advice")]
    pub reasons: Vec<Reason>,
    /// What differs, field by field.
    pub fields: Vec<Field>,
    /// A short description of the thing as it is or will be, for the line in the plan:
    /// `0.13.0+cu130, as declared`, `pid 4711, port 8100`.
    pub summary: String,
    /// Whether a replace starts what comes before it stops what runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub starts_first: bool,
    /// Which comes first of its start and the stop of what it takes the place of, where clients would notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// The node that a measurement is made from, where it is not this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<crate::name::NodeName>,
}

impl Change {
    /// A change without fields.
    pub fn new(address: &Address, action: Action, reasons: Vec<Reason>) -> Self {
        Self {
            address: address.clone(),
            node: address.node.clone(),
            action,
            reasons,
            fields: Vec::new(),
            summary: String::new(),
            starts_first: false,
            order: None,
            from: None,
        }
    }

    /// The change that changes nothing.
    pub fn keep(address: &Address, summary: impl Into<String>) -> Self {
        Self::new(address, Action::Keep, Vec::new()).described(summary)
    }

    /// A change that cannot be made, with the reason.
    pub fn blocked(address: &Address, reason: Reason) -> Self {
        Self::new(address, Action::Blocked, vec![reason])
    }

    /// The sign that stands before its address.
    pub fn sign(&self) -> &'static str {
        match self.action {
            Action::Replace if self.starts_first => "+/-",
            action => action.sign(),
        }
    }

    /// Whether this is a measurement: what no node holds is measured, and only
    /// once all else is as declared.
    pub fn is_measurement(&self) -> bool {
        self.node.is_none()
    }

    /// Whether all that is in the way of it is a node that did not answer.
    pub fn is_out_of_reach(&self) -> bool {
        let waits = |reason: &Reason| reason.code == ReasonCode::Unreachable;
        self.action == Action::Blocked && self.reasons.iter().all(waits)
    }

    /// Whether something stands in the way of it. What waits for a node that did not answer is told
    /// by that, and a measurement by what it measures.
    pub fn is_obstructed(&self) -> bool {
        self.action == Action::Blocked && !self.is_measurement() && !self.is_out_of_reach()
    }

    /// Why, in words: each reason, with what to do about it.
    pub fn why(&self) -> impl Iterator<Item = String> {
        self.reasons.iter().map(|reason| match &reason.hint {
            Some(hint) => format!("{}: {hint}", reason.text),
            None => reason.text.clone(),
        })
    }

    /// Adds the short description.
    #[must_use]
    pub fn described(mut self, summary: impl Into<String>) -> Self {
        self.summary = summary.into();
        self
    }

    /// Says which node a measurement is made from.
    #[must_use]
    pub fn made_from(mut self, node: Option<&crate::name::NodeName>) -> Self {
        self.from = node.cloned();
        self
    }

    /// Adds the fields that differ.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<Field>) -> Self {
        self.fields = fields;
        self
    }
}
