//! What is done, as plain data.

mod measure;

pub use measure::{Endpoint, Job, Target};
