//! The load generator: what is sent, what is seen, and what may be concluded from it.

mod job;
pub mod shape;

pub use job::{Endpoint, Job, Target};

use std::path::Path;
/// tmp
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Latest {
    pub fingerprint: String,
    pub valid: bool,
}
impl Latest {
    #[allow(missing_docs)]
    pub fn summary(&self) -> String {
        String::new()
    }
}
#[allow(missing_docs)]
pub fn latest(_: &Path, _: &str, _: &str) -> Option<Latest> {
    None
}
