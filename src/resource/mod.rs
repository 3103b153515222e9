//! The rooms: one for each kind of thing that a manifest declares.
//!
//! A room holds a kind's declaration, its questions to a node, its comparison and its effects. To
//! add a kind: write its room, add its field to [`Topology`] and to the document of the manifest,
//! and its line to [`Catalogue`].

pub mod benchmark;
mod catalogue;
mod contract;
pub mod engine;
pub mod environment;
pub mod instance;
mod leftover;
pub mod machine;
pub mod model;
mod place;
pub mod process;
pub mod program;
pub mod proxy;
mod stranger;
mod topology;

pub use catalogue::{Catalogue, Paths, binaries};
pub use contract::{Answers, Observation, Question, Resource};
pub use leftover::Leftover;
pub use place::{Folder, Listens, Place};
pub use stranger::{Stranger, foreign};
pub use topology::Topology;
