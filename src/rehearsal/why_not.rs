//! Why something cannot be rehearsed, in words for who asked.

use std::fmt;

use crate::name::{BenchmarkName, InstanceName, NodeName};
use crate::prompts::Unreadable;
use crate::shape::UnreadableTrace;

/// Why a benchmark cannot be rehearsed.
#[derive(Debug)]
pub enum CannotRehearse {
    /// No benchmark is called so.
    NoSuchBenchmark(BenchmarkName),
    /// Nobody would be asked.
    NobodyAsked,
    /// How fast an instance computes is not known.
    NoProfile {
        /// The instance.
        instance: InstanceName,
        /// What is not known of it.
        what: String,
    },
    /// The simulator would not start as this instance.
    NotSimulated {
        /// The instance.
        instance: InstanceName,
        /// Why.
        why: String,
    },
    /// Several of those that are asked share a device, and how they slow each other is not known.
    SharedDevice {
        /// The node.
        node: NodeName,
        /// The instances.
        instances: Vec<InstanceName>,
    },
    /// How long answers are is left to the model.
    EndsByItself,
    /// The model makes no texts.
    Pools(InstanceName),
    /// What is asked cannot be read.
    Prompts(Unreadable),
    /// Fewer prompts fit than are to be taken.
    TooFewPrompts {
        /// How many fit.
        found: usize,
        /// How many are to be taken.
        wanted: usize,
    },
    /// The trace that is replayed cannot be read.
    Trace(UnreadableTrace),
}

impl fmt::Display for CannotRehearse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBenchmark(name) => write!(f, "there is no benchmark `{name}`"),
            Self::NobodyAsked => f.write_str("there is no instance that would be asked"),
            Self::NoProfile { instance, what } => {
                write!(f, "how fast `{instance}` computes is not known: {what}")
            }
            Self::NotSimulated { instance, why } => {
                write!(f, "`{instance}` cannot be simulated: {why}")
            }
            Self::SharedDevice { node, instances } => {
                let names: Vec<_> = instances.iter().map(ToString::to_string).collect();
                let names = names.join(" and ");
                write!(
                    f,
                    "{names} share the GPU of `{node}`: how they slow each other is not known"
                )
            }
            Self::EndsByItself => f.write_str(
                "answers end by themselves (`ignore_eos: false`): how long they are, only the model knows",
            ),
            Self::Pools(instance) => write!(f, "`{instance}` pools, and completes nothing"),
            Self::Prompts(why) => write!(f, "the prompts cannot be read: {why}"),
            Self::TooFewPrompts { found, wanted } => {
                write!(f, "only {found} prompts fit, and {wanted} are to be taken")
            }
            Self::Trace(why) => write!(f, "the trace cannot be read: {why}"),
        }
    }
}

impl std::error::Error for CannotRehearse {}
