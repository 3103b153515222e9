//! Text becomes a topology, or an explanation that points at the line.

mod topology;

pub use topology::Topology;
