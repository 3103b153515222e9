//! The load generator: what is sent, what is seen, and what may be concluded from it.

mod job;
pub mod quantile;
pub mod shape;

pub use job::{Endpoint, Job, Target};
