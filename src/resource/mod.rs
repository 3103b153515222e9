//! The rooms: one for each kind of thing that a manifest declares.
//!
//! A room holds a kind's declaration, the facts that it wants of a node, its comparison and its
//! effects. To add a kind: write its room, add its field to [`Topology`] and to the document of the
//! manifest, and its line to [`KINDS`], with what makes it of a topology.

pub mod argument;
mod asked;
pub mod benchmark;
mod catalogue;
mod contract;
pub mod engine;
pub mod environment;
mod facts;
pub mod instance;
mod kind;
mod logged;
pub mod machine;
pub mod model;
mod node_files;
mod orphan;
mod prerequisites;
pub mod process;
pub mod program;
pub mod proxy;
mod topology;
mod undeclared;
mod unmanaged;

pub use asked::{Asked, Drains, Replaced};
pub use catalogue::{Catalogue, KINDS, Paths, binaries};
pub use contract::{Found, Kind, Listed, Observation, Resource};
pub(crate) use facts::FORBIDDEN;
pub use facts::{Fact, Facts, Question};
pub use logged::{LogLine, LogReading, LogsWanted, Read};
pub use node_files::{Listens, NodeFiles, StateFolder};
pub use prerequisites::{Prerequisites, unmet};
pub use topology::Topology;
pub use undeclared::Undeclared;
