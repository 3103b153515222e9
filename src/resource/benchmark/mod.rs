//! The room of the benchmark.

mod declared;

pub use declared::*;
